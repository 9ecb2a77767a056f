"""One task's log on disk."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from adapters.spool.task_log import TAIL, TaskLog

MUCH = 1 << 30


class Upper:
    """A filter that holds the last byte back."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        whole = self._rest + data
        self._rest = whole[-1:]
        return whole[:-1].upper()

    def flush(self) -> bytes:
        return self._rest.upper()


def begun(directory: Path) -> TaskLog:
    log = TaskLog(directory, "t")
    log.begin(None)
    return log


def test_a_log_that_was_never_begun_is_finished_and_empty(tmp_path: Path) -> None:
    log = TaskLog(tmp_path, "t")
    assert (log.finished, log.drained, log.size, log.peek(10), log.text()) == (True, True, 0, b"", b"")
    assert list(tmp_path.iterdir()) == []


def test_its_files_are_private_and_go_with_it(tmp_path: Path) -> None:  # G66
    log = begun(tmp_path)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "t.log": 0o600,
        "t.pos": 0o600,
    }
    log.remove()
    log.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_place_of_a_log_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / "t.log").symlink_to(tmp_path / "target")
    log = TaskLog(tmp_path, "t")
    with pytest.raises(OSError, match="symbolic links"):
        log.begin(None)
    assert (tmp_path / "target").read_text() == "kept"


def test_what_the_filter_holds_back_comes_at_the_end(tmp_path: Path) -> None:
    log = TaskLog(tmp_path, "t")
    log.begin(Upper)
    log.write(b"abc", MUCH)
    assert log.text() == b"AB"
    log.finish()
    assert log.text() == b"ABC"


@pytest.mark.parametrize(
    ("positions", "offset", "inherited"),
    [
        ('{"offset": 3, "mark": "m", "unsettled": false}', 3, True),  # more may have been told than was known
        ('{"offset": 5, "mark": "m", "unsettled": false}', 5, False),
        ('{"offset": 5, "mark": "m", "unsettled": true}', 5, True),
        ('{"offset": 5, "mark": "m"}', 5, True),
        ('{"offset": 6, "mark": "m", "unsettled": false}', 0, True),
        ('{"offset": -1, "mark": "m", "unsettled": false}', 0, True),
        ('{"offset": "5", "mark": "m", "unsettled": false}', 0, True),
        ('{"offset": 5, "mark": 1, "unsettled": false}', 0, True),
        ("[]", 0, True),
        ("\x00", 0, True),
        (None, 0, True),
    ],
)
def test_a_position_is_believed_only_where_it_can_be_right(
    tmp_path: Path, positions: str | None, offset: int, inherited: bool
) -> None:
    (tmp_path / "t.log").write_bytes(b"01234")
    if positions is not None:
        (tmp_path / "t.pos").write_text(positions)
    log = TaskLog(tmp_path, "t")
    assert (log.offset, log.inherited, log.size) == (offset, inherited, 5)


def test_a_position_is_kept_over_a_restart(tmp_path: Path) -> None:
    log = begun(tmp_path)
    log.write(b"text", MUCH)
    log.finish()
    log.offset, log.mark = 4, "m" * 60
    log.save()
    log.offset, log.mark = 4, "m"
    log.save()
    again = TaskLog(tmp_path, "t")
    assert (again.offset, again.mark, again.drained) == (4, "m", True)
    assert json.loads((tmp_path / "t.pos").read_text())["mark"] == "m"


def test_past_the_limit_the_end_is_kept_behind_a_word_on_what_is_missing(tmp_path: Path) -> None:  # G43
    log = begun(tmp_path)
    log.write("a\u20ac".encode(), 2)
    assert log.text() == b"a", "no character is cut"
    log.write(b"b" * TAIL + b"end", 2)
    log.finish()
    assert log.text() == b"a\n[... 6 bytes of output left out ...]\n" + b"b" * (TAIL - 3) + b"end"


def test_a_full_disk_costs_output_and_is_told_at_the_end(
    tmp_path: Path, mocker: MockerFixture, caplog: pytest.LogCaptureFixture
) -> None:
    log = begun(tmp_path)
    log.write(b"before ", MUCH)
    write = mocker.patch("os.write", side_effect=OSError(errno.ENOSPC, "No space left on device"))
    with caplog.at_level("ERROR", "worker.spool"):
        log.write(b"lost", MUCH)
        assert caplog.text.count("No space left") == 1
        log.write(b"lost", MUCH)
    assert caplog.text.count("No space left") == 1
    mocker.stop(write)
    log.finish()
    assert log.text() == b"before \n[... 8 bytes of output left out ...]\n"


def test_a_file_that_somebody_has_removed_is_told_as_lost(tmp_path: Path) -> None:
    log = begun(tmp_path)
    log.write(b"text", MUCH)
    log.finish()
    os.unlink(tmp_path / "t.log")
    assert log.peek(10) == b""
    assert log.lost
    assert log.text() == b""


@pytest.mark.parametrize(("base", "mark"), [("12", "12"), ("null", "")])
@pytest.mark.parametrize("doubtful", ["true", "false"])
def test_a_position_that_was_kept_before_logs_had_marks_is_read(
    tmp_path: Path, base: str, mark: str, doubtful: str
) -> None:
    (tmp_path / "t.log").write_text("line 1\nline 2\n")
    (tmp_path / "t.pos").write_text(f'{{"offset": 14, "base": {base}, "doubtful": {doubtful}}}')
    log = TaskLog(tmp_path, "t")
    assert (log.offset, log.mark, log.unsettled) == (14, mark, doubtful == "true")
