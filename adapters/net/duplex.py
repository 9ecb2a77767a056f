"""A socket that one thread reads while others write, under plain TCP and under TLS.

What a bare socket lacks: separate time-outs for the two directions, never two calls into one TLS object at a time, and
an abort that wakes both sides at once without giving the descriptor's number to somebody else while it is in use.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from adapters.wire.interim import interim


def boottime() -> float:
    """Seconds on the clock that never jumps and counts suspend, like ``Runtime.now``."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class DuplexSocket:
    """Looks like a blocking socket to websocket-client. One reader, any number of writers, ``abort`` from anywhere.

    ``recv`` gives up with TimeoutError at ``read_deadline`` (None: never). ``send`` gives up after ``send_timeout``
    seconds without progress. ``budget`` limits how many more bytes may be read (None: any number).
    """

    def __init__(self, sock: socket.socket, send_timeout: float) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._send_timeout = send_timeout
        self._one_call = threading.Lock()
        self._guard = threading.Lock()
        self._users = 0
        self._closed = False  # websocket-client looks at this name
        self.read_deadline: float | None = None
        self.budget: int | None = None
        self.last_byte = boottime()

    def recv(self, size: int) -> bytes:
        if self.budget is not None:
            if self.budget <= 0:
                raise ConnectionError("the peer sent more than allowed here")
            size = min(size, self.budget)
        data: bytes = self._until(lambda: self._sock.recv(size), select.POLLIN, self.read_deadline)
        self.last_byte = boottime()
        if self.budget is not None:
            self.budget -= len(data)
        return data

    def send(self, data: bytes) -> int:
        deadline = boottime() + self._send_timeout
        sent: int = self._until(lambda: self._sock.send(data), select.POLLOUT, deadline)
        return sent

    def gettimeout(self) -> float:
        return self._send_timeout  # not 0: for websocket-client this is a blocking socket

    def abort(self) -> None:
        """Wake everybody, close. Any thread, idempotent, never blocks."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            try:
                # Not SSLSocket.shutdown: that forgets the TLS object, and a reader would get cipher text as data.
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
            except OSError:
                pass
            self._close_unused()

    close = abort

    def _until(self, call: Callable[[], Any], direction: int, deadline: float | None) -> Any:
        with self._in_use():
            while True:
                try:
                    with self._one_call:
                        return call()
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as wait:
                    wanted = _direction(wait, direction)
                self._wait(wanted, deadline)

    def _wait(self, direction: int, deadline: float | None) -> None:
        poll = select.poll()
        poll.register(self._sock, direction)
        left = None if deadline is None else (deadline - boottime()) * 1000
        if left is not None and left <= 0:
            raise TimeoutError("no progress in time")
        poll.poll(left)
        self._refuse_closed()

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        with self._guard:
            self._refuse_closed()
            self._users += 1
        try:
            yield
        finally:
            with self._guard:
                self._users -= 1
                self._close_unused()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ConnectionAbortedError("the connection was closed here")

    def _close_unused(self) -> None:
        if self._closed and not self._users:
            self._sock.close()


class PastInterim:
    """The socket of a handshake without interim answers (103): the library would take one for the server's no."""

    def __init__(self, sock: DuplexSocket) -> None:
        self._sock = sock
        self._line: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        if self._line is None:
            self._line = self._final_line()
        taken, self._line = self._line[:size], self._line[size:]
        return taken or self._sock.recv(size)

    def _final_line(self) -> bytes:
        while True:
            line = self._read_line()
            words = line.split(None, 2)
            if len(words) < 2 or not words[1].isdigit() or not interim(int(words[1])):
                return line
            while self._read_line().strip():
                pass

    def _read_line(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n") and (byte := self._sock.recv(1)):
            line += byte
        return bytes(line)


def _direction(wait: Exception, default: int) -> int:
    if isinstance(wait, ssl.SSLWantReadError):
        return select.POLLIN
    if isinstance(wait, ssl.SSLWantWriteError):
        return select.POLLOUT
    return default
