"""The spool on disk: what is its own beside the contract of all spools."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from adapters.spool import file as module
from adapters.spool.file import FileSpool
from adapters.spool.task_log import TaskLog
from domain.errors import JournalError

Open = Callable[[], FileSpool]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Open]:
    """A start of the worker; the one before has crashed."""
    made: list[FileSpool] = []

    def begin() -> FileSpool:
        for former in made:
            former.close()
        made.append(FileSpool(tmp_path / "state" / "logs", limit=1000, quota=20))
        return made[-1]

    yield begin
    made[-1].close()


def test_the_directory_is_made_private(start: Open, tmp_path: Path) -> None:  # G66
    start()
    assert stat.S_IMODE((tmp_path / "state" / "logs").stat().st_mode) == 0o700


def test_a_directory_that_cannot_be_had_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=f"logs cannot be kept in {tmp_path}/file/logs: Not a directory"):
        FileSpool(tmp_path / "file" / "logs", 1000, 1000)


def test_what_was_delivered_gives_its_room_to_others(start: Open) -> None:
    spool = start()
    for task in ("a", "b"):
        spool.open(task)
        spool.write(task, b"0123456789abcdef")
        spool.finish(task)
    full = spool.peek("b", 100).data
    assert full.startswith(b"0123"), "four bytes of the quota were left for its head"
    spool.discard("a")
    spool.discard("b")
    spool.open("c")
    spool.write("c", b"0123456789abcdef")
    spool.finish("c")
    assert spool.peek("c", 100).data == b"0123456789abcdef"


def test_a_mark_and_the_whole_text_outlive_a_crash(start: Open) -> None:
    spool = start()
    spool.open("t")
    spool.write("t", b"text")
    spool.peek("t", 2).history.remember("mark")
    spool.advance("t", 2, settled=True)
    history = start().peek("t", 10).history
    assert (history.mark(), history.inherited(), history.text()) == ("mark", True, b"text")


def test_a_log_of_which_nothing_is_known_has_no_history(start: Open) -> None:
    history = start().peek("t", 10).history
    history.remember("mark")
    assert (history.mark(), history.inherited(), history.text()) == ("", False, b"")


def test_a_log_of_which_all_was_told_goes_with_its_settlement_and_not_before(start: Open, tmp_path: Path) -> None:
    spool = start()
    spool.open("t")
    spool.write("t", b"text")
    spool.advance("t", 4, settled=True)
    assert not spool.drained("t"), "its task still runs"
    spool.finish("t")
    spool.advance("t", 4, settled=False)
    assert (spool.pending(), spool.drained("t")) == (["t"], False)
    spool.advance("t", 4, settled=True)
    assert (spool.pending(), spool.drained("t"), os.listdir(tmp_path / "state" / "logs")) == ([], True, [])


def test_what_cannot_be_looked_at_of_a_former_run_costs_that_log_only(
    start: Open, mocker: MockerFixture, caplog: pytest.LogCaptureFixture
) -> None:
    spool = start()
    for task in ("t", "u"):
        spool.open(task)
        spool.write(task, b"text")

    def look(directory: Path, task_id: str) -> TaskLog:
        if task_id == "u":
            raise OSError(errno.EIO, "Input/output error")
        return TaskLog(directory, task_id)

    mocker.patch.object(module, "TaskLog", look)
    with caplog.at_level("ERROR", "worker.spool"):
        assert start().pending() == ["t"]
    assert "cannot be used: [Errno 5] Input/output error" in caplog.text


def test_output_after_the_end_and_of_unknown_tasks_is_dropped(start: Open) -> None:
    spool = start()
    spool.write("t", b"early")
    spool.open("t")
    spool.write("t", b"text")
    spool.finish("t")
    spool.write("t", b"late")
    assert spool.peek("t", 100).data == b"text"
