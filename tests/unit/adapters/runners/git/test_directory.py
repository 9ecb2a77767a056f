"""The directory of a working copy."""

from __future__ import annotations

import os
from pathlib import Path

from adapters.process.supervisor import Supervisor
from adapters.runners.git.directory import alone
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
