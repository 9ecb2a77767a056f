"""urllib3 connections with one deadline for a whole exchange.

A read time-out alone restarts with each byte, so that a dripping peer could hold a thread for hours: here every read
of header and body gets only what is left of the caller's time.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from adapters.wire.interim import FinalResponse

# The server closes a connection idle for 60 s; one that is not quite that old is not worth the risk.
IDLE_LIMIT = 30.0

_of_thread = threading.local()


class Calls:
    """The sockets that threads wait on for an answer, so that another thread can end all of it. Any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: dict[int, socket.socket] = {}
        self.ended = False

    @contextmanager
    def until(self, at: float) -> Iterator[None]:
        """Give all exchanges of this thread until ``at`` (time.monotonic)."""
        _of_thread.deadline, _of_thread.calls = at, self
        try:
            yield
        finally:
            del _of_thread.deadline, _of_thread.calls
            with self._guard:
                self._waiting.pop(threading.get_ident(), None)

    def wait_on(self, sock: socket.socket) -> None:
        with self._guard:
            self._waiting[threading.get_ident()] = sock
            if self.ended:
                _wake(sock)

    def end(self) -> None:
        with self._guard:
            self.ended = True
            for sock in self._waiting.values():
                _wake(sock)


def _wake(sock: socket.socket) -> None:
    with suppress(OSError):  # gone already
        # Not the method of a TLS socket: that one takes the TLS away under the thread that reads.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


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


class _TimedResponse(FinalResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_TimedReader(raw, sock))


class _FreshMixin:
    """Counts a connection that was idle for long as dropped, so that urllib3 opens it anew."""

    _used = 0.0

    def getresponse(self) -> Any:
        calls: Calls | None = getattr(_of_thread, "calls", None)
        if calls is not None:
            calls.wait_on(self.sock)  # type: ignore[attr-defined]
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
