"""What every journal promises: subclass ``JournalContract`` in a test module of yours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from adapters.testkit.promises import LIMIT, kept
from application.ports import Entry, Journal, Report, Verb
from domain.result import EndReason
from domain.status import Status

ENTRY = Entry("t1", "accepted", "nightly caf\u00e9 \u4e2d", "command", "proof", save_log=True)
REPORT = Report(
    "t1", Verb.ENDED, Status.FAILED, EndReason.EXIT_CODE, '{"exit_code":3}', "log \u4e2d", "exit status 3", 12, 3,
    "2026-11-24T02:59:59.000+01:00", "2026-11-24T03:00:00.234+01:00",
)  # fmt: skip
THREADS, STEPS = 8, 20


class JournalContract:
    """``durable`` is False for a journal that ends with its process."""

    durable = True

    @pytest.fixture
    def journal(self) -> Iterator[Journal]:
        """Write this one: an empty journal for each test, closed afterwards."""
        raise NotImplementedError("give the fixture 'journal'")

    def reopen(self, journal: Journal) -> Journal:
        """Open again what ``journal`` wrote, as the next run of a worker does; ``journal`` may not have been closed."""
        raise NotImplementedError("write 'reopen', or say durable = False")

    def test_an_entry_walks_from_accepted_to_finished(self, journal: Journal) -> None:
        journal.accept(ENTRY)
        _holds(journal, ENTRY, "Journal.accept begins an entry")
        journal.started("t1")
        _holds(journal, replace(ENTRY, started=True), "Journal.started tells that a process may exist")
        journal.running("t1", 4711, 99, "boot")
        running = replace(ENTRY, started=True, phase="running", pid=4711, pid_start=99, boot_id="boot")
        _holds(journal, running, "Journal.running keeps the process")
        journal.finish("t1", REPORT, 5.0)
        finished = replace(running, phase="finished", report=REPORT, finished_at=5.0)
        _holds(journal, finished, "Journal.finish keeps the end, with every field of the report")

    def test_each_call_may_be_repeated(self, journal: Journal) -> None:
        for _ in range(2):
            journal.accept(ENTRY)
        for _ in range(2):
            journal.started("t1")
        for _ in range(2):
            journal.finish("t1", REPORT, 5.0)
        wanted = replace(ENTRY, started=True, phase="finished", report=REPORT, finished_at=5.0)
        _holds(journal, wanted, "each call of a Journal may be repeated")
        for _ in range(2):
            journal.forget("t1")
        _holds_nothing(journal, "each call of a Journal may be repeated")

    def test_accepting_a_task_again_replaces_its_entry(self, journal: Journal) -> None:
        journal.accept(ENTRY)
        journal.finish("t1", REPORT, 5.0)
        journal.accept(ENTRY)
        _holds(journal, ENTRY, "Journal.accept replaces the entry of the task")

    def test_a_forgotten_entry_is_gone(self, journal: Journal) -> None:
        journal.accept(ENTRY)
        journal.forget("t1")
        journal.forget("unknown")
        _holds_nothing(journal, "Journal.forget drops the entry")

    def test_a_dead_letter_is_no_entry(self, journal: Journal) -> None:
        journal.accept(ENTRY)
        journal.dead_letter("t1", "404")
        _holds_nothing(journal, "Journal.dead_letter moves the entry to the dead letters")

    def test_changes_of_unknown_tasks_are_no_entries(self, journal: Journal) -> None:
        journal.finish("nobody", REPORT, 1.0)
        journal.started("nobody")
        journal.running("nobody", 1, 1, "boot")
        _holds_nothing(journal, "a Journal leaves a task that is not there alone")

    def test_a_late_pid_does_not_undo_the_end(self, journal: Journal) -> None:
        journal.accept(ENTRY)
        journal.finish("t1", REPORT, 1.0)
        journal.running("t1", 1, 1, "boot")
        wanted = replace(ENTRY, phase="finished", report=REPORT, finished_at=1.0)
        _holds(journal, wanted, "Journal.running does not undo an end")

    def test_many_threads_lose_nothing(self, journal: Journal) -> None:
        errors: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for step in range(STEPS):
                    journal.accept(Entry(f"{number}-{step}", "accepted"))
                    if step % 2:
                        journal.forget(f"{number}-{step}")
            except BaseException as error:  # noqa: BLE001 - told by the test's own thread
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(4 * LIMIT)
        promise = f"any thread may call a Journal, {THREADS} at once"
        kept(not errors, promise, f"it raised {errors}")
        kept(not any(it.is_alive() for it in threads), promise, "some calls did not end")
        left = {entry.task_id for entry in journal.entries()}
        wanted = {f"{number}-{step}" for number in range(THREADS) for step in range(0, STEPS, 2)}
        kept(left == wanted, promise, f"{len(wanted - left)} entries are lost and {len(left - wanted)} too many")

    def test_what_was_written_is_there_after_a_restart(self, journal: Journal) -> None:
        """Also where the run before did not close it."""
        self._needs_disk()
        journal.accept(ENTRY)
        journal.accept(replace(ENTRY, task_id="t2"))
        journal.finish("t1", REPORT, 7.5)
        journal.forget("t2")
        again = self.reopen(journal)
        try:
            wanted = replace(ENTRY, phase="finished", report=REPORT, finished_at=7.5)
            _holds(again, wanted, "what a Journal's call has returned from is there after a restart")
        finally:
            again.close()

    def test_close_may_be_repeated_and_loses_nothing(self, journal: Journal) -> None:
        journal.accept(ENTRY)
        journal.close()
        journal.close()
        if self.durable:
            again = self.reopen(journal)
            try:
                _holds(again, ENTRY, "Journal.close loses nothing")
            finally:
                again.close()

    def _needs_disk(self) -> None:
        if not self.durable:
            pytest.skip("this journal ends with its process: durable is False")


def _holds(journal: Journal, wanted: Entry, promise: str) -> None:
    found = list(journal.entries())
    kept(found == [wanted], promise, f"of {wanted} it holds {found}")


def _holds_nothing(journal: Journal, promise: str) -> None:
    found = list(journal.entries())
    kept(not found, promise, f"it holds {found}")
