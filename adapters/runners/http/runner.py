"""One request, its redirects and retries, and whether its answer is good."""

from __future__ import annotations

import ssl
import time
from dataclasses import replace
from http.client import HTTPException, IncompleteRead, LineTooLong
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import urllib3
from urllib3.connectionpool import HTTPSConnectionPool

from adapters.net.connections import Connections
from adapters.runners.arguments import decode, need
from adapters.runners.base import LONGEST_WAIT, BaseRunner
from adapters.runners.http.answer import Answer, charset, output_of
from adapters.runners.http.request import HttpArgs, Request, ascii_host, check_url, make_request, redirected, safe_url
from adapters.runners.http.unpack import PIECE, Unreadable, unpack
from adapters.wire.endpoints import location
from domain.errors import InvalidTask
from domain.result import EndReason, Result
from domain.runner import CancelRequest, ExecutionContext

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
REDIRECTS = (301, 302, 303, 307, 308)


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
        request = make_request(args, context)
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

    def _follow(self, request: Request, until: float, log: Any) -> Answer:
        for _ in range(self._args.max_redirects + 1):
            answer = self._send(request, until)
            target = location(answer.headers.get("location", ""))
            if answer.status not in REDIRECTS or not target or not self._args.follow_redirects:
                return answer
            request = redirected(request, answer.status, target)
            log(f"[HTTP] {answer.status}, on to {safe_url(request.url)}\n".encode())
        raise ValueError(f"more than {self._args.max_redirects} redirects")

    def _send(self, request: Request, until: float) -> Answer:
        parts = urlsplit(request.url)
        host, path = parts.hostname or "", urlunsplit(("", "", parts.path or "/", parts.query, ""))
        timeout = urllib3.Timeout(total=min(LONGEST_WAIT, max(0.05, until - time.monotonic())))
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
            return self._receive(response, until)
        finally:
            if response is not None:
                response.close()
            pool.close()
            self._connections.close()

    def _receive(self, response: urllib3.BaseHTTPResponse, until: float) -> Answer:
        headers = {name.lower(): value for name, value in response.headers.items()}
        most = self._args.max_response_bytes
        step = min(PIECE, most + 1)
        pieces = iter(lambda: response.read(step, decode_content=False), b"")
        # Not from the headers above, which hold the last of equal names only.
        encodings = ",".join(response.headers.get(name, "") for name in ("Content-Encoding", "Transfer-Encoding"))
        body, fault = bytearray(), ""
        try:
            for piece in unpack(pieces, encodings):
                body += piece
                if len(body) > most or time.monotonic() > until:
                    break
        except Unreadable as error:
            fault = str(error)
        # A connection that a cancel ended looks like the end of an answer without a length.
        if self.cancel.requested or time.monotonic() > until:
            raise OSError("ended while reading the answer")
        return Answer(response.status, response.reason or "", headers, bytes(body[:most]), len(body) > most, fault)

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
        good = answer.status in expected if expected else 200 <= answer.status < 400
        output = output_of(text, answer.status, answer.truncated)
        cut = f"\n... cut after {self._args.max_response_bytes} bytes (max_response_bytes)" if answer.truncated else ""
        log = f"HTTP {answer.status} {answer.reason}\n{text}{cut}"
        if good and not answer.fault:
            result = self.end(EndReason.COMPLETED, output=output, log=log, exit_code=answer.status)
            return replace(result, truncated=answer.truncated)
        wanted = f", expected {', '.join(map(str, expected))}" if expected and not good else ""
        error = f"HTTP status {answer.status}{wanted}" + (f"; {answer.fault}" if answer.fault else "")
        result = self.end(EndReason.FAILED, output=output, log=log, error=error, exit_code=answer.status)
        return replace(result, truncated=answer.truncated)


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
    if isinstance(cause, (IncompleteRead, urllib3.exceptions.IncompleteRead)):
        return "connection failed: the answer was cut"
    if type(cause) in (HTTPException, LineTooLong, urllib3.exceptions.InvalidHeader):
        return f"the answer cannot be read: {cause}"  # too many headers, too long ones, two lengths
    if isinstance(cause, (urllib3.exceptions.HTTPError, HTTPException)):
        return f"connection failed: {name}"
    return f"{name}: {cause}"
