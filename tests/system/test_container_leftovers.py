"""The real program is killed at every call of a container's life; its next run removes what is left (G77)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.testkit.apiserver import SimulatedServer
from tests.support.dockerapi import FakeDocker
from tests.support.enginegate import EngineGate
from tests.support.engines import ask
from tests.support.program import Program, wait_until

pytest.importorskip("docker", reason="the extra `docker` is missing: make setup")

# What a killed worker leaves half open in the server is closed by the garbage collector of its event loop.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# Where the engine keeps the worker waiting when it is killed: (not carried out, carried out but never answered).
CALLS = [
    ("GET _ping", ""), ("GET images/*/json", ""), ("POST images/create", ""), ("POST containers/create", ""),
    ("", "POST containers/create"), ("POST containers/*/attach", ""), ("POST containers/*/start", ""), ("", "POST containers/*/start"),
    ("POST containers/*/wait", ""), ("GET containers/*/json", ""),
    ("DELETE containers/*", ""), ("", "DELETE containers/*"),
]  # fmt: skip
FOREIGN = {"cronjob-worker.worker": "another", "cronjob-worker.life": "x", "cronjob-worker.bound": "true"}


@pytest.fixture
def engine(engine_kind: tuple[str, str], tmp_path: Path) -> Iterator[Path]:
    """The socket of an engine; it is empty afterwards."""
    kind, real = engine_kind
    with FakeDocker(tmp_path, podman=kind.endswith("podman")) if not real else contextlib.nullcontext() as fake:
        socket = Path(real or fake.socket)
        yield socket
        for name in boxes(socket):
            ask(socket, "DELETE", f"/v1.41/containers/{name}?force=1&v=1")


def boxes(engine: Path) -> list[str]:
    rows = json.loads(ask(engine, "GET", "/v1.41/containers/json?all=1")[1])
    return sorted(row["Names"][0].lstrip("/") for row in rows)


@pytest.fixture
def gates(engine: Path, tmp_path: Path) -> Iterator[list[EngineGate]]:
    """One way to the engine for each call, so that one death is met at all of them."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(EngineGate(str(engine), tmp_path / f"g{number}")) for number in range(len(CALLS))]
        for gate, (silent, lost) in zip(made, CALLS, strict=True):
            gate.silent |= {silent} - {""}
            gate.lost |= {lost} - {""}
        yield made


def asked_for(call: tuple[str, str]) -> dict[str, object]:
    silent, lost = call
    word = "true" if silent.endswith(("wait", "*/json")) or "DELETE" in silent + lost else "sleep 60"
    image = "not-here" if silent == "POST images/create" else "busybox"
    return {"action": "run", "image": image, "command": word.split(), "detach": False, "remove": True}


@pytest.mark.parametrize("dies", ["the worker", "the worker and its guardian"])
def test_no_container_outlives_a_worker_that_is_killed_at_any_call(
    engine_kind: tuple[str, str], engine: Path, gates: list[EngineGate], tmp_path: Path, dies: str
) -> None:  # G77
    if (engine_kind[0], dies) in (("docker", "the worker and its guardian"), ("podman", "the worker")):
        pytest.skip("each of the two deaths is met by one of the real engines, and by both fakes")
    directory = tmp_path / "w"
    directory.mkdir()
    body = json.dumps({"Image": "busybox", "Cmd": ["true"], "Labels": FOREIGN}).encode()
    assert ask(engine, "POST", "/v1.41/containers/create?name=of-another-worker", body, "json")[0] == 201
    with SimulatedServer() as server, Program(server, directory) as program:
        living = {"action": "run", "image": "busybox", "command": ["sleep", "60"], "name": "lives"}
        detached = server.add_task(category="container", args=json.dumps(living | {"socket": str(engine)}))
        server.offer(detached)
        server.wait_for(detached, "success")
        tasks = [
            server.add_task(category="container", args=json.dumps(asked_for(call) | {"socket": gate.socket}))
            for call, gate in zip(CALLS, gates, strict=True)
        ]
        server.offer(*tasks)
        for gate, call in zip(gates, CALLS, strict=True):
            wait_until(gate.asked.is_set, lambda: f"the worker never waited for {call}: {gate.requests}", 60.0)  # noqa: B023 - called at once
        assert len(boxes(engine)) > 2 + 5
        if dies == "the worker":
            victim = program.worker()
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: program.worker() != victim, "the guardian starts the next run")
        else:
            for pid in (program.process.pid, program.worker()):
                os.kill(pid, signal.SIGKILL)
            program.process.wait()
        for gate in gates:
            gate.silent.clear()
            gate.lost.clear()
        if dies != "the worker":
            program.start()
        wait_until(lambda: boxes(engine) == ["lives", "of-another-worker"], lambda: f"left: {boxes(engine)}")
        for task in tasks:
            assert server.wait_for(task, "error")["status"] == "error"
        log = [json.loads(line) for line in program.log.read_text().splitlines()]
        assert sum("left by a previous run" in line["message"] for line in log) >= 6
