"""Who is told of each task's process."""

from __future__ import annotations

import contextlib
import logging

from adapters.guardian.link import Watcher
from adapters.process.orphans import boot_id
from application.ports import Journal
from domain.errors import JournalError

log = logging.getLogger("worker.process")


class Observers:
    """Tells the journal and the guardian of each task's process."""

    def __init__(self, journal: Journal, guardian: Watcher) -> None:
        self._journal = journal
        self._guardian = guardian
        self._boot_id = boot_id()

    def started(self, task_id: str, pid: int, start: int) -> None:
        log.debug("process started: pid %d", pid, extra={"task": task_id})
        self._guardian.started(task_id, pid, start)
        with contextlib.suppress(JournalError):  # known to the guardian all the same
            self._journal.running(task_id, pid, start, self._boot_id)

    def ended(self, task_id: str) -> None:
        log.debug("process ended, with all that it started", extra={"task": task_id})
        self._guardian.gone(task_id)
