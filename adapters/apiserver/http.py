"""One HTTP client for the API server: pooled, with a deadline per call, and with our errors only."""

from __future__ import annotations

import http.client
import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import urllib3

from adapters.apiserver.answers import explain, read_answer
from adapters.apiserver.connection import Calls
from adapters.apiserver.exchange import headers_of, open_pools, read_body, redirected
from adapters.wire.endpoints import ApiAddress, ProxyAddress, header_token
from domain.errors import CoordinationError, Unavailable, WorkerError

# Methods, paths, statuses and times only: queries hold lock values, heads the key, bodies anything.
log = logging.getLogger("worker.http")

REDIRECT_LIMIT = 3
CONNECT_TIMEOUT = 4.0  # less than a worker waits for its threads at its end
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    call: str  # how errors name it
    body: bytes | None
    repeatable: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class ApiClient:
    """Calls the API server. Any thread; each call blocks up to its time and raises CoordinationError only.

    ``token`` is asked anew for each request and once more after a 401, so a rotated key needs no restart (G56). Proxies
    of the environment are ignored: only ``proxy`` counts. ``timeout`` in seconds is the default for a whole call.
    """

    def __init__(
        self,
        address: ApiAddress,
        token: Callable[[], str],
        *,
        tls: ssl.SSLContext | None = None,
        proxy: ProxyAddress | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._address = address
        self._token = token
        self._timeout = timeout
        self._calls = Calls()
        self._pools = open_pools(tls or (ssl.create_default_context() if address.secure else None), proxy)

    def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
        repeatable: bool = True,
    ) -> Any:
        """GET a path below the base address and return the envelope's ``data``."""
        return self._call("GET", path, query, None, timeout, repeatable)

    def post(
        self,
        path: str,
        document: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        repeatable: bool = False,
    ) -> Any:
        """POST JSON (or nothing) and return the envelope's ``data``."""
        body = None if document is None else json.dumps(document, separators=(",", ":")).encode("ascii")
        return self._call("POST", path, None, body, timeout, repeatable)

    def put(self, path: str, document: Mapping[str, Any], *, timeout: float | None = None) -> Any:
        """PUT JSON and return the envelope's ``data``."""
        body = json.dumps(document, separators=(",", ":")).encode("ascii")
        return self._call("PUT", path, None, body, timeout, repeatable=True)

    def close(self) -> None:
        """End the calls under way with Unavailable, at once, and refuse later ones. Any thread, idempotent."""
        self._calls.end()
        self._pools.clear()

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        timeout: float | None,
        repeatable: bool,
    ) -> Any:
        url = self._address.base + path + (f"?{urlencode(query)}" if query else "")
        request = _Request(method, url, f"{method} {path}", body, repeatable)
        until = time.monotonic() + (self._timeout if timeout is None else timeout)
        token = self._read_token()
        try:
            answer = self._exchange(request, token, until)
            if answer.status == 401 and (fresh := self._read_token()) != token:
                token = fresh
                log.debug("%s: asked again with the new API key", request.call)
                answer = self._exchange(request, token, until)
            return read_answer(request.call, answer.status, answer.headers, answer.body)
        except CoordinationError as error:
            if token and token in str(error):  # a server that echoes the key must not get it into a log
                error.args = (str(error).replace(token, "***"),)
            raise

    def _read_token(self) -> str:
        try:
            token = self._token()
        except (OSError, WorkerError) as error:
            raise Unavailable(f"the API key cannot be read: {error}") from None
        return header_token(token)

    def _exchange(self, request: _Request, token: str, until: float) -> _Answer:
        """One request and the redirects it leads to, within the server itself."""
        url = request.url
        for _ in range(REDIRECT_LIMIT + 1):
            answer = self._attempt(request, url, token, until)
            if answer.status not in _REDIRECTS:
                return answer
            url = redirected(request.method, request.call, url, answer.status, answer.headers.get("Location"))
            log.debug("%s: follows a redirect within the server", request.call)
        raise Unavailable(f"{request.call}: redirected more than {REDIRECT_LIMIT} times")

    def _attempt(self, request: _Request, url: str, token: str, until: float) -> _Answer:
        """Send once; once more where the connection broke and the request may be repeated."""
        attempts = 2 if request.repeatable else 1
        while True:
            attempts -= 1
            try:
                return self._send(request, url, token, until)
            except urllib3.exceptions.ProtocolError as error:
                if not attempts or time.monotonic() >= until:
                    raise _unanswered(request, error) from None
                log.debug("%s: %s; sent once more", request.call, explain(error))
            except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
                raise _unanswered(request, error) from None

    def _send(self, request: _Request, url: str, token: str, until: float) -> _Answer:
        if self._calls.ended:
            raise Unavailable(f"{request.call}: not sent, because the worker ends")
        began = time.monotonic()
        left = max(0.001, until - began)
        with self._calls.until(until):
            response = self._pools.urlopen(
                request.method,
                url,
                body=request.body,
                headers=headers_of(token, request.body is not None),
                timeout=urllib3.Timeout(connect=min(left, CONNECT_TIMEOUT), read=left),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                body = read_body(response, request.call)
            except BaseException:
                response.close()
                raise
            response.release_conn()
        log.debug("%s: answered %d in %.0f ms", request.call, response.status, (time.monotonic() - began) * 1000)
        return _Answer(response.status, response.headers, body)


def _unanswered(request: _Request, error: Exception) -> Unavailable:
    why = explain(error)
    log.debug("%s: not answered: %s", request.call, why)
    return Unavailable(f"{request.call}: {why}")
