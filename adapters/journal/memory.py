"""Journal and log spool in memory: for tests, and for what need not outlive the process.

``MemoryJournal`` survives a simulated crash when it is handed to the next worker, as a file would.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapters.spool.utf8 import cap_marker, cut_between_characters, repair
from application.ports import Batch, Entry, Report
from domain.errors import JournalError


class MemoryJournal:
    """The contract of Journal on a dict. ``fail`` makes every write raise, as a full disk would."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self.dead_letters: dict[str, str] = {}
        self.fail = False

    def accept(self, entry: Entry) -> None:
        self._put(entry)

    def started(self, task_id: str) -> None:
        self._change(task_id, started=True)

    def running(self, task_id: str, pid: int, pid_start: int, boot_id: str) -> None:
        if any(entry.task_id == task_id and entry.phase == "finished" for entry in self.entries()):
            return
        self._change(task_id, phase="running", pid=pid, pid_start=pid_start, boot_id=boot_id)

    def finish(self, task_id: str, report: Report, finished_at: float) -> None:
        self._change(task_id, phase="finished", report=report, finished_at=finished_at)

    def forget(self, task_id: str) -> None:
        self._check()
        with self._guard:
            self._entries.pop(task_id, None)

    def bury(self, task_id: str, why: str) -> None:
        self._check()
        with self._guard:
            self._entries.pop(task_id, None)
            self.dead_letters[task_id] = why

    def entries(self) -> Sequence[Entry]:
        with self._guard:
            return list(self._entries.values())

    def close(self) -> None:
        """Nothing to close."""

    def _put(self, entry: Entry) -> None:
        self._check()
        with self._guard:
            self._entries[entry.task_id] = entry

    def _change(self, task_id: str, **fields: object) -> None:
        self._check()
        with self._guard:
            if task_id in self._entries:
                self._entries[task_id] = replace(self._entries[task_id], **fields)  # type: ignore[arg-type]

    def _check(self) -> None:
        if self.fail:
            raise JournalError("the journal is told to fail")


@dataclass
class _Log:
    data: bytes = b""
    offset: int = 0
    base: int | None = None
    finished: bool = False
    doubtful: bool = False
    pending: bytes = b""  # an unfinished character
    dropped: int = 0


class MemorySpool:
    """The contract of LogSpool on a dict; ``limit`` bytes per log, then output is dropped and the cut is marked."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self._guard = threading.Lock()
        self._logs: dict[str, _Log] = {}
        self._limit = limit

    def open(self, task_id: str) -> None:
        with self._guard:
            self._logs.setdefault(task_id, _Log())

    def write(self, task_id: str, data: bytes) -> None:
        with self._guard:
            log = self._logs.get(task_id)
            if log is None:
                return
            text, log.pending = repair(log.pending + data, final=False)
            room = 0 if log.dropped else max(0, self._limit - len(log.data))  # what follows a gap is no head
            kept = text[: cut_between_characters(text, room)]
            log.data += kept
            log.dropped += len(text) - len(kept)

    def finish(self, task_id: str) -> None:
        with self._guard:
            log = self._logs.get(task_id)
            if log is None or log.finished:
                return
            log.data += repair(log.pending, final=True)[0]
            if log.dropped:
                log.data += cap_marker(log.dropped)
            log.finished, log.pending = True, b""

    def finished(self, task_id: str) -> bool:
        with self._guard:
            return task_id in self._logs and self._logs[task_id].finished

    def peek(self, task_id: str, limit: int) -> Batch:
        with self._guard:
            log = self._logs.get(task_id) or _Log()
            chunk = log.data[log.offset : log.offset + limit + 4]
            return Batch(log.offset, log.base, chunk[: cut_between_characters(chunk, limit)], log.doubtful)

    def text(self, task_id: str) -> bytes:
        with self._guard:
            return (self._logs.get(task_id) or _Log()).data

    def doubt(self, task_id: str) -> None:
        self._set_doubt(task_id, True)

    def trust(self, task_id: str) -> None:
        self._set_doubt(task_id, False)

    def _set_doubt(self, task_id: str, doubtful: bool) -> None:
        with self._guard:
            if task_id in self._logs:
                self._logs[task_id].doubtful = doubtful
                self._sweep(task_id)

    def rebase(self, task_id: str, base: int) -> None:
        with self._guard:
            if task_id in self._logs:
                self._logs[task_id].base = base

    def advance(self, task_id: str, offset: int) -> None:
        with self._guard:
            if task_id in self._logs:
                self._logs[task_id].offset = offset
                self._sweep(task_id)

    def pending(self) -> Sequence[str]:
        with self._guard:
            return [
                task_id
                for task_id, log in self._logs.items()
                if log.offset < len(log.data) or (log.finished and log.doubtful)
            ]

    def drained(self, task_id: str) -> bool:
        with self._guard:
            return self._sweep(task_id)

    def discard(self, task_id: str) -> None:
        with self._guard:
            self._logs.pop(task_id, None)

    def _sweep(self, task_id: str) -> bool:
        log = self._logs.get(task_id)
        if log is not None and log.finished and log.offset >= len(log.data) and not log.doubtful:
            del self._logs[task_id]
            return True
        return log is None
