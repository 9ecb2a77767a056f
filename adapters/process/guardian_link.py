"""The worker's end of the socket pair to its guardian; guardian.py says what the messages are."""

from __future__ import annotations

import json
import os
import socket

from adapters.process.guardian import FD_VARIABLE


class GuardianLink:
    """Any thread; a guardian that is gone is told by ``lost``."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self.lost = False

    def hello(self, shutdown: float) -> None:
        self._send({"hello": {"shutdown": shutdown}})

    def beat(self) -> None:
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
        try:
            self._socket.send(json.dumps(message).encode())
        except OSError:
            self.lost = True


def link_from_environment() -> GuardianLink | None:
    """The link to the guardian that started this process; the variable is taken away from the tasks' environment."""
    text = os.environ.pop(FD_VARIABLE, "")
    return GuardianLink(int(text)) if text.isdigit() else None
