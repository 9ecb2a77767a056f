"""Chat bots that take a message at a secret address (webhook)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus

from adapters.runners.message.task import MessageArgs, text_of
from adapters.runners.message.web import Web, check
from domain.runner import Credential


def send_to_bot(args: MessageArgs, web: Web, credential: Credential) -> None:
    kind, url = args.type, text_of(credential.value, "webhook")
    secret = str(credential.value.get("secret") or "")
    body = BODIES[kind](args)
    if kind == "feishu_bot" and secret:
        stamp = str(int(time.time()))
        digest = hmac.new(f"{stamp}\n{secret}".encode(), b"", hashlib.sha256).digest()
        body |= {"timestamp": stamp, "sign": base64.b64encode(digest).decode()}
    if kind == "dingtalk_bot" and secret:
        stamp = str(int(time.time() * 1000))
        digest = hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256).digest()
        url += f"&timestamp={stamp}&sign={quote_plus(base64.b64encode(digest))}"
    answer = web.ask("POST", url, body)
    if kind in ("wechat_work_bot", "dingtalk_bot"):
        check(answer, "errcode", "errmsg")
    elif kind == "feishu_bot":
        check(answer, "code", "msg")


def _mentions(args: MessageArgs, markdown: bool) -> str:
    """Feishu's own markup; ids are letters, digits and a few signs, so that none can bring markup of its own (M9)."""
    ids = [identity for identity in args.at_user_ids if all(c.isalnum() or c in "_-." for c in identity)]
    if markdown:
        return " ".join(f"<at id={identity}></at>" for identity in ids)
    return " ".join(f'<at user_id="{identity}">@{identity}</at>' for identity in ids)


def _feishu(args: MessageArgs) -> dict[str, Any]:
    if args.content_type == "markdown":
        everybody = "\n<at id=all></at>" if args.is_at_all else ""
        front = _mentions(args, True)
        content = (f"{front}\n\n" if front else "") + args.content + everybody
        return {"msg_type": "interactive", "card": {"elements": [{"tag": "markdown", "content": content}]}}
    everybody = ' <at user_id="all">所有人</at>' if args.is_at_all else ""
    front = _mentions(args, False)
    return {"msg_type": "text", "content": {"text": (f"{front} " if front else "") + args.content + everybody}}


def _wechat_bot(args: MessageArgs) -> dict[str, Any]:
    if args.content_type == "markdown":
        return {"msgtype": "markdown", "markdown": {"content": args.content}}
    text: dict[str, Any] = {"content": args.content}
    if args.is_at_all:
        text["mentioned_list"] = ["@all"]
    else:
        text |= {"mentioned_list": args.at_user_ids} if args.at_user_ids else {}
        text |= {"mentioned_mobile_list": args.at_mobiles} if args.at_mobiles else {}
    return {"msgtype": "text", "text": text}


def _dingtalk(args: MessageArgs) -> dict[str, Any]:
    at = {"atMobiles": args.at_mobiles, "atUserIds": args.at_user_ids, "isAtAll": args.is_at_all}
    if args.content_type == "markdown":
        return {"msgtype": "markdown", "markdown": {"title": args.subject or "message", "text": args.content}, "at": at}
    return {"msgtype": "text", "text": {"content": args.content}, "at": at}


BODIES: dict[str, Callable[[MessageArgs], dict[str, Any]]] = {
    "feishu_bot": _feishu,
    "wechat_work_bot": _wechat_bot,
    "dingtalk_bot": _dingtalk,
    "slack": lambda args: {"text": args.content},
    "webhook": lambda args: {"subject": args.subject, "content": args.content, "content_type": args.content_type},
}
