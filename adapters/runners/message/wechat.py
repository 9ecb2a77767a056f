"""Messages of an application of WeChat Work, which asks for an access token first."""

from __future__ import annotations

import hashlib
import threading
import time
from urllib.parse import quote_plus, urlencode

from adapters.runners.message.task import MessageArgs, NotSent, number_of, text_of
from adapters.runners.message.web import Web, check
from domain.runner import Credential

WECHAT = "https://qyapi.weixin.qq.com"
EXPIRED = (40014, 42001)  # the service's words for a token that counts no more


class TokenCache:
    """Access tokens in memory until a minute before they end: the service limits how often it may be asked (M8)."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[float, str]] = {}
        self._guard = threading.Lock()

    def get(self, key: bytes) -> str:
        with self._guard:
            until, token = self._known.get(key, (0.0, ""))
            return token if time.monotonic() < until else ""

    def put(self, key: bytes, token: str, seconds: float) -> None:
        with self._guard:
            self._known[key] = (time.monotonic() + seconds - 60, token)

    def drop(self, key: bytes) -> None:
        with self._guard:
            self._known.pop(key, None)


TOKENS = TokenCache()


class WeChat:
    """``address`` is that of the service's API."""

    def __init__(self, args: MessageArgs, web: Web, address: str, tokens: TokenCache) -> None:
        self._args = args
        self._web = web
        self._wechat = address
        self._tokens = tokens

    def send(self, credential: Credential) -> None:
        args, value = self._args, credential.value
        kind = "markdown" if args.content_type == "markdown" else "text"
        body = {
            "touser": args.to_user, "toparty": args.to_party, "totag": args.to_tag, "msgtype": kind,
            "agentid": number_of(value, "agent_id", 0), kind: {"content": args.content},
        }  # fmt: skip
        for fresh in (False, True):
            key, token = self._token(text_of(value, "corp_id"), text_of(value, "corp_secret"), fresh)
            url = f"{self._wechat}/cgi-bin/message/send?access_token={quote_plus(token)}"
            answer = self._web.ask("POST", url, body)
            if answer.get("errcode") not in EXPIRED:
                break
            self._tokens.drop(key)
        check(answer, "errcode", "errmsg")
        missed = [f"{key} {answer[key]}" for key in ("invaliduser", "invalidparty", "invalidtag") if answer.get(key)]
        if missed:
            raise NotSent(f"not sent to {'; '.join(missed)}; sent to the others")

    def _token(self, corp: str, secret: str, fresh: bool) -> tuple[bytes, str]:
        key = hashlib.sha256(f"{self._wechat}\0{corp}\0{secret}".encode()).digest()
        if not fresh and (token := self._tokens.get(key)):
            return key, token
        query = urlencode({"corpid": corp, "corpsecret": secret})
        answer = self._web.ask("GET", f"{self._wechat}/cgi-bin/gettoken?{query}", None)
        check(answer, "errcode", "errmsg")
        token = str(answer.get("access_token", ""))
        self._tokens.put(key, token, number_of(answer, "expires_in", 0))
        return key, token
