"""What is removed that the previous run of the worker left (G77)."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from adapters.process.supervisor import Supervisor
from adapters.runners.container import OrphanContainers, Owner
from adapters.runners.container.owner import BOUND
from adapters.runners.container.request import Engine
from tests.support.containers import cleaned, names
from tests.support.dockerapi import Box, FakeDocker


def test_what_an_engine_makes_after_the_crash_is_removed_too(engine: FakeDocker, tmp_path: Path) -> None:
    """G77: the engine may carry out what was asked of it when the one who asked is dead."""
    former = Owner("w1", tmp_path / "w1")
    former.note(Engine(socket=engine.socket))
    leftovers = OrphanContainers(Owner("w1", tmp_path / "w1"), pauses=(0.0, 0.3))
    leftovers.start()
    while not any(path == "containers/json" for _, path, _, _ in engine.requests):
        threading.Event().wait(0.005)
    engine.boxes["x"] = Box("x", "late", {"Image": "busybox", "Labels": former.labels | {BOUND: "true"}})
    assert leftovers._thread is not None
    leftovers._thread.join(5)
    assert names(engine) == []


def test_an_engine_that_does_not_answer_keeps_its_place_for_the_next_start(
    engine: FakeDocker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """G77: and neither the start nor the end waits for it."""
    former = Owner("w1", tmp_path / "w1")
    former.note(Engine(socket=engine.socket))
    former.note(Engine(socket=str(tmp_path / "nobody.sock")))
    former.note(Engine(runtime="containerd"))
    engine.silent.add("containers/json")
    now = Owner("w1", tmp_path / "w1")
    leftovers = OrphanContainers(now, pauses=(0.0, 60.0))
    started = time.monotonic()
    leftovers.start()
    assert time.monotonic() - started < 0.5
    assert engine.asked.wait(5)
    leftovers.close()
    assert time.monotonic() - started < 3
    assert len(now.engines()) == 3
    engine.silent.clear()
    with caplog.at_level("INFO", "worker"):
        cleaned(now)
    assert {engine.socket or engine.runtime for engine in now.engines()} == {
        str(tmp_path / "nobody.sock"),
        "containerd",
    }
    assert "the next start tries anew" in caplog.text


def test_the_next_start_removes_what_a_crash_left_on_containerd(
    nerdctl: tuple[dict[str, str], Path], tmp_path: Path
) -> None:
    """G77"""
    Owner("w1", tmp_path / "w1").note(Engine(runtime="containerd", namespace="n"))
    now, processes = Owner("w1", tmp_path / "w1"), Supervisor()
    try:
        cleaned(now, run=processes.run, environment=lambda: nerdctl[0])
    finally:
        processes.close()
    calls = [text.split() for text in nerdctl[1].read_text().split("--\n")]
    removed = [words[2:] for words in calls if "rm" in words]
    assert removed[:2] == [["rm", "--force", "--volumes", "a"], ["rm", "--volumes", "c"]]
    assert now.engines() == []
