"""The API client's contract over a function instead of a socket: for servers in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from adapters.apiserver.answers import read_answer
from domain.errors import Unavailable

Exchange = Callable[[str, str, dict[str, str], Any, float], tuple[int, dict[str, Any]]]


class MemoryApiClient:
    """``exchange(method, path, query, body, timeout)`` returns status and document, or raises Unavailable."""

    def __init__(self, exchange: Exchange, timeout: float = 10.0) -> None:
        self._exchange = exchange
        self._timeout = timeout
        self._closed = False

    def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
        repeatable: bool = True,
    ) -> Any:
        return self._call("GET", path, query, None, timeout)

    def post(
        self,
        path: str,
        document: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        repeatable: bool = False,
    ) -> Any:
        return self._call("POST", path, None, document, timeout)

    def put(self, path: str, document: Mapping[str, Any], *, timeout: float | None = None) -> Any:
        return self._call("PUT", path, None, document, timeout)

    def close(self) -> None:
        """Refuse later calls; those under way end by themselves."""
        self._closed = True

    def _call(self, method: str, path: str, query: Mapping[str, str] | None, body: Any, timeout: float | None) -> Any:
        if self._closed:
            raise Unavailable(f"{method} {path}: not sent, because the worker ends")
        status, document = self._exchange(method, path, dict(query or {}), body, timeout or self._timeout)
        return read_answer(f"{method} {path}", status, {}, json.dumps(document).encode())
