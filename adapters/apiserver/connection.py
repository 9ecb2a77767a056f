"""urllib3 connections with one deadline for a whole exchange.

A read time-out alone restarts with each byte, so that a dripping peer could hold a thread for hours: here every read
of header and body gets only what is left of the caller's time.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

# The server closes a connection idle for 60 s; one that is not quite that old is not worth the risk.
IDLE_LIMIT = 30.0

_of_thread = threading.local()


@contextmanager
def deadline(at: float) -> Iterator[None]:
    """Give all exchanges of this thread until ``at`` (time.monotonic)."""
    _of_thread.deadline = at
    try:
        yield
    finally:
        del _of_thread.deadline


class _TimedReader(io.RawIOBase):
    """Reads a socket with what is left of the deadline as time-out."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline: float = getattr(_of_thread, "deadline", time.monotonic() + 60.0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for this request is over")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def fileno(self) -> int:
        return self._raw.fileno()

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_TimedReader(raw, sock))


class _FreshMixin:
    """Counts a connection that was idle for long as dropped, so that urllib3 opens it anew."""

    _used = 0.0

    def getresponse(self) -> Any:
        response = super().getresponse()  # type: ignore[misc]
        self._used = time.monotonic()
        return response

    @property
    def is_connected(self) -> bool:
        fresh = not self._used or time.monotonic() - self._used < IDLE_LIMIT
        return bool(super().is_connected) and fresh  # type: ignore[misc]


class _TimedHTTPConnection(_FreshMixin, HTTPConnection):
    response_class = _TimedResponse


class _TimedHTTPSConnection(_FreshMixin, HTTPSConnection):
    response_class = _TimedResponse


class TimedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _TimedHTTPConnection


class TimedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _TimedHTTPSConnection
