"""Sends one HTTP request and checks the answer (category ``http``)."""

from __future__ import annotations

import base64
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from adapters.runners.arguments import decode, need, substitute
from adapters.runners.base import BaseRunner
from domain.errors import InvalidTask, WorkerError
from domain.result import EndReason, Result
from domain.runner import CancelRequest, ExecutionContext

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
WITH_BODY = ("POST", "PUT", "PATCH")
REDIRECTS = (301, 302, 303, 307, 308)
RESPONSE_CAP = 1 << 20
SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization")
# Cloud metadata services: whoever can make the worker ask them gets its keys.
METADATA = [
    ipaddress.ip_network(text) for text in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32")
]


class Forbidden(WorkerError):
    """The address may not be asked."""


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
        self._public_only = public_only
        self._args = HttpArgs()
        self._sockets: list[socket.socket] = []
        self._sockets_guard = threading.Lock()

    def parse_args(self, command: str, args: str) -> None:
        found = decode(args, HttpArgs)
        need(found.url, "url")
        method = found.method.strip().upper() or "GET"
        if method not in METHODS:
            raise InvalidTask(f"method must be one of {', '.join(METHODS)}, not {found.method!r}")
        if "${" not in found.url and urlsplit(found.url).scheme not in ("http", "https"):
            raise InvalidTask("url must begin with http:// or https://")
        if found.retries < 0 or found.max_redirects < 0 or found.max_response_bytes < 1:
            raise InvalidTask("retries, max_redirects and max_response_bytes must not be negative")
        self._args = found

    def run(self, context: ExecutionContext) -> Result:
        args, log = self._args, context.log
        request = self._request(context)
        until = time.monotonic() + (self.timeout or 30.0)
        self.cancel.subscribe(self._hang_up)
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
                if attempt < args.retries and not self.wait(min(1.0 * 2**attempt, 10.0)):
                    log(f"[HTTP] {text}; trying again\n".encode())
                    continue
                return self.end(EndReason.FAILED, error=text, log=text, exit_code=-1)
            spent = int((time.monotonic() - began) * 1000)
            log(f"[HTTP] {answer.status} {answer.reason}, {len(answer.body)} bytes, {spent} ms\n".encode())
            return self._judge(answer)
        raise AssertionError("unreachable")

    def cleanup(self) -> None:
        self._hang_up(None)

    def _request(self, context: ExecutionContext) -> Request:
        args, known = self._args, context.environment
        url = substitute(args.url, known)
        if urlsplit(url).scheme not in ("http", "https"):
            raise InvalidTask("url must begin with http:// or https://")
        if not urlsplit(url).hostname:
            raise InvalidTask("url names no host")
        if args.query:
            parts = urlsplit(url)
            pairs = parse_qsl(parts.query, keep_blank_values=True)
            pairs += [(key, substitute(value, known)) for key, value in args.query.items()]
            url = urlunsplit(parts._replace(query=urlencode(sorted(pairs))))
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
            headers["Authorization"] = self._authorization(context)
        headers.setdefault("User-Agent", "cronjob-worker")
        return Request(method, url, headers, body)

    def _authorization(self, context: ExecutionContext) -> str:
        if context.credentials is None:
            raise InvalidTask("credential_id: there is nowhere to get credentials from")
        credential = context.credentials.credential(self._args.credential_id)
        value = credential.value
        if credential.category == "api_token" and isinstance(value.get("token"), str):
            return f"Bearer {value['token']}"
        if isinstance(value.get("username"), str) and isinstance(value.get("password"), str):
            pair = f"{value['username']}:{value['password']}"
            return "Basic " + base64.b64encode(pair.encode()).decode()
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
        pool: HTTPConnectionPool
        if parts.scheme == "https":
            pool = HTTPSConnectionPool(host, parts.port or 443, timeout=timeout, ssl_context=self._tls())
            pool.assert_hostname = None if self._args.verify_tls else False
        else:
            pool = HTTPConnectionPool(host, parts.port or 80, timeout=timeout)
        pool.ConnectionCls = self._connection_class(parts.scheme == "https")
        try:
            response = pool.urlopen(
                request.method, path, body=request.body, headers=dict(request.headers), retries=False, redirect=False,
                preload_content=False,
            )  # fmt: skip
            body, truncated = b"", False
            for piece in response.stream(65_536, decode_content=True):
                body += piece
                if len(body) > self._args.max_response_bytes:
                    body, truncated = body[: self._args.max_response_bytes], True
                    break
                if self.cancel.requested or time.monotonic() > until:
                    raise OSError("ended while reading the answer")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, response.reason or "", headers, body, truncated)
        finally:
            pool.close()
            self._hang_up(None)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._args.ca_file or None)
        if not self._args.verify_tls:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the task's author asked for it
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _connection_class(self, secure: bool) -> Any:
        """A connection that looks at the address it is about to use, and that a cancel can close."""
        runner = self
        base: Any = HTTPSConnection if secure else HTTPConnection

        class Connection(base):  # type: ignore[misc]
            def _new_conn(self) -> socket.socket:
                sock = runner._dial(self._dns_host, self.port, self.timeout)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock

        return Connection

    def _dial(self, host: str, port: int, timeout: Any) -> socket.socket:
        last: Exception = OSError(f"{host}: no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            check_address(str(address[0]), self._public_only)
            sock = socket.socket(family, kind, protocol)
            with self._sockets_guard:
                self._sockets.append(sock)
            if self.cancel.requested:
                self._hang_up(None)
            sock.settimeout(timeout if isinstance(timeout, (int, float)) else None)
            try:
                sock.connect(address)
            except OSError as error:
                last = error
                sock.close()
                continue
            return sock
        raise last

    def _hang_up(self, _: CancelRequest | None) -> None:
        with self._sockets_guard:
            sockets, self._sockets = self._sockets, []
        for sock in sockets:
            # Not closed here: its owner does that, and until then nobody else can get its descriptor number.
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _judge(self, answer: Answer) -> Result:
        expected = self._args.expected_status
        text = answer.body.decode(charset(answer.headers.get("content-type", "")), "replace")
        good = answer.status in expected if expected else answer.status < 400
        output = output_of(text, answer.status)
        log = f"HTTP {answer.status} {answer.reason}\n{text}"
        if good:
            return self.end(EndReason.COMPLETED, output=output, log=log, exit_code=answer.status)
        wanted = f", expected {', '.join(map(str, expected))}" if expected else ""
        return self.end(
            EndReason.FAILED,
            output=output,
            log=log,
            error=f"HTTP status {answer.status}{wanted}",
            exit_code=answer.status,
        )


def output_of(text: str, status: int) -> str:
    """A JSON object passes, with ``status_code`` added where it has none; everything else becomes a message."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        return json.dumps({"status_code": status} | document, ensure_ascii=False)
    return json.dumps({"message": text, "status_code": status, "exit_code": status}, ensure_ascii=False)


def redirected(request: Request, status: int, target: str) -> Request:
    """The next request: 307 and 308 repeat, the others become GET; credentials stay with their own host."""
    url = urljoin(request.url, target)
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"a redirect to {urlsplit(url).scheme}: is not followed")
    headers = dict(request.headers)
    if urlsplit(url)[:2] != urlsplit(request.url)[:2]:
        headers = {name: value for name, value in headers.items() if name.lower() not in SECRET_HEADERS}
    if status in (307, 308) or request.method in ("GET", "HEAD"):
        return Request(request.method, url, headers, request.body)
    headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
    return Request("GET", url, headers, None)


def check_address(text: str, public_only: bool) -> None:
    """Raises Forbidden for addresses that no task may reach."""
    address: Any = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1] or address
    if any(address in network for network in METADATA):
        raise Forbidden(f"the address {address} is that of a metadata service or of the local link: not asked")
    if public_only and not address.is_global:
        raise Forbidden(f"the address {address} is not a public one: not asked")


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
    while isinstance(
        inner := getattr(cause, "reason", None) or cause.__cause__ or next(iter(cause.args), None), Exception
    ):
        cause = inner
    if isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError)):
        return "timeout: no answer in time"
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {cause.reason or cause}: {getattr(cause, 'verify_message', '')}".rstrip(": ")
    if isinstance(cause, OSError):
        return f"connection failed: {cause.strerror or cause}"
    return (
        f"{type(cause).__name__}: {cause}"
        if not isinstance(cause, urllib3.exceptions.HTTPError)
        else type(cause).__name__
    )


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
