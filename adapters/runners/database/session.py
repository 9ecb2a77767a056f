"""Connections that another thread can end at any moment, also while they are being made."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from domain.errors import WorkerError

T = TypeVar("T")
CONNECT = 10.0  # seconds
CANCEL = 2.0  # seconds that a server gets to end a statement before its connection is cut


class Cancelled(WorkerError):
    """The run was asked to end."""


class Connecting(Generic[T]):
    """Connects on a thread of its own, because no driver's handshake can be interrupted.

    After a cancel nobody waits for that thread: it ends by its own connect limit, and closes what it still got.
    """

    def __init__(self, connect: Callable[[], T], close: Callable[[T], None]) -> None:
        self._connect, self._close = connect, close
        self._guard = threading.Lock()
        self._done = threading.Event()
        self._abandoned = False
        self._value: T | None = None
        self._error: BaseException | None = None

    def run(self) -> T:
        """Blocks until connected, failed (the driver's own error) or abandoned (Cancelled)."""
        threading.Thread(target=self._work, name="database-connect", daemon=True).start()
        self._done.wait()
        with self._guard:
            if self._error is not None:
                raise self._error
            if self._value is None:
                raise Cancelled("cancelled while connecting")
            return self._value

    def abandon(self) -> None:
        with self._guard:
            self._abandoned = True
        self._done.set()

    def _work(self) -> None:
        try:
            value = self._connect()
        except BaseException as error:  # noqa: BLE001 - handed over to the waiting thread
            self._error = error
        else:
            with self._guard:
                late = self._abandoned
                if not late:
                    self._value = value
            if late:
                with contextlib.suppress(Exception):
                    self._close(value)
        self._done.set()


def cut(descriptor: int) -> None:
    """End a connection under its driver: whoever reads from it wakes up. The descriptor stays the driver's."""
    try:
        twin = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return
    with twin, contextlib.suppress(OSError):
        twin.shutdown(socket.SHUT_RDWR)
