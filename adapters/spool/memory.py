"""The log spool in memory: for tests, and for what need not outlive the process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.spool.utf8 import cap_marker, cut_between_characters, repair
from application.ports import LogPiece


@dataclass
class _Log:
    """LogHistory too."""

    data: bytes = b""
    offset: int = 0
    finished: bool = False
    unsettled: bool = False
    taken_over: bool = False
    note: str = ""
    pending: bytes = b""  # an unfinished character
    dropped: int = 0

    @property
    def waits(self) -> bool:
        return self.offset < len(self.data) or (self.finished and self.unsettled)

    def text(self) -> bytes:
        return self.data

    def mark(self) -> str:
        return self.note

    def inherited(self) -> bool:
        return self.taken_over

    def remember(self, mark: str) -> None:
        self.note = mark


class MemorySpool:
    """The contract of LogSpool on a dict; ``limit`` bytes per log, then output is dropped and the cut is marked.

    It survives a simulated crash when it is handed to the next worker, which calls ``take_over`` first.
    """

    def __init__(self, limit: int = 1 << 20) -> None:
        self._guard = threading.Lock()
        self._logs: dict[str, _Log] = {}
        self._limit = limit

    def take_over(self) -> None:
        """The worker begins anew: of what is left, more may have been told than was known."""
        with self._guard:
            for log in self._logs.values():
                log.taken_over = log.unsettled = log.waits or not log.finished

    def open(self, task_id: str) -> None:
        with self._guard:
            log = self._logs.setdefault(task_id, _Log())
            if log.finished:
                log.finished, log.dropped = False, 0

    def write(self, task_id: str, data: bytes) -> None:
        with self._guard:
            log = self._logs.get(task_id)
            if log is None or log.finished:
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

    def peek(self, task_id: str, limit: int) -> LogPiece:
        with self._guard:
            log = self._logs.get(task_id) or _Log(finished=True)
            chunk = log.data[log.offset : log.offset + limit + 4]
            data = chunk[: cut_between_characters(chunk, limit)]
            ended = log.finished and log.offset + len(data) >= len(log.data)
            return LogPiece(task_id, log.offset, data, ended, log)

    def advance(self, task_id: str, offset: int, settled: bool) -> None:
        with self._guard:
            if task_id in self._logs:
                self._logs[task_id].offset, self._logs[task_id].unsettled = offset, not settled
                self._sweep(task_id)

    def pending(self) -> Sequence[str]:
        with self._guard:
            return [task_id for task_id, log in self._logs.items() if log.waits]

    def drained(self, task_id: str) -> bool:
        with self._guard:
            return self._sweep(task_id)

    def discard(self, task_id: str) -> None:
        with self._guard:
            self._logs.pop(task_id, None)

    def _sweep(self, task_id: str) -> bool:
        log = self._logs.get(task_id)
        if log is not None and log.finished and not log.waits:
            del self._logs[task_id]
            return True
        return log is None
