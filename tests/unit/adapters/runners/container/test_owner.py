"""Whose a container is, and which engines the next start of the worker has to ask (G77)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapters.runners.container import owner as module
from adapters.runners.container.owner import LIFE, WORKER, Owner
from adapters.runners.container.request import Engine

HERE, THERE = Engine(socket="/run/a.sock"), Engine(host="there:2376", tls=True, tls_cred="c1")


def test_a_container_tells_its_worker_and_which_run_of_it() -> None:
    first, second = Owner("w1"), Owner("w1")
    assert first.labels[WORKER] == second.labels[WORKER] == "w1"
    assert first.labels[LIFE] != second.labels[LIFE]


def test_engines_are_known_to_the_next_start_the_latest_first(tmp_path: Path) -> None:
    former = Owner("w1", tmp_path / "engines")
    for at, engine in enumerate((HERE, THERE)):
        former.note(engine)
        for path in (tmp_path / "engines").iterdir():
            if path.stat().st_mtime > 1000:
                os.utime(path, (at, at))
    assert Owner("w1", tmp_path / "engines").engines() == [THERE, HERE]
    assert (tmp_path / "engines").stat().st_mode & 0o777 == 0o700


def test_an_engine_that_is_clean_is_forgotten_unless_it_was_used_again(tmp_path: Path) -> None:
    former, now = Owner("w1", tmp_path), Owner("w1", tmp_path)
    former.note(HERE)
    former.note(THERE)
    now.note(HERE)
    now.forget(HERE)
    now.forget(THERE)
    now.forget(THERE)
    assert now.engines() == [HERE]


def test_what_cannot_be_read_hides_no_other_engine(tmp_path: Path) -> None:
    Owner("w1", tmp_path).note(HERE)
    (tmp_path / "cut.json").write_text('{"runtime": "do')
    (tmp_path / "newer.json").write_text('{"runtime": "docker", "colour": "red"}')
    (tmp_path / "list.json").write_text("[]")
    assert Owner("w1", tmp_path).engines() == [HERE]


def test_only_so_many_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    owner = Owner("w1", tmp_path)
    for number in range(5):
        owner.note(Engine(socket=str(number)))
    assert len(owner.engines()) == 3
    assert len(list(tmp_path.iterdir())) == 3


def test_a_directory_that_cannot_be_had_is_told_and_stops_no_task(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    owner = Owner("w1", tmp_path / "file" / "below")
    owner.note(HERE)
    assert "a container that a crash leaves may stay" in caplog.text
    assert owner.engines() == []


def test_without_a_directory_nothing_is_remembered() -> None:
    owner = Owner("w1")
    owner.note(HERE)
    owner.forget(HERE)
    assert owner.engines() == []
