"""What a spool knows of one log, in memory."""

from __future__ import annotations


class History:
    """A LogHistory. ``left`` tells that a previous run of the worker has left the log."""

    def __init__(self, text: bytes = b"", left: bool = False) -> None:
        self.whole = text
        self._left = left
        self._mark = ""

    def text(self) -> bytes:
        return self.whole

    def mark(self) -> str:
        return self._mark

    def inherited(self) -> bool:
        return self._left

    def remember(self, mark: str) -> None:
        self._mark = mark
