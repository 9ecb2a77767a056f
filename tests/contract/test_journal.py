"""What every journal promises, on each of them."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from adapters.journal.memory import MemoryJournal
from adapters.journal.replacement import begin_swap
from adapters.journal.sqlite import SqliteJournal
from application.ports import Entry, Journal, Report
from domain.errors import JournalError
from domain.status import Status

sqlite3_connect = sqlite3.connect

ENTRY = Entry("t1", "accepted", "nightly", "command", "lock", save_log=True)
REPORT = Report("t1", Status.FAILED, '{"exit_code":3}', "log", "exit status 3", 12, 3, "2026-11-24 03:00:00")


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    made: Journal = MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal.sqlite")
    yield made
    made.close()


def test_a_swap_that_cannot_begin_takes_nothing_away(tmp_path: Path) -> None:  # G1, G8
    """What the WAL holds is in no other file until the new journal has a name."""
    path, wal = tmp_path / "journal.sqlite", tmp_path / "journal.sqlite-wal"
    wal.write_bytes(b"records")
    with pytest.raises(OSError, match="fresh"):
        begin_swap(tmp_path / "fresh", path)
    assert wal.read_bytes() == b"records"


def test_an_entry_walks_from_accepted_to_finished(journal: Journal) -> None:
    journal.accept(ENTRY)
    journal.started("t1")
    journal.running("t1", 4711, 99, "boot")
    journal.finish("t1", REPORT, 5.0)
    (entry,) = journal.entries()
    assert (entry.phase, entry.started, entry.pid, entry.report, entry.lock_value) == (
        "finished",
        True,
        4711,
        REPORT,
        "lock",
    )


def test_a_forgotten_entry_is_gone(journal: Journal) -> None:
    journal.accept(ENTRY)
    journal.forget("t1")
    journal.forget("unknown")
    assert journal.entries() == []


def test_a_buried_entry_is_no_longer_offered(journal: Journal) -> None:
    journal.accept(ENTRY)
    journal.dead_letter("t1", "404")
    assert journal.entries() == []


def test_changes_of_unknown_tasks_are_no_entries(journal: Journal) -> None:
    journal.finish("nobody", REPORT, 1.0)
    journal.started("nobody")
    assert journal.entries() == []


def test_a_late_pid_does_not_undo_the_end(journal: Journal) -> None:
    journal.accept(ENTRY)
    journal.finish("t1", REPORT, 1.0)
    journal.running("t1", 1, 1, "b")
    assert journal.entries()[0].phase == "finished"


def test_many_threads_lose_nothing(journal: Journal) -> None:
    def work(number: int) -> None:
        for step in range(20):
            task_id = f"{number}-{step}"
            journal.accept(Entry(task_id, "accepted"))
            if step % 2:
                journal.forget(task_id)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(journal.entries()) == 80


@pytest.mark.parametrize("spoil", ["none", "late"])
def test_the_file_is_read_again_after_a_restart(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "journal.sqlite"
    first = SqliteJournal(path)
    first.accept(ENTRY)
    first.finish("t1", REPORT, 7.5)
    if spoil == "none":
        first.close()
    second = SqliteJournal(path)  # "late": the previous run did not close
    (entry,) = second.entries()
    assert (entry.report, entry.finished_at) == (REPORT, 7.5)
    second.close()
    first.close()


Spoiler = Callable[[Path], object]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"nonsense" * 1000),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\0" * 4096 + path.read_bytes()[8192:]),
    ],
    ids=["empty", "nonsense", "torn", "zero page"],
)
def test_a_damaged_file_does_not_stop_the_start(tmp_path: Path, spoil: Spoiler) -> None:  # G9
    path = tmp_path / "journal.sqlite"
    first = SqliteJournal(path)
    first.accept(ENTRY)
    first.close()
    spoil(path)
    second = SqliteJournal(path)
    second.accept(Entry("t2", "accepted"))
    assert "t2" in {entry.task_id for entry in second.entries()}
    second.close()


@pytest.mark.parametrize("bad", [b'{"torn', b"null", b"[]", b"\xff", b'00000000 {"task_id":"t1"}'])
def test_one_bad_record_costs_only_itself(tmp_path: Path, bad: bytes) -> None:  # G9
    path = tmp_path / "journal.sqlite"
    first = SqliteJournal(path)
    first.accept(ENTRY)
    first.accept(Entry("t2", "accepted"))
    assert first._db is not None
    first._db.execute("UPDATE entries SET entry = CAST(? AS TEXT) WHERE task_id = 't1'", (bad,))
    first.close()
    second = SqliteJournal(path)
    assert [entry.task_id for entry in second.entries()] == ["t2"]
    assert second._db is not None
    assert second._db.execute("SELECT task_id, why FROM dead_letters").fetchall() == [("t1", "unreadable")]
    second.close()


def test_after_a_failed_sync_the_next_write_goes_to_a_new_file(tmp_path: Path) -> None:  # G8
    path = tmp_path / "journal.sqlite"
    journal = SqliteJournal(path)
    journal.accept(ENTRY)
    inode = path.stat().st_ino
    journal._distrust()  # what a failed commit does
    journal.accept(Entry("t2", "accepted"))
    assert path.stat().st_ino != inode
    journal.close()
    again = SqliteJournal(path)
    assert {entry.task_id for entry in again.entries()} == {"t1", "t2"}
    again.close()


def test_a_flipped_bit_is_not_believed(tmp_path: Path) -> None:  # G9
    path = tmp_path / "journal.sqlite"
    first = SqliteJournal(path)
    first.accept(Entry("t1", "accepted", pid=5))
    assert first._db is not None
    first._db.execute("""UPDATE entries SET entry = replace(entry, '"pid":5', '"pid":4')""")
    first.close()
    second = SqliteJournal(path)
    assert second.entries() == []
    second.close()


def test_what_a_failed_sync_left_is_not_in_the_next_file(tmp_path: Path, mocker: MockerFixture) -> None:  # G8
    class FailsLate(sqlite3.Connection):
        def __exit__(self, *_: object) -> bool:
            self.commit()
            raise sqlite3.OperationalError("disk I/O error")

    path = tmp_path / "journal.sqlite"
    connect = mocker.patch(
        "adapters.journal.sqlite.sqlite3.connect", side_effect=partial(sqlite3.connect, factory=FailsLate)
    )
    journal = SqliteJournal(path)
    with pytest.raises(JournalError):
        journal.accept(ENTRY)
    connect.side_effect = sqlite3_connect
    journal.accept(Entry("t2", "accepted"))
    journal.close()
    again = SqliteJournal(path)
    assert [entry.task_id for entry in again.entries()] == ["t2"]
    again.close()


def test_dead_letters_move_to_the_new_file(tmp_path: Path) -> None:  # G8, G12
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    journal.accept(ENTRY)
    journal.dead_letter("t1", "404")
    journal._distrust()
    journal.accept(Entry("t2", "accepted"))
    assert journal._db is not None
    assert journal._db.execute("SELECT task_id, why FROM dead_letters").fetchall() == [("t1", "404")]
    journal.close()


def test_a_replacement_that_was_cut_short_is_finished_at_the_next_start(tmp_path: Path) -> None:  # G1
    path = tmp_path / "journal.sqlite"
    first = SqliteJournal(path)
    first.accept(ENTRY)
    first._write_whole()
    (tmp_path / "journal.sqlite-wal").unlink()  # and then it was killed
    second = SqliteJournal(path)
    assert [entry.task_id for entry in second.entries()] == ["t1"]
    assert sorted(file.name for file in tmp_path.iterdir() if "-" not in file.name) == ["journal.sqlite"]
    second.close()
    first.close()


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path, mocker: MockerFixture) -> None:  # G9
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"nonsense" * 1000)
    mocker.patch.object(SqliteJournal, "_write_whole", side_effect=OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(JournalError, match="cannot be opened"):
        SqliteJournal(path)
    assert path.read_bytes() == b"nonsense" * 1000


def test_the_file_is_private(tmp_path: Path) -> None:  # G66
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    journal.accept(ENTRY)
    assert {oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()} == {"0o600"}
    journal.close()
