"""The real program is killed at every call of a container's life; its next life removes what is left (G77)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.testkit.apiserver import SimulatedServer
from adapters.testkit.dockerapi import Box, FakeDocker
from adapters.testkit.program import Program

pytest.importorskip("docker", reason="the extra `docker` is missing: make setup")

# What a killed worker leaves half open in the server is closed by the garbage collector of its event loop.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# Where the engine keeps the worker waiting when it is killed: (not carried out, carried out but never answered).
CALLS = [
    ("GET version", ""), ("GET images/*/json", ""), ("POST images/create", ""), ("POST containers/create", ""),
    ("", "POST containers/create"), ("POST containers/*/start", ""), ("", "POST containers/*/start"),
    ("GET containers/*/logs", ""), ("POST containers/*/wait", ""), ("GET containers/*/json", ""),
    ("DELETE containers/*", ""), ("", "DELETE containers/*"),
]  # fmt: skip
FOREIGN = {"cronjob-worker.worker": "another", "cronjob-worker.life": "x", "cronjob-worker.bound": "true"}


def until(what: Callable[[], object], of: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, of
        threading.Event().wait(0.02)


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[list[FakeDocker]]:
    """One engine for each call, so that one death is met at all of them."""
    with contextlib.ExitStack() as stack:
        made = []
        for number, (silent, lost) in enumerate(CALLS):
            directory = tmp_path / f"e{number}"
            directory.mkdir()
            engine = stack.enter_context(FakeDocker(directory))
            engine.silent |= {silent} - {""}
            engine.lost |= {lost} - {""}
            if silent == "POST images/create":
                engine.images.clear()
            engine.boxes["other"] = Box("other", "of another worker", {"Image": "x", "Labels": FOREIGN})
            made.append(engine)
        yield made


@pytest.mark.parametrize("dies", ["the worker", "the worker and its guardian"])
def test_no_container_outlives_a_worker_that_is_killed_at_any_call(
    engines: list[FakeDocker], tmp_path: Path, dies: str
) -> None:  # G77
    directory = tmp_path / "w"
    directory.mkdir()
    with SimulatedServer() as server, Program(server, directory) as program:
        tasks = []
        for (silent, _), engine in zip(CALLS, engines, strict=True):
            word = "true" if silent.endswith(("wait", "*/json")) or "DELETE" in silent + _ else "sleep 60"
            args = {"action": "run", "image": "busybox", "command": word.split(), "detach": False, "remove": True}
            tasks.append(server.add_task(category="container", args=json.dumps(args | {"socket": engine.socket})))
        living = {"action": "run", "image": "busybox", "command": ["sleep", "60"], "name": "lives"}
        detached = server.add_task(category="container", args=json.dumps(living | {"socket": engines[-1].socket}))
        engines[-1].lost.clear()
        server.offer(detached)
        server.wait_for(detached, "success")
        engines[-1].lost.add(CALLS[-1][1])
        server.offer(*tasks)
        for engine, call in zip(engines, CALLS, strict=True):
            until(engine.asked.is_set, f"the worker waits for {call}")
        assert sum(len(engine.boxes) for engine in engines) > len(engines) + 5
        if dies == "the worker":
            victim = program.worker()
            os.kill(victim, signal.SIGKILL)
            until(lambda: program.worker() != victim, "the guardian starts the next life")
        else:
            for pid in (program.process.pid, program.worker()):
                os.kill(pid, signal.SIGKILL)
            program.process.wait()
        for engine in engines:
            engine.silent.clear()
            engine.lost.clear()
        if dies != "the worker":
            program.start()
        for engine, call in zip(engines, CALLS, strict=True):
            kept = ["of another worker", "lives"] if engine is engines[-1] else ["of another worker"]
            until(lambda: [box.name for box in engine.boxes.values()] == kept, f"{call}: nothing else is left")  # noqa: B023
        for task in tasks:
            assert server.wait_for(task, "error")["status"] == "error"
        log = [json.loads(line) for line in program.log.read_text().splitlines()]
        assert sum("left by a former life" in line["message"] for line in log) >= 6
