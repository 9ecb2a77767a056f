"""A live log for tests of runners and processes."""

from __future__ import annotations

import threading


class Log:
    """Collects live output and lets a test wait for a part of it."""

    def __init__(self) -> None:
        self.data = b""
        self._changed = threading.Condition()

    def __call__(self, data: bytes) -> None:
        with self._changed:
            self.data += data
            self._changed.notify_all()

    def wait_for(self, part: bytes) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: part in self.data, 10), self.data
