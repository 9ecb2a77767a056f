"""Task logs on their way to the server: in order, one piece under way per task (G37..G44)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from application.ports import Disk, Host, LogPiece, TaskLogs
from domain.errors import CoordinationError, JournalError, NotFound, Refused

log = logging.getLogger("worker.log_delivery")

BATCH = 64 * 1024  # bytes a piece; a server may rewrite the whole log for each, so few large ones are cheap
PAUSE = 1.0  # seconds between two pieces of one running task
RETRY = (0.5, 1.0, 2.0, 5.0, 15.0)  # seconds until the next try, by failures in a row
PATIENCE = 5  # failures until it is told


@dataclass(slots=True)
class Progress:
    """Where one task's log is on its way."""

    failures: int = 0
    next_at: float = 0.0
    hurry: bool = True  # once the task has ended, nobody waits for ``next_at``
    busy: bool = False


class LogDelivery:
    """Several identical loops upload; a task is never in two of them at once. Without ``logs`` nobody reads them."""

    def __init__(self, host: Host, disk: Disk, logs: TaskLogs | None) -> None:
        self._host = host
        self._spool = disk.spool
        self._logs = logs
        self._guard = host.runtime.lock()
        self._under_way: dict[str, Progress] = {}

    def run(self, closing: Callable[[], bool], rest: float = 0.2) -> None:
        """The loop of one uploader; it looks every ``rest`` seconds while there is nothing to upload."""
        idle = self._host.runtime.event()
        while not closing():
            if not self._upload_one():
                idle.wait(0.05 if self._spool.pending() else rest)

    def _upload_one(self) -> bool:
        ready = self._take()
        if ready is None:
            return False
        task_id, progress = ready
        try:
            self._upload(task_id, progress)
        finally:
            progress.busy = False
        return True

    def _take(self) -> tuple[str, Progress] | None:
        """The next log with something to tell, which is this loop's until it is not ``busy`` any more."""
        now, pending = self._host.runtime.now(), self._spool.pending()
        with self._guard:
            for task_id in self._under_way.keys() - set(pending):
                if not self._under_way[task_id].busy and self._spool.drained(task_id):
                    del self._under_way[task_id]
            for task_id in pending:
                progress = self._under_way.setdefault(task_id, Progress())
                if not progress.busy and (
                    progress.next_at <= now or (progress.hurry and self._spool.finished(task_id))
                ):
                    progress.busy = True
                    return task_id, progress
        return None

    def _upload(self, task_id: str, progress: Progress) -> None:
        piece = self._spool.peek(task_id, BATCH)
        progress.hurry, progress.next_at = True, self._host.runtime.now() + PAUSE
        if self._logs is None:
            self._spool.discard(task_id)
            return
        try:
            self._append(self._logs, piece, progress)
        except (NotFound, Refused) as error:
            log.warning("the server refuses this log: %s", error, extra={"task": task_id})
            self._host.metrics.count("log_batches_refused")
            self._spool.discard(task_id)
        except (CoordinationError, JournalError) as error:
            progress.hurry = False
            progress.next_at = self._host.runtime.now() + RETRY[min(progress.failures, len(RETRY) - 1)]
            progress.failures += 1
            level = logging.WARNING if progress.failures == PATIENCE else logging.DEBUG
            log.log(level, "the log is not taken yet and is kept: %s", error, extra={"task": task_id})
        else:
            progress.failures = 0

    def _append(self, logs: TaskLogs, piece: LogPiece, progress: Progress) -> None:
        taken = logs.append(piece)
        self._spool.advance(piece.task_id, taken.offset, taken.settled)
        if taken.after:
            progress.hurry, progress.next_at = False, self._host.runtime.now() + taken.after
