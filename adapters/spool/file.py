"""Task logs on disk on their way to the server: one file of text and one of positions per task.

The file holds valid UTF-8 in the order it was written. Past ``limit`` bytes, or past the quota of all logs together,
only the last bytes are remembered (in memory) and written at the end behind a mark, so a log always has its head, its
end, and a word on what is missing (G37, G43). Positions survive the death of the worker, not a power cut: then the last
batch may be repeated.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from adapters.spool.task_log import Filter, TaskLog
from application.ports import LogPiece
from domain.errors import JournalError

log = logging.getLogger("worker.spool")


class FileSpool:
    """The contract of LogSpool on files below ``directory`` (made 0700)."""

    def __init__(
        self, directory: Path, limit: int, quota: int, make_filter: Callable[[], Filter] | None = None
    ) -> None:
        """Raises JournalError where there can be no such directory."""
        self._directory = directory
        self._limit = limit
        self._quota = quota
        self._make_filter = make_filter
        self._guard = threading.Lock()
        self._logs: dict[str, TaskLog] = {}
        self._used = 0  # bytes of all logs together
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            left = {path.stem for path in directory.iterdir()}
        except OSError as error:
            raise JournalError(f"logs cannot be kept in {directory}: {error.strerror}") from error
        for task_id in left:
            self._take_over(task_id)

    def _take_over(self, task_id: str) -> None:
        """Go on with what a previous run left: its task may long be settled, and then nobody else asks for it."""
        try:
            found = TaskLog(self._directory, task_id)
            if found.drained:
                found.remove()
            else:
                self._logs[task_id] = found
                self._used += found.size
        except OSError as error:
            log.error("a log of a previous run cannot be used: %s", error, extra={"task": task_id})

    def open(self, task_id: str) -> None:
        with self._guard:
            found = self._logs.get(task_id)
            if found is not None and not found.finished:
                return
            try:
                found = found or TaskLog(self._directory, task_id)
                found.begin(self._make_filter)
                self._logs[task_id] = found
            except OSError as error:
                log.error("no log of this task is kept: %s", error, extra={"task": task_id})

    def write(self, task_id: str, data: bytes) -> None:
        with self._guard:
            found = self._logs.get(task_id)
            if found is not None and not found.finished:
                before = found.size
                found.write(data, min(self._limit, before + max(0, self._quota - self._used)))
                self._used += found.size - before

    def finish(self, task_id: str) -> None:
        with self._guard:
            found = self._logs.get(task_id)
            if found is not None and not found.finished:
                before = found.size
                found.finish()
                self._used += found.size - before

    def finished(self, task_id: str) -> bool:
        with self._guard:
            return task_id in self._logs and self._logs[task_id].finished

    def peek(self, task_id: str, limit: int) -> LogPiece:
        history = _History(self, task_id)
        with self._guard:
            found = self._logs.get(task_id)
            if found is None:
                return LogPiece(task_id, 0, b"", True, history)
            ended = found.finished  # asked before the look: nothing comes after it then
            data = found.peek(limit)
            if found.lost:
                self._drop(task_id)
            return LogPiece(task_id, found.offset, data, ended and found.offset + len(data) >= found.size, history)

    def text(self, task_id: str) -> bytes:
        """All bytes of a log from the first on, delivered or not."""
        with self._guard:
            return self._logs[task_id].text() if task_id in self._logs else b""

    def mark(self, task_id: str) -> tuple[str, bool]:
        """What ``remember`` was last given, and whether the log is a previous run's."""
        with self._guard:
            found = self._logs.get(task_id)
            return (found.mark, found.inherited) if found is not None else ("", False)

    def remember(self, task_id: str, mark: str) -> None:
        with self._guard:
            found = self._logs.get(task_id)
            if found is not None and found.mark != mark:
                found.mark = mark
                found.save()

    def advance(self, task_id: str, offset: int, settled: bool) -> None:
        with self._guard:
            found = self._logs.get(task_id)
            if found is not None:
                found.offset, found.unsettled = offset, not settled
                found.save()
                self._sweep(task_id)

    def pending(self) -> Sequence[str]:
        with self._guard:
            return [task_id for task_id, found in self._logs.items() if found.waits]

    def drained(self, task_id: str) -> bool:
        with self._guard:
            return self._sweep(task_id)

    def discard(self, task_id: str) -> None:
        with self._guard:
            self._drop(task_id)

    def close(self) -> None:
        """Close the files; what is undelivered stays for the next start."""
        with self._guard:
            for found in self._logs.values():
                found.close()

    def _sweep(self, task_id: str) -> bool:
        found = self._logs.get(task_id)
        if found is not None and found.drained:
            self._drop(task_id)
            return True
        return found is None

    def _drop(self, task_id: str) -> None:
        found = self._logs.pop(task_id, None)
        if found is not None:
            self._used -= found.size
            found.remove()


class _History:
    """LogHistory of one task's log."""

    def __init__(self, spool: FileSpool, task_id: str) -> None:
        self._spool = spool
        self._task_id = task_id

    def text(self) -> bytes:
        return self._spool.text(self._task_id)

    def mark(self) -> str:
        return self._spool.mark(self._task_id)[0]

    def inherited(self) -> bool:
        return self._spool.mark(self._task_id)[1]

    def remember(self, mark: str) -> None:
        self._spool.remember(self._task_id, mark)
