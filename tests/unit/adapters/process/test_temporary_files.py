"""Temporary files of tasks that a crash has left."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from adapters.process.temporary_files import ANYBODY, prefix_of, sweep


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_files_and_directories_of_the_owner_go_and_others_stay(place: Path) -> None:
    mine, other = prefix_of("me"), prefix_of("you")
    (place / f"{mine}key").write_text("secret")
    (place / f"{mine}directory" / "below").mkdir(parents=True)
    (place / f"{mine}directory" / "below" / "file").write_text("x")
    (place / f"{other}key").write_text("kept")
    sweep(mine)
    assert [path.name for path in place.iterdir()] == [f"{other}key"]


def test_a_link_goes_and_what_it_leads_to_stays(place: Path) -> None:
    target = place / "target"
    target.mkdir()
    (target / "file").write_text("kept")
    (place / f"{prefix_of('me')}link").symlink_to(target)
    sweep(prefix_of("me"))
    assert [path.name for path in place.iterdir()] == ["target"]
    assert (target / "file").read_text() == "kept"


def test_what_another_user_has_planted_stays(place: Path, mocker: MockerFixture) -> None:
    (place / f"{prefix_of('me')}key").write_text("x")
    mocker.patch("os.getuid", return_value=os.getuid() + 1)
    sweep(prefix_of("me"))
    assert len(list(place.iterdir())) == 1


def test_a_directory_that_is_not_there_is_nothing_to_sweep(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "gone"))
    sweep(prefix_of("me"))


def test_the_names_of_one_owner_begin_no_other_s() -> None:
    assert prefix_of("me").startswith(ANYBODY)
    assert not prefix_of("me2").startswith(prefix_of("me"))
