"""Sends mail and chat messages (category ``message``)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formataddr
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit, urlunsplit

import urllib3

from adapters.runners.arguments import decode, need
from adapters.runners.base import BaseRunner
from adapters.runners.dialling import Connections
from domain.errors import InvalidTask, WorkerError
from domain.result import EndReason, Result
from domain.runner import Credential, ExecutionContext

WEBHOOKS = ("wechat_work_bot", "feishu_bot", "dingtalk_bot", "slack", "webhook")
CATEGORY = {"email": "email", "wechat_work": "wechat_work"} | dict.fromkeys(WEBHOOKS, "webhook")
WECHAT = "https://qyapi.weixin.qq.com"
ANSWER_CAP = 65_536
EXPIRED = (40014, 42001)  # the service's words for a token that counts no more


class NotSent(WorkerError):
    """The other side did not take the message, or not for everybody."""


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


@dataclass(frozen=True, slots=True)
class MessageArgs:
    type: str = ""
    credential_id: str = ""
    content: str = ""
    content_type: str = "text"
    to: list[str] = field(default_factory=list)
    cc: list[str] = field(default_factory=list)
    bcc: list[str] = field(default_factory=list)
    reply_to: str = ""
    subject: str = ""
    attachments: list[Any] = field(default_factory=list)
    to_user: str = ""
    to_party: str = ""
    to_tag: str = ""
    at_mobiles: list[str] = field(default_factory=list)
    at_user_ids: list[str] = field(default_factory=list)
    is_at_all: bool = False


class MessageRunner(BaseRunner):
    """``ca_file`` adds authorities for mail and web; ``wechat`` is the address of that service's API.

    Runs with the same ``tokens`` share access tokens.
    """

    default_timeout = 60.0

    def __init__(self, ca_file: str = "", wechat: str = WECHAT, tokens: TokenCache = TOKENS) -> None:
        super().__init__()
        self._args = MessageArgs()
        self._ca_file = ca_file
        self._wechat = wechat
        self._tokens = tokens
        self._connections = Connections()
        self._done = threading.Event()
        self._outcome: list[Result] = []

    def parse_args(self, command: str, args: str) -> None:
        found = decode(args, MessageArgs)
        need(found.type, "type")
        need(found.credential_id, "credential_id")
        need(found.content, "content")
        if found.type == "email":
            need(found.subject, "subject")
            if not found.to or not all(one.strip() for one in (*found.to, *found.cc, *found.bcc)):
                raise InvalidTask("to is missing or holds an empty address: name at least one recipient")
        elif found.type == "wechat_work":
            if not (found.to_user or found.to_party or found.to_tag):
                raise InvalidTask("one of to_user, to_party and to_tag is needed")
        elif found.type not in WEBHOOKS:
            raise InvalidTask(f"type must be one of {', '.join(CATEGORY)}, not {found.type!r}")
        self._args = found

    def run(self, context: ExecutionContext) -> Result:
        """Send from a thread of its own: what the other side never answers must not keep a stopped task (M3, M6)."""
        self.cancel.subscribe(lambda _: self._interrupt())
        sender = threading.Thread(target=self._send_guarded, args=(context,), name="message", daemon=True)
        sender.start()
        self._done.wait()
        sender.join(1.0)
        return self._outcome[0] if self._outcome else self.cancelled()

    def cleanup(self) -> None:
        self._connections.hang_up()
        self._connections.close()

    def _interrupt(self) -> None:
        self._connections.hang_up()
        self._done.set()

    def _send_guarded(self, context: ExecutionContext) -> None:
        try:
            result = self._guarded_run_of(context)
        except Exception as error:  # noqa: BLE001 - told as this task's end
            result = self.end(EndReason.INTERNAL, error=type(error).__name__)
        if result.end_reason is EndReason.COMPLETED or not self.cancel.requested:
            self._outcome.append(result)
        self._done.set()

    def _guarded_run_of(self, context: ExecutionContext) -> Result:
        args = self._args
        if context.credentials is None:
            return self.end(EndReason.INVALID_TASK, error="credential_id: there is nowhere to get credentials from")
        try:
            credential = context.credentials.credential(args.credential_id)
            if credential.category != CATEGORY[args.type]:
                raise InvalidTask(
                    f"credential_id: {args.type} wants category {CATEGORY[args.type]}, not {credential.category}"
                )
            context.log(f"[Message] {args.type}, {len(args.content)} characters, with {credential.name}\n".encode())
            mentions = args.at_user_ids or args.at_mobiles or args.is_at_all
            if mentions and args.type == "wechat_work_bot" and args.content_type == "markdown":
                context.log(b"[Message] warning: a markdown message of wechat_work_bot mentions nobody\n")
            began = time.monotonic()
            self._send(credential)
        except InvalidTask as error:
            return self.end(EndReason.INVALID_TASK, error=str(error))
        except WorkerError as error:
            return self.end(EndReason.FAILED, error=str(error))
        except (smtplib.SMTPException, OSError, urllib3.exceptions.HTTPError) as error:
            return self.end(EndReason.FAILED, error=_explain(error))
        context.log(f"[Message] sent in {time.monotonic() - began:.1f} s\n".encode())
        return self.end(EndReason.COMPLETED, output=f"{args.type} message sent")

    def _send(self, credential: Credential) -> None:
        if self._args.type == "email":
            try:
                self._send_mail(credential)
            finally:
                self._connections.close()
        elif self._args.type == "wechat_work":
            self._send_wechat(credential)
        else:
            self._send_webhook(credential)

    # -- mail

    def _send_mail(self, credential: Credential) -> None:
        value = credential.value
        host, port = text_of(value, "smtp_host"), number_of(value, "smtp_port", 587)
        user = text_of(value, "username")
        message = self._mail(user, str(value.get("from_name") or ""))
        tls = ssl.create_default_context()
        if self._ca_file:
            tls.load_verify_locations(self._ca_file)
        limit = min(30.0, self.timeout or 30.0)
        plain = value.get("use_tls") is False
        dial = self._connections.dial
        mailer = _implicit(dial)(host, port, timeout=limit, context=tls) if port == 465 and not plain else None
        with mailer or _explicit(dial)(host, port, timeout=limit) as smtp:
            if not plain and port != 465:
                smtp.starttls(context=tls)  # a server that does not offer it gets nothing (M5)
            if password := value.get("password"):
                _log_in(smtp, user, str(password))
            refused = smtp.send_message(message, to_addrs=[*self._args.to, *self._args.cc, *self._args.bcc])
            if refused:
                told = ", ".join(f"{one} ({code} {_words(said)})" for one, (code, said) in refused.items())
                raise NotSent(f"refused for {told}; sent to the others")

    def _mail(self, user: str, name: str) -> EmailMessage:
        args, message = self._args, EmailMessage()
        try:
            message["From"] = formataddr((name or user, user))
            message["To"] = ", ".join(args.to)
            if args.cc:
                message["Cc"] = ", ".join(args.cc)
            if args.reply_to:
                message["Reply-To"] = args.reply_to
            message["Subject"] = args.subject
        except ValueError as error:
            raise InvalidTask(f"a mail header is not valid: {error}") from None
        message.set_content(args.content, subtype="html" if args.content_type == "html" else "plain")
        for item in args.attachments:
            if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                raise InvalidTask('attachments must be objects with "name" and "content" or "base64"')
            try:
                data = _bytes_of(item)
            except (AttributeError, ValueError):
                raise InvalidTask(f"attachments: {item['name']!r} is not base64") from None
            try:
                message.add_attachment(data, maintype="application", subtype="octet-stream", filename=item["name"])
            except ValueError:
                raise InvalidTask(f"attachments: {item['name']!r} is no name of a file") from None
        return message

    # -- chat

    def _send_wechat(self, credential: Credential) -> None:
        args, value = self._args, credential.value
        kind = "markdown" if args.content_type == "markdown" else "text"
        body = {
            "touser": args.to_user, "toparty": args.to_party, "totag": args.to_tag, "msgtype": kind,
            "agentid": number_of(value, "agent_id", 0), kind: {"content": args.content},
        }  # fmt: skip
        for fresh in (False, True):
            key, token = self._token(text_of(value, "corp_id"), text_of(value, "corp_secret"), fresh)
            url = f"{self._wechat}/cgi-bin/message/send?access_token={quote_plus(token)}"
            answer = self._post("POST", url, body)
            if answer.get("errcode") not in EXPIRED:
                break
            self._tokens.drop(key)
        _check(answer, "errcode", "errmsg")
        missed = [f"{key} {answer[key]}" for key in ("invaliduser", "invalidparty", "invalidtag") if answer.get(key)]
        if missed:
            raise NotSent(f"not sent to {'; '.join(missed)}; sent to the others")

    def _token(self, corp: str, secret: str, fresh: bool) -> tuple[bytes, str]:
        key = hashlib.sha256(f"{self._wechat}\0{corp}\0{secret}".encode()).digest()
        if not fresh and (token := self._tokens.get(key)):
            return key, token
        query = urlencode({"corpid": corp, "corpsecret": secret})
        answer = self._post("GET", f"{self._wechat}/cgi-bin/gettoken?{query}", None)
        _check(answer, "errcode", "errmsg")
        token = str(answer.get("access_token", ""))
        self._tokens.put(key, token, number_of(answer, "expires_in", 0))
        return key, token

    def _send_webhook(self, credential: Credential) -> None:
        kind, url = self._args.type, text_of(credential.value, "webhook")
        secret = str(credential.value.get("secret") or "")
        body = BODIES[kind](self._args)
        if kind == "feishu_bot" and secret:
            stamp = str(int(time.time()))
            digest = hmac.new(f"{stamp}\n{secret}".encode(), b"", hashlib.sha256).digest()
            body |= {"timestamp": stamp, "sign": base64.b64encode(digest).decode()}
        if kind == "dingtalk_bot" and secret:
            stamp = str(int(time.time() * 1000))
            digest = hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256).digest()
            url += f"&timestamp={stamp}&sign={quote_plus(base64.b64encode(digest))}"
        answer = self._post("POST", url, body)
        if kind in ("wechat_work_bot", "dingtalk_bot"):
            _check(answer, "errcode", "errmsg")
        elif kind == "feishu_bot":
            _check(answer, "code", "msg")

    def _post(self, method: str, url: str, body: Any) -> dict[str, Any]:
        """One request; no error of it holds the URL, which is the secret (M4)."""
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidTask("the credential's webhook is not an address that begins with http:// or https://")
        secure = parts.scheme == "https"
        limit = urllib3.Timeout(total=min(30.0, self.timeout or 30.0))
        tls = ssl.create_default_context() if secure else None
        if tls is not None and self._ca_file:
            tls.load_verify_locations(self._ca_file)
        pool = self._connections.pool(secure, parts.hostname, parts.port, limit, tls)
        answer = None
        try:
            answer = pool.urlopen(
                method, urlunsplit(("", "", parts.path or "/", parts.query, "")), body=data, retries=False,
                headers={"Content-Type": "application/json"}, redirect=False, preload_content=False,
            )  # fmt: skip
            text = answer.read(ANSWER_CAP)
        finally:
            if answer is not None:
                answer.close()
            pool.close()
            self._connections.close()
        if answer.status >= 300:
            raise NotSent(f"the service answered HTTP status {answer.status}")
        try:
            document = json.loads(text)
        except ValueError:
            document = {}
        return document if isinstance(document, dict) else {}


Dial = Callable[[str, int, float | None], socket.socket]


def _explicit(dial: Dial) -> type[smtplib.SMTP]:
    class Mailer(smtplib.SMTP):
        def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
            return dial(host, port, timeout)

    return Mailer


def _implicit(dial: Dial) -> type[smtplib.SMTP_SSL]:
    class Mailer(smtplib.SMTP_SSL):
        def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
            sock = dial(host, port, timeout)
            try:
                return self.context.wrap_socket(sock, server_hostname=host)
            except BaseException:
                sock.close()
                raise

    return Mailer


def _check(answer: Mapping[str, Any], code: str, text: str) -> None:
    """Success is told, not assumed: an answer without the code is none (M7)."""
    if answer.get(code) != 0:
        raise NotSent(f"the service answered {code} {answer.get(code, 'missing')}: {str(answer.get(text, ''))[:200]}")


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


def _bytes_of(attachment: Mapping[str, Any]) -> bytes:
    if "base64" in attachment:
        return base64.b64decode("".join(attachment["base64"].split()), validate=True)
    return str(attachment.get("content", "")).encode("utf-8", "replace")


def text_of(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    if not isinstance(found, str) or not found:
        raise InvalidTask(f"the credential has no {key}")
    return found


def number_of(value: Mapping[str, Any], key: str, default: int) -> int:
    """A number, also one that was stored as text (M2)."""
    found = value.get(key, default)
    try:
        return int(found)
    except (TypeError, ValueError):
        raise InvalidTask(f"the credential's {key} is not a number") from None


def _log_in(smtp: smtplib.SMTP, user: str, password: str) -> None:
    try:
        smtp.login(user, password)
    except UnicodeEncodeError:  # its text would show what it failed at
        raise InvalidTask("the credential's username or password holds characters that are not ASCII") from None


def _words(said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return " ".join(text.split())[:200]


def _explain(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return "the mail server refused user and password"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        refusals = [f"{one} ({code} {_words(said)})" for one, (code, said) in error.recipients.items()]
        return f"the mail server refused every recipient: {', '.join(refusals)}"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return f"{error}; a mail server without STARTTLS gets nothing unless the credential has use_tls false"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server answered {error.smtp_code} {_words(error.smtp_error)}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason}"
    if isinstance(error, TimeoutError):
        return "timeout: no answer in time"
    cause = getattr(error, "reason", None)
    if isinstance(cause, Exception) and cause is not error:
        return _explain(cause)
    if isinstance(error, OSError):
        return f"connection failed: {error.strerror or type(error).__name__}"
    return f"connection failed: {type(error).__name__}"
