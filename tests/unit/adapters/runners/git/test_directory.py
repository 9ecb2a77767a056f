"""The directory of a working copy."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from adapters.process.supervisor import Supervisor
from adapters.runners.git.directory import GitFailed, alone, empty, replaced
from domain.status import Status
from tests.support.git_peers import Origin
from tests.support.git_runs import ran


def test_two_tasks_never_work_in_one_directory(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    ran(processes, tmp_path / "d", url=origin.url)
    lock = tmp_path / "d" / ".git" / "index.lock"
    lock.touch()
    with alone(tmp_path / "d"):
        second = ran(processes, tmp_path / "d", url=origin.url)
    assert (second.status, lock.exists()) == (Status.FAILED, True)
    assert "another task works there" in second.error


def test_a_clean_that_fails_leaves_everything_as_it_was(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    """GIT3"""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine").write_text("precious")
    result = ran(processes, tmp_path / "d", url=origin.url + "x", clean=True)
    assert result.status is Status.FAILED
    assert sorted(os.listdir(tmp_path)) == ["d", "origin"]
    assert (tmp_path / "d" / "mine").read_text() == "precious"


def test_a_clean_that_was_killed_leaves_nothing_for_ever(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    place = tmp_path / "place"
    (place / ".d.new-abcd1234" / "x").mkdir(parents=True)
    (place / ".d.old-abcd1234").mkdir()
    (place / ".e.new-abcd1234").mkdir()
    assert ran(processes, place / "d", url=origin.url, clean=True).status is Status.SUCCESS
    assert sorted(os.listdir(place)) == [".e.new-abcd1234", "d"]


def test_a_clean_replaces_the_whole_directory(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old").write_text("old")
    assert ran(processes, tmp_path / "d", url=origin.url, clean=True).error == ""
    assert sorted(os.listdir(tmp_path / "d")) == [".git", "a.txt"]
    assert sorted(os.listdir(tmp_path)) == ["d", "origin"]


def test_a_directory_is_one_tasks_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path) as known:
        assert known
        with pytest.raises(GitFailed, match="another task works there"), alone(tmp_path):
            raise AssertionError("two at once")
    with alone(tmp_path):
        pass


def test_a_file_system_without_locks_stops_no_task(tmp_path: Path, mocker: MockerFixture) -> None:
    mocker.patch("fcntl.flock", side_effect=OSError(38, "Function not implemented"))
    with alone(tmp_path) as known:
        assert not known


def test_a_directory_is_emptied_but_not_what_its_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "x").touch()
    (tmp_path / "d" / "inner").mkdir(parents=True)
    (tmp_path / "d" / "file").touch()
    (tmp_path / "d" / "link").symlink_to(tmp_path / "kept")
    empty(tmp_path / "d")
    assert (os.listdir(tmp_path / "d"), os.listdir(tmp_path / "kept")) == ([], ["x"])


def test_a_replacement_that_fails_leaves_the_old_one_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old").touch()
    with contextlib.suppress(RuntimeError), replaced(tmp_path / "d") as beside:
        (beside / "new").touch()
        raise RuntimeError
    assert (os.listdir(tmp_path), os.listdir(tmp_path / "d")) == (["d"], ["old"])


def test_a_replacement_that_cannot_be_put_in_place_puts_the_old_one_back(tmp_path: Path, mocker: MockerFixture) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old").touch()
    plain = os.rename

    def rename(source: Path, target: Path) -> None:
        if ".new-" in Path(source).name:
            raise OSError(1, "Operation not permitted")
        plain(source, target)

    mocker.patch("os.rename", side_effect=rename)
    with pytest.raises(GitFailed, match="Operation not permitted"), replaced(tmp_path / "d"):
        pass
    assert (os.listdir(tmp_path), os.listdir(tmp_path / "d")) == (["d"], ["old"])
