"""Who is told of each task's process."""

from __future__ import annotations

import pytest

from adapters.guardian.observers import Observers
from adapters.guardian.unguarded import NoWatchdog
from adapters.journal.memory import MemoryJournal
from adapters.process.orphans import boot_id
from application.ports import Entry


class Notes(NoWatchdog):
    """A guardian."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def started(self, task_id: str, pid: int, start: int) -> None:
        self.seen.append((task_id, pid, start))

    def gone(self, task_id: str) -> None:
        self.seen.append(task_id)

    def ended(self, task_id: str) -> None:
        raise AssertionError("the lease of a task outlives its process: it goes with the task")


@pytest.fixture
def journal() -> MemoryJournal:
    made = MemoryJournal()
    made.accept(Entry("t", "accepted"))
    return made


def test_the_guardian_and_the_journal_know_a_process_and_its_boot(journal: MemoryJournal) -> None:
    guardian = Notes()
    observers = Observers(journal, guardian)
    observers.started("t", 5, 77)
    (entry,) = journal.entries()
    assert (entry.phase, entry.pid, entry.pid_start, entry.boot_id) == ("running", 5, 77, boot_id())
    observers.ended("t")
    assert guardian.seen == [("t", 5, 77), "t"]


def test_a_journal_that_cannot_be_written_costs_no_task_and_the_guardian_knows(journal: MemoryJournal) -> None:
    guardian = Notes()
    journal.fail = True
    Observers(journal, guardian).started("t", 5, 77)
    assert guardian.seen == [("t", 5, 77)]
