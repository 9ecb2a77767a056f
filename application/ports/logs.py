"""The logs that people read while tasks run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class LogHistory(Protocol):
    """What is known of one task's log beside its next piece; for a server whose log has to be put right at times."""

    def text(self) -> bytes:
        """All that the worker has kept of the log so far, in order."""

    def mark(self) -> str:
        """What ``remember`` was last given, also by a previous run of the worker; empty in the beginning."""

    def inherited(self) -> bool:
        """Whether a previous run of the worker has left this log: its last piece may have been told or not."""

    def remember(self, mark: str) -> None:
        """Keep ``mark`` with the log. Durable when it returns, but for a power cut. Raises JournalError."""


@dataclass(frozen=True, slots=True)
class LogPiece:
    """``data`` stands at ``offset`` of a task's log. ``ended``: nothing comes behind it; it may be empty then."""

    task_id: str
    offset: int
    data: bytes
    ended: bool
    history: LogHistory

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


@dataclass(frozen=True, slots=True)
class Taken:
    """The server holds the log up to ``offset``, which may be another than the piece's end. ``settled`` False: what it
    holds has to be looked at again once the log has ended; ``after`` is how many seconds that has time."""

    offset: int
    settled: bool = True
    after: float = 0.0


class TaskLogs(Protocol):
    """The logs that people read while tasks run. At most one call for a task at a time; blocks for some exchanges."""

    def append(self, piece: LogPiece) -> Taken:
        """Put a piece into the log. Idempotent: after a lost answer the same piece comes again and stands there once.

        An empty piece comes at the end of a log that is not settled, until it is. Raises Unavailable; NotFound or
        Refused where this log will never be taken.
        """
