"""What tasks keep in the directory for temporary files: nobody plants it, and a crash leaves nothing of it (G79)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.process import temporary_files as private
from adapters.testkit.apiserver import SimulatedServer
from tests.support.program import Program, Start, wait_until


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer() as running:
        yield running


def test_a_worker_that_was_killed_leaves_no_script_behind(server: SimulatedServer, tmp_path: Path) -> None:
    place = tmp_path / "t"
    place.mkdir()
    how = Start(environment={"TMPDIR": str(place)})
    with Program(server, tmp_path, how, worker={"name": "w", "tasks": ["script"]}) as program:
        code = {"language": "sh", "type": "inline", "code": "echo READY; sleep 300"}
        task = server.add_task(category="script", args=json.dumps(code))
        server.offer(task)
        wait_until(lambda: "READY" in server.log(task), program.log.read_text)
        left = os.listdir(place)
        (place / "cronjob-other-script-x").mkdir()
        program.crash_worker()
        wait_until(lambda: os.listdir(place) == ["cronjob-other-script-x"], lambda: str(os.listdir(place)))
    assert ["-script-" in name for name in left] == [True]


def test_only_what_is_ones_own_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").touch()
    mine = private.prefix_of("me")
    (tmp_path / f"{mine}git-1").mkdir()
    (tmp_path / f"{mine}git-1" / "key").touch()
    (tmp_path / f"{mine}git-1" / "link").symlink_to(canary)
    (tmp_path / f"{mine}env-2").touch()
    (tmp_path / f"{mine}link").symlink_to(canary)
    (tmp_path / f"{private.prefix_of('other')}git-3").mkdir()
    private.sweep(mine)
    assert sorted(os.listdir(tmp_path)) == ["canary", "cronjob-other-git-3"]
    assert os.listdir(canary) == ["file"]


def test_what_another_user_planted_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"{private.prefix_of('me')}git-1").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    private.sweep(private.prefix_of("me"))
    assert os.listdir(tmp_path) == ["cronjob-me-git-1"]
