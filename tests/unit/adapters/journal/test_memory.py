"""The journal in memory: what is its own beside the contract of all journals."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adapters.journal.memory import MemoryJournal
from application.ports import Entry, Report, Verb
from domain.errors import JournalError
from domain.status import Status

ENTRY = Entry("t", "accepted")
REPORT = Report("t", Verb.ENDED, Status.SUCCESS)

WRITES: dict[str, Callable[[MemoryJournal], None]] = {
    "accept": lambda journal: journal.accept(Entry("u", "accepted")),
    "started": lambda journal: journal.started("t"),
    "running": lambda journal: journal.running("t", 1, 2, "boot"),
    "finish": lambda journal: journal.finish("t", REPORT, 1.0),
    "forget": lambda journal: journal.forget("t"),
    "dead_letter": lambda journal: journal.dead_letter("t", "why"),
}


@pytest.fixture
def journal() -> MemoryJournal:
    made = MemoryJournal()
    made.accept(ENTRY)
    return made


@pytest.mark.parametrize("write", WRITES)
def test_one_that_is_told_to_fail_fails_each_write_and_keeps_what_it_has(journal: MemoryJournal, write: str) -> None:
    journal.fail = True
    with pytest.raises(JournalError):
        WRITES[write](journal)
    assert (journal.entries(), journal.dead_letters) == ([ENTRY], {})
    journal.fail = False
    WRITES[write](journal)
    assert journal.entries() != [ENTRY]


def test_what_is_buried_is_a_letter_with_its_reason(journal: MemoryJournal) -> None:
    journal.dead_letter("t", "nobody takes it")
    assert (journal.entries(), journal.dead_letters) == ([], {"t": "nobody takes it"})


def test_it_outlives_its_worker(journal: MemoryJournal) -> None:
    journal.close()
    journal.close()
    journal.started("t")
    assert [entry.started for entry in journal.entries()] == [True]


def test_what_was_handed_out_does_not_change_any_more(journal: MemoryJournal) -> None:
    before = journal.entries()
    journal.forget("t")
    assert before == [ENTRY]
