"""The worker's end of the socket pair to its guardian; guardian.py says what the messages are."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections import deque
from typing import Protocol

from adapters.guardian.guardian import FD_VARIABLE
from adapters.guardian.unguarded import NoWatchdog
from adapters.process.killing import identity_of
from application.ports import Watchdog

PEER = (socket.SOL_SOCKET, socket.SO_PEERCRED)  # begins with the pid of who made the socket pair
UNREAD = 100_000  # messages after which a guardian that reads none is taken for gone


class GuardianLink:
    """The worker's side. Any thread; a guardian that is gone is told by ``lost``.

    Nothing here waits for the guardian: who renews a lease must not stand still because somebody has stopped it, as
    Ctrl-Z does. What it has no room for follows when it reads again.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._guard = threading.Lock()
        self._unsent: deque[bytes] = deque()
        self.identity = identity_of(struct.unpack("i", self._socket.getsockopt(*PEER, 4))[0])
        self.lost = False

    def secrets(self) -> dict[str, str]:
        """The variables that the guardian keeps out of every environment. Before all other calls, and once.

        Waits for the answer. Raises ConnectionError if the guardian is gone.
        """
        self._send({"secrets": 1})
        _, descriptors, *_ = socket.recv_fds(self._socket, 64, 1, socket.MSG_CMSG_CLOEXEC)
        if not descriptors:
            raise ConnectionError("the guardian is gone")
        with open(descriptors[0], "rb") as file:
            return dict(json.load(file))

    def failed(self, why: BaseException) -> None:
        """This worker will not get ready."""
        self._send({"failed": f"{type(why).__name__}: {why}"[:1000]})

    def hello(self, shutdown: float) -> None:
        """This worker is ready, and from the wish to end it takes ``shutdown`` seconds at most."""
        self._send({"hello": {"shutdown": shutdown}})

    def beat(self) -> None:
        if not self._unsent or self._flush():  # a late sign of life is none
            self._send({"beat": 1})

    def started(self, task_id: str, pid: int, start: int) -> None:
        self._send({"start": [task_id, pid, start]})

    def gone(self, task_id: str) -> None:
        """The task's process is dead and reaped."""
        self._send({"gone": task_id})

    def ended(self, task_id: str) -> None:
        self._send({"end": task_id})

    def lease(self, task_id: str, deadline: float) -> None:
        self._send({"lease": [task_id, deadline]})

    def close(self) -> None:
        self._socket.close()

    def _send(self, message: dict[str, object]) -> None:
        self._unsent.append(json.dumps(message).encode())
        self._flush()

    def _flush(self) -> bool:
        """Send what can be sent, in order; whether that is all."""
        with self._guard:
            while self._unsent:
                try:
                    self._socket.send(self._unsent[0], socket.MSG_DONTWAIT)
                except BlockingIOError:
                    self.lost = self.lost or len(self._unsent) > UNREAD
                    return False
                except OSError:
                    self.lost = True
                    self._unsent.clear()
                    return False
                self._unsent.popleft()
        return True


class Watcher(Watchdog, Protocol):
    """What the processes of tasks are told to, beside the leases, and how the start went."""

    @property
    def identity(self) -> str:
        """Which process the guardian is; empty where there is none."""

    def secrets(self) -> dict[str, str]:
        """The variables that are kept out of every environment. Before all other calls, and once.

        Waits for the answer. Raises ConnectionError if the guardian is gone.
        """

    def failed(self, why: BaseException) -> None:
        """This worker will not get ready."""

    def started(self, task_id: str, pid: int, start: int) -> None:
        """A process of the task runs, with that start time of ``/proc``."""

    def gone(self, task_id: str) -> None:
        """The task's process is dead and reaped."""


def find_watcher() -> Watcher:
    """The link to the guardian that started this process; the variable is taken away from the tasks' environment."""
    text = os.environ.pop(FD_VARIABLE, "")
    return GuardianLink(int(text)) if text.isdigit() else NoWatchdog()
