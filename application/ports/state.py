"""What outlives this process: the tasks in hand and their logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from application.ports.logs import LogPiece
from application.ports.outcomes import Report


@dataclass(frozen=True, slots=True)
class Entry:
    """What the journal knows of one task.

    ``phase``: accepted (nothing started), running (a process may exist), finished (``report`` is decided). ``token``
    proves the claim. ``started`` tells that a process may have existed. ``pid_start`` is its start time in ``/proc``.
    """

    task_id: str
    phase: str
    name: str = ""
    category: str = ""
    token: str = ""
    save_log: bool = False
    started: bool = False
    report: Report | None = None
    pid: int = 0
    pid_start: int = 0
    boot_id: str = ""
    finished_at: float = 0.0  # seconds since 1970; how old an undeliverable entry is


class Journal(Protocol):
    """Tasks on disk from before their process starts until their end is confirmed. Any thread.

    A call returns when the change is durable, also over a power cut where the disk is one; it blocks for that. Each may
    be repeated. Raises JournalError; then nothing was changed.
    """

    def accept(self, entry: Entry) -> None:
        """Begin an entry, or replace the one of this task."""

    def running(self, task_id: str, pid: int, pid_start: int, boot_id: str) -> None:
        """The task's process; a task that is not there is left alone."""

    def started(self, task_id: str) -> None:
        """The server knows that the task runs; its process may exist from now on."""

    def finish(self, task_id: str, report: Report, finished_at: float) -> None:
        """The end is decided; makes an entry where there is none."""

    def forget(self, task_id: str) -> None:
        """The server holds the task's end, or there is nothing to tell: drop the entry."""

    def dead_letter(self, task_id: str, why: str) -> None:
        """Move an undeliverable entry to the dead letters."""

    def entries(self) -> Sequence[Entry]:
        """All of them, in no order."""

    def close(self) -> None:
        """Idempotent."""


class LogSpool(Protocol):
    """The live log of each task on its way to the server: bounded on disk, in order. Any thread; nothing raises but
    what says so. Positions and marks survive the death of the worker, not a power cut: then a piece may come again."""

    def open(self, task_id: str) -> None:
        """Begin a log; keeps what a previous run left."""

    def write(self, task_id: str, data: bytes) -> None:
        """Append output; never blocks for long; past the cap the middle is cut and the cut is marked."""

    def finish(self, task_id: str) -> None:
        """No more output will come. Idempotent."""

    def finished(self, task_id: str) -> bool:
        """``finish`` was called, and not all is delivered and settled."""

    def peek(self, task_id: str, limit: int) -> LogPiece:
        """The first bytes that the server does not hold, up to ``limit``, cut between characters; may be empty."""

    def advance(self, task_id: str, offset: int, settled: bool) -> None:
        """The server holds all bytes before ``offset``. ``settled`` False: what it holds is to be looked at again."""

    def pending(self) -> Sequence[str]:
        """The tasks with undelivered output, and those that are finished and not settled."""

    def drained(self, task_id: str) -> bool:
        """Finished, delivered to its end and settled, and so forgotten; or unknown."""

    def discard(self, task_id: str) -> None:
        """Forget the log, delivered or not. Idempotent."""
