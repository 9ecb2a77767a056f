"""The journal in a file: what is its own beside the contract of all journals."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from adapters.journal import sqlite as module
from adapters.journal.sqlite import VERSION, SqliteJournal
from application.ports import Entry, Report, Verb
from domain.errors import ConfigError, JournalError
from domain.status import Status

ENTRY = Entry("t", "accepted")
Open = Callable[[], SqliteJournal]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def start(path: Path) -> Iterator[Open]:
    """Opens the journal; what was open before is closed."""
    made: list[SqliteJournal] = []

    def begin() -> SqliteJournal:
        for former in made:
            former.close()
        made.append(SqliteJournal(path))
        return made[-1]

    yield begin
    for journal in made:
        journal.close()


def test_what_was_acknowledged_is_there_after_a_restart(start: Open) -> None:
    report = Report("t", Verb.ENDED, Status.SUCCESS, output="{}")
    journal = start()
    journal.accept(ENTRY)
    journal.running("t", 5, 77, "boot")
    journal.finish("t", report, 1.5)
    assert start().entries() == [
        Entry("t", "finished", pid=5, pid_start=77, boot_id="boot", report=report, finished_at=1.5)
    ]


def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(start: Open, path: Path) -> None:
    start().close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version={VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=f"newer version of this program .format {VERSION + 1}"):
        start()
    assert path.read_bytes() == before


def test_a_link_in_the_place_of_the_journal_is_not_followed(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")
    with pytest.raises(JournalError, match=f"the journal {path} cannot be opened"):
        SqliteJournal(path)
    assert not (path.parent / "elsewhere").exists()


def test_the_letters_that_nobody_took_are_kept_with_their_reason(start: Open, path: Path) -> None:
    journal = start()
    journal.accept(ENTRY)
    journal.dead_letter("t", "nobody takes it")
    journal.dead_letter("u", "never heard of")
    assert journal.entries() == []
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT task_id, why FROM dead_letters ORDER BY task_id").fetchall()
    assert rows == [("t", "nobody takes it"), ("u", "never heard of")]


def test_text_that_cannot_be_stored_is_an_error_and_costs_no_other_entry(start: Open) -> None:
    journal = start()
    journal.accept(ENTRY)
    with pytest.raises(JournalError, match="cannot be written"):
        journal.accept(Entry("\ud800", "accepted"))
    assert journal.entries() == [ENTRY]
    journal.started("t")
    assert [entry.started for entry in start().entries()] == [True]


def test_a_full_disk_changes_nothing_and_the_file_is_used_again(start: Open, path: Path, mocker: MockerFixture) -> None:
    journal = start()
    journal.accept(ENTRY)
    rebuild = mocker.spy(SqliteJournal, "_rebuild")
    full = sqlite3.OperationalError("database or disk is full")
    encode = mocker.patch.object(module, "encode_entry", side_effect=full)
    with pytest.raises(JournalError, match="disk is full"):
        journal.accept(Entry("u", "accepted"))
    mocker.stop(encode)
    assert journal.entries() == [ENTRY]
    journal.accept(Entry("u", "accepted"))
    assert len(start().entries()) == 2
    rebuild.assert_not_called()


def test_callers_that_arrive_together_share_a_commit(start: Open) -> None:
    journal = start()
    commits: list[str] = []
    with journal._db_guard:
        assert journal._db is not None
        journal._db.set_trace_callback(commits.append)
        threads = [threading.Thread(target=journal.accept, args=(Entry(f"t{n}", "accepted"),)) for n in range(8)]
        for thread in threads:
            thread.start()
        waiting = threading.Event()
        while len(journal._queue) < 8:
            waiting.wait(0.001)
    for thread in threads:
        thread.join()
    assert sum(text.startswith("BEGIN") for text in commits) == 1
    assert len(journal.entries()) == 8


@pytest.mark.parametrize(("every", "grows"), [(10, False), (1000, True)])
def test_the_write_ahead_log_is_copied_into_the_file_in_time(
    start: Open, path: Path, mocker: MockerFixture, every: int, grows: bool
) -> None:
    mocker.patch.object(module, "CHECKPOINT", every)
    journal = start()
    for number in range(60):
        journal.accept(Entry("t", "accepted", name=str(number)))
    pages = path.with_name(path.name + "-wal").stat().st_size // 4096
    assert (pages > 30) is grows, pages


def test_close_may_come_twice_and_the_file_is_private(start: Open, path: Path) -> None:  # G66
    journal = start()
    journal.accept(ENTRY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    journal.close()
    journal.close()
    assert not path.with_name(path.name + "-wal").exists()
