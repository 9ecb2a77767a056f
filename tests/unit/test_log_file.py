"""The log file while others move, empty and remove it."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.observability import log_file
from adapters.observability.logs import set_up
from adapters.observability.redact import Redactor
from tests.support.rights import overrides_modes

log = logging.getLogger("worker")


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    yield io.StringIO()
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    log.propagate = True
    log.setLevel(logging.NOTSET)


@pytest.fixture
def file(tmp_path: Path, out: io.StringIO) -> Path:
    file = tmp_path / "logs" / "worker.log"
    set_up(Redactor(), "INFO", "json", file, (1, 2), stream=out)
    log.info("first")
    return file


def messages(text: str) -> list[str]:
    return [json.loads(line)["message"] for line in text.splitlines()]


def written(file: Path) -> list[str]:
    return messages(file.read_text())


def test_a_file_that_was_moved_is_not_written_on(file: Path) -> None:
    file.rename(file.with_suffix(".1"))
    log.info("second")
    log.info("third")
    assert written(file.with_suffix(".1")) == ["first"]
    assert written(file) == ["second", "third"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_made_anew_in_its_place_is_written(file: Path) -> None:
    file.rename(file.with_suffix(".1"))
    file.touch(mode=0o644)
    log.info("second")
    assert written(file) == ["second"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_copied_and_emptied_is_written_from_its_start(file: Path) -> None:
    shutil.copy(file, file.with_suffix(".1"))
    os.truncate(file, 0)
    log.info("second")
    assert written(file) == ["second"]  # and no hole before it


def test_a_file_that_was_removed_comes_back(file: Path) -> None:
    file.unlink()
    log.info("second")
    assert written(file) == ["second"]


def test_a_directory_that_was_removed_comes_back(file: Path) -> None:
    shutil.rmtree(file.parent)
    log.info("second")
    assert written(file) == ["second"]


def test_a_link_that_was_turned_elsewhere_is_followed(tmp_path: Path, out: io.StringIO) -> None:
    link = tmp_path / "current.log"
    for name in ("a.log", "b.log"):
        (tmp_path / name).touch()
    link.symlink_to("a.log")
    set_up(Redactor(), "INFO", "json", link, stream=out)
    log.info("first")
    link.unlink()
    link.symlink_to("b.log")
    log.info("second")
    assert (written(tmp_path / "a.log"), written(tmp_path / "b.log")) == (["first"], ["second"])


def test_a_place_that_cannot_be_written_any_more_is_told_once_and_taken_again_later(
    file: Path, out: io.StringIO, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    file.parent.rename(moved)
    file.parent.touch()  # no directory can be made there
    for text in ("second", "third"):
        log.info(text)
    complaint = [text for text in messages(out.getvalue()) if "cannot be written" in text]
    assert len(complaint) == 1
    assert str(file) in complaint[0]
    assert written(moved / file.name) == ["first", *complaint, "second", "third"]
    file.parent.unlink()
    log.info("fourth")
    assert written(file) == ["fourth"]


@pytest.mark.skipif(overrides_modes(), reason="the modes of files mean nothing to this user")
def test_a_directory_that_may_not_be_looked_into_is_told_and_nothing_is_lost(file: Path, out: io.StringIO) -> None:
    file.parent.chmod(0)
    log.info("second")
    file.parent.chmod(0o700)
    assert "second" in written(file)
    assert [text for text in messages(out.getvalue()) if "Permission denied" in text]


def test_a_file_rotates_by_size_after_somebody_else_has_moved_it(file: Path) -> None:
    file.rename(file.with_suffix(".moved"))
    for _ in range(5):
        log.info("x" * 300_000)
    assert len(written(file.with_suffix(".log.1"))) == 3
    assert len(written(file)) == 2


def test_a_rotation_that_fails_is_told_once_and_costs_no_line(
    file: Path, out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(Redactor(), "INFO", "json", file, (1, 1), stream=out)
    in_the_way = file.with_suffix(".log.1")
    in_the_way.mkdir()
    for number in range(6):
        log.info("%d %s", number, "x" * 300_000)
    assert [text[0] for text in written(file) if text.endswith("x")] == list("012345")
    assert len([text for text in messages(out.getvalue()) if "cannot be written" in text]) == 1
    in_the_way.rmdir()
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + log_file.QUIET)
    log.info("last")
    assert written(file) == ["last"]
    assert len(written(in_the_way)) >= 6
