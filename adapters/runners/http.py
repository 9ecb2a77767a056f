"""Sends one HTTP request and checks the answer (category ``http``)."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urljoin, urlsplit, urlunsplit

import urllib3
from urllib3.connectionpool import HTTPSConnectionPool

from adapters.runners.arguments import decode, need, substitute
from adapters.runners.base import BaseRunner
from adapters.runners.dialling import Connections
from adapters.runners.output import ROOM, beginning, size
from domain.errors import InvalidTask
from domain.result import EndReason, Result
from domain.runner import CancelRequest, ExecutionContext

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
WITH_BODY = ("POST", "PUT", "PATCH")
REDIRECTS = (301, 302, 303, 307, 308)
RESPONSE_CAP = 1 << 20
SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization")


@dataclass(frozen=True, slots=True)
class HttpArgs:
    url: str = ""
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    expected_status: list[int] = field(default_factory=list)
    credential_id: str = ""
    verify_tls: bool = True
    ca_file: str = ""
    follow_redirects: bool = True
    max_redirects: int = 10
    max_response_bytes: int = RESPONSE_CAP
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    truncated: bool


class HttpRunner(BaseRunner):
    """One request with one limit for all of it. A cancel closes the socket at once.

    ``public_only`` refuses private addresses as well as those of metadata services; what counts is the address that is
    really connected to, also after a redirect (H7, G73).
    """

    default_timeout = 30.0

    def __init__(self, public_only: bool = False) -> None:
        super().__init__()
        self._args = HttpArgs()
        self._connections = Connections(public_only)

    def parse_args(self, command: str, args: str) -> None:
        found = decode(args, HttpArgs)
        need(found.url, "url")
        method = found.method.strip().upper() or "GET"
        if method not in METHODS:
            raise InvalidTask(f"method must be one of {', '.join(METHODS)}, not {found.method!r}")
        if "${" not in found.url:
            check_url(found.url)
        if found.retries < 0 or found.max_redirects < 0 or found.max_response_bytes < 1:
            raise InvalidTask("retries, max_redirects and max_response_bytes must not be negative")
        self._args = found

    def run(self, context: ExecutionContext) -> Result:
        args, log = self._args, context.log
        request = self._request(context)
        until = time.monotonic() + (self.timeout or 30.0)
        self.cancel.subscribe(lambda _: self._connections.hang_up())
        for attempt in range(args.retries + 1):
            log(f"[HTTP] {request.method} {safe_url(request.url)}\n".encode())
            began = time.monotonic()
            try:
                answer = self._follow(request, until, log)
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                if self.cancel.requested:
                    return self.cancelled()
                if time.monotonic() >= until:
                    self.cancel.cancel(CancelRequest(EndReason.TIMEOUT))
                    return self.cancelled()
                text = f"{request.method} {safe_url(request.url)}: {explain(error)}"
                if attempt < args.retries:
                    log(f"[HTTP] {text}; trying again\n".encode())
                    if self.wait(min(1.0 * 2**attempt, 10.0)):
                        return self.cancelled()
                    continue
                return self.end(EndReason.FAILED, error=text, log=text, exit_code=-1)
            spent = int((time.monotonic() - began) * 1000)
            log(f"[HTTP] {answer.status} {answer.reason}, {len(answer.body)} bytes, {spent} ms\n".encode())
            return self._judge(answer)
        raise AssertionError("unreachable")

    def cleanup(self) -> None:
        self._connections.hang_up()
        self._connections.close()

    def _request(self, context: ExecutionContext) -> Request:
        args, known = self._args, context.environment
        url = substitute(args.url, known)
        check_url(url)
        if args.query:
            parts = urlsplit(url)
            pairs = parse_qsl(parts.query, keep_blank_values=True, errors="surrogateescape")
            pairs += [(key, substitute(value, known)) for key, value in args.query.items()]
            pairs.sort(key=lambda pair: pair[0])  # values of one name stay in their order
            url = urlunsplit(parts._replace(query=urlencode(pairs, errors="surrogateescape")))
        headers = {name: substitute(value, known) for name, value in args.headers.items()}
        for name, value in headers.items():
            if any(character in name + value for character in "\r\n\0"):
                raise InvalidTask(f"header {name!r} holds a line break")
        body = None
        method = args.method.strip().upper() or "GET"
        if args.body is not None:
            if not any(name.lower() == "content-type" for name in headers):
                headers["Content-Type"] = "application/json"
            if method in WITH_BODY:
                body = json.dumps(_filled(args.body, known), ensure_ascii=False).encode("utf-8", "replace")
        if args.credential_id:
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            headers["Authorization"] = self._authorization(context)
        elif urlsplit(url).username and not any(name.lower() == "authorization" for name in headers):
            headers["Authorization"] = basic(
                unquote(urlsplit(url).username or ""), unquote(urlsplit(url).password or "")
            )
        for secret in secrets_in(url, headers):
            context.conceal(secret)
        if not any(name.lower() == "user-agent" for name in headers):
            headers["User-Agent"] = "cronjob-worker"
        return Request(method, url, headers, body)

    def _authorization(self, context: ExecutionContext) -> str:
        if context.credentials is None:
            raise InvalidTask("credential_id: there is nowhere to get credentials from")
        credential = context.credentials.credential(self._args.credential_id)
        value = credential.value
        if credential.category == "api_token" and isinstance(value.get("token"), str):
            return f"Bearer {value['token']}"
        if isinstance(value.get("username"), str) and isinstance(value.get("password"), str):
            return basic(value["username"], value["password"])
        raise InvalidTask(f"credential_id: category {credential.category!r} is neither username_password nor api_token")

    def _follow(self, request: Request, until: float, log: Any) -> Answer:
        for _ in range(self._args.max_redirects + 1):
            answer = self._send(request, until)
            target = answer.headers.get("location", "")
            if answer.status not in REDIRECTS or not target or not self._args.follow_redirects:
                return answer
            request = redirected(request, answer.status, target)
            log(f"[HTTP] {answer.status}, on to {safe_url(request.url)}\n".encode())
        raise ValueError(f"more than {self._args.max_redirects} redirects")

    def _send(self, request: Request, until: float) -> Answer:
        parts = urlsplit(request.url)
        host, path = parts.hostname or "", urlunsplit(("", "", parts.path or "/", parts.query, ""))
        timeout = urllib3.Timeout(total=max(0.05, until - time.monotonic()))
        tls = self._tls() if parts.scheme == "https" else None
        pool = self._connections.pool(tls is not None, ascii_host(host), parts.port, timeout, tls)
        if isinstance(pool, HTTPSConnectionPool):
            pool.assert_hostname = None if self._args.verify_tls else False
        # Header values go out as UTF-8, whatever the HTTP library would like them to be.
        headers = {name: value.encode("utf-8", "replace").decode("latin-1") for name, value in request.headers.items()}
        response = None
        try:
            response = pool.urlopen(
                request.method, path, body=request.body, headers=headers, retries=False, redirect=False,
                preload_content=False,
            )  # fmt: skip
            body, truncated = b"", False
            for piece in response.stream(65_536, decode_content=True):
                body += piece
                if len(body) > self._args.max_response_bytes:
                    body, truncated = body[: self._args.max_response_bytes], True
                    break
                if time.monotonic() > until:
                    break
            # A connection that a cancel ended looks like the end of an answer without a length.
            if self.cancel.requested or time.monotonic() > until:
                raise OSError("ended while reading the answer")
            found = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, response.reason or "", found, body, truncated)
        finally:
            if response is not None:
                response.close()
            pool.close()
            self._connections.close()

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._args.ca_file or None)
        if not self._args.verify_tls:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the task's author asked for it
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _judge(self, answer: Answer) -> Result:
        expected = self._args.expected_status
        text = answer.body.decode(charset(answer.headers.get("content-type", "")), "replace")
        good = answer.status in expected if expected else answer.status < 400
        output = output_of(text, answer.status, answer.truncated)
        cut = f"\n... cut after {self._args.max_response_bytes} bytes (max_response_bytes)" if answer.truncated else ""
        log = f"HTTP {answer.status} {answer.reason}\n{text}{cut}"
        if good:
            result = self.end(EndReason.COMPLETED, output=output, log=log, exit_code=answer.status)
            return replace(result, truncated=answer.truncated)
        wanted = f", expected {', '.join(map(str, expected))}" if expected else ""
        error = f"HTTP status {answer.status}{wanted}"
        result = self.end(EndReason.FAILED, output=output, log=log, error=error, exit_code=answer.status)
        return replace(result, truncated=answer.truncated)


def output_of(text: str, status: int, truncated: bool = False) -> str:
    """A JSON object passes, with ``status_code`` added where it has none; everything else becomes a message."""
    try:
        document = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and size(document) <= ROOM:
        return json.dumps({"status_code": status} | document, ensure_ascii=False)
    message = beginning(text)
    cut = {"truncated": True} if truncated or message != text else {}
    return json.dumps({"message": message, "status_code": status, "exit_code": status} | cut, ensure_ascii=False)


def redirected(request: Request, status: int, target: str) -> Request:
    """The next request: 307 and 308 repeat, the others become GET; credentials stay with their own host."""
    url = urljoin(request.url, target)
    try:
        check_url(url)
    except InvalidTask as error:
        raise ValueError(f"a redirect that cannot be followed: {error}") from None
    headers = dict(request.headers)
    if urlsplit(url)[:2] != urlsplit(request.url)[:2]:
        headers = {name: value for name, value in headers.items() if name.lower() not in (*SECRET_HEADERS, "host")}
    if status in (307, 308) or request.method in ("GET", "HEAD"):
        return Request(request.method, url, headers, request.body)
    headers = {name: value for name, value in headers.items() if name.lower() not in ("content-type", "content-length")}
    return Request("GET", url, headers, None)


def check_url(url: str) -> None:
    """Raises InvalidTask where there is nothing that could be asked."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidTask(f"url is not valid: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise InvalidTask("url must begin with http:// or https://")
    if not parts.hostname:
        raise InvalidTask("url names no host")
    if port == 0:
        raise InvalidTask("url: there is no port 0")


