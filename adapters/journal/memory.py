"""The journal in memory: for tests, and for what need not outlive the process.

``MemoryJournal`` survives a simulated crash when it is handed to the next worker, as a file would.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from application.ports import Entry, Report
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

    def dead_letter(self, task_id: str, why: str) -> None:
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