def secrets_in(url: str, headers: Mapping[str, str]) -> list[str]:
    """What a server that repeats what it was told must not carry into output and log (G63)."""
    found = [unquote(urlsplit(url).password or "")]
    for name, value in headers.items():
        if name.lower() in SECRET_HEADERS:
            found += [value, value.rpartition(" ")[2]]  # with and without a word such as Bearer
    return [secret for secret in found if secret]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode("utf-8", "replace")).decode()


def ascii_host(host: str) -> str:
    """The name as DNS knows it."""
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise InvalidTask(f"url: {host!r} is not a host name") from None


def safe_url(url: str) -> str:
    """The URL without what may be secret: user, password, query values."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    place = f"[{host}]" if ":" in host else host
    if parts.port:
        place += f":{parts.port}"
    query = "&".join(f"{key}=***" for key, _ in parse_qsl(parts.query, keep_blank_values=True))
    return urlunsplit((parts.scheme, place, parts.path, query, ""))


def explain(error: Exception) -> str:
    """What went wrong, in words that hold no URL."""
    cause: BaseException = error
    while inner := next(
        (one for one in (getattr(cause, "reason", None), cause.__cause__, *cause.args) if isinstance(one, Exception)),
        None,
    ):
        cause = inner
    if isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError)):
        return "timeout: no answer in time"
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {cause.reason or cause}: {getattr(cause, 'verify_message', '')}".rstrip(": ")
    if isinstance(cause, OSError):
        return f"connection failed: {cause.strerror or cause}"
    name = type(cause).__name__
    if isinstance(cause, (urllib3.exceptions.HTTPError, HTTPException)):
        return f"connection failed: {name}"
    return f"{name}: {cause}"


def charset(content_type: str) -> str:
    for part in content_type.split(";")[1:]:
        name, _, value = part.strip().partition("=")
        if name.lower() == "charset":
            try:
                "".encode(value.strip('"'))
                return value.strip('"')
            except LookupError:
                break
    return "utf-8"


def _filled(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return substitute(value, environment)
    if isinstance(value, list):
        return [_filled(item, environment) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, environment) for key, item in value.items()}
    return value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
