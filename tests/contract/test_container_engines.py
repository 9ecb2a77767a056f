"""What a container task promises, over the fakes and over a real dockerd and a real Podman (G77, K1 to K13)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from adapters.process import tree
from adapters.runners.command import ProcessOptions
from adapters.runners.container import ContainerRunner, OrphanContainers, Owner
from application.ports import Limits
from application.reporting import output_for
from domain.result import EndReason, Result
from domain.runner import ExecutionContext
from domain.status import Status
from tests.support.dockerapi import FakeDocker
from tests.support.enginegate import EngineGate
from tests.support.engines import ask
from tests.support.program import wait_until

STUBBORN = ["sh", "-c", "trap '' TERM; echo up; while true; do sleep 0.1; done"]
POLITE = ["sh", "-c", "trap 'exit 0' TERM; echo up; while true; do sleep 0.1; done"]


class Bench:
    """One engine, and what is on it. Tasks are asked through a gate, which lets all pass unless told otherwise."""

    def __init__(self, kind: str, engine: str, gate: EngineGate) -> None:
        self.kind, self.gate, self.engine = kind, gate, engine
        self.real = not kind.startswith("fake")
        self.owner = Owner("w1")

    def made(self, owner: Owner | None = None, grace: float = 1, **args: Any) -> ContainerRunner:
        runner = ContainerRunner(options=ProcessOptions(grace=grace), owner=owner or self.owner)
        runner.parse_args("", json.dumps({"socket": self.gate.socket} | args))
        runner.set_timeout(60)
        return runner

    def ran(self, owner: Owner | None = None, log: Callable[[bytes], None] = lambda _: None, **args: Any) -> Result:
        return self.made(owner, **args).execute(ExecutionContext(task_id="t1", log=log))

    def sh(self, text: str, **args: Any) -> Result:
        """A run that is waited for."""
        return self.ran(action="run", image="busybox", command=["sh", "-c", text], detach=False, **args)

    def detached(self, name: str, *command: str, **args: Any) -> Result:
        return self.ran(action="run", image="busybox", command=list(command) or ["sleep", "60"], name=name, **args)

    def boxes(self) -> dict[str, str]:
        """The state of each container by its name."""
        rows = json.loads(ask(Path(self.engine), "GET", "/v1.41/containers/json?all=1")[1])
        return {row["Names"][0].lstrip("/"): row["State"] for row in rows}

    def until_empty(self) -> None:
        wait_until(lambda: not self.boxes(), lambda: f"left: {self.boxes()}")

    def clear(self) -> None:
        self.owner.endings.close()
        for name in self.boxes():
            ask(Path(self.engine), "DELETE", f"/v1.41/containers/{name}?force=1&v=1")
        ask(Path(self.engine), "POST", "/v1.41/volumes/prune")
        for proc in tree.below(os.getpid()):
            # Podman keeps the watcher of an exec for five minutes more, also of a container that is gone.
            with contextlib.suppress(OSError):
                if Path(f"/proc/{proc.pid}/comm").read_text() == "conmon\n":
                    os.kill(proc.pid, signal.SIGKILL)


@pytest.fixture
def bench(engine_kind: tuple[str, str], tmp_path: Path) -> Iterator[Bench]:
    kind, socket = engine_kind
    with contextlib.ExitStack() as stack:
        if not socket:
            (tmp_path / "fake").mkdir()
            socket = stack.enter_context(FakeDocker(tmp_path / "fake", podman=kind.endswith("podman"))).socket
        bench = Bench(kind, socket, stack.enter_context(EngineGate(socket, tmp_path / "gate")))
        yield bench
        bench.clear()


def output(result: Result) -> Any:
    assert result.status is Status.SUCCESS, result.error
    return json.loads(result.output)


def test_a_waited_run_gives_output_and_exit_code(bench: Bench) -> None:
    """K5, K6"""
    result = bench.sh("echo hi; echo oh >&2; exit 3", remove=True)
    found = json.loads(result.output)
    assert (result.status, result.exit_code, found["exit_code"], found["status"]) == (Status.FAILED, 3, 3, "exited")
    assert sorted(found["output"].splitlines()) == ["hi", "oh"]
    assert "hi\n" in result.execute_log
    assert bench.boxes() == {}


def test_a_waited_run_stays_where_its_removal_is_not_asked_for(bench: Bench) -> None:
    result = bench.sh("true", name="kept")
    assert (output(result)["name"], bench.boxes()) == ("kept", {"kept": "exited"})


def test_long_output_leaves_the_keys_of_the_document(bench: Bench) -> None:
    """K5"""
    result = bench.sh("yes '\u4efb' | head -n 40000; exit 3", remove=True)
    found = json.loads(output_for(result, Limits().output_limit))
    assert (found["action"], found["exit_code"], found["truncated"]) == ("run", 3, True)
    assert found["output"].startswith("\u4efb\n")
    assert found["output"].endswith("\u4efb\n")


def test_a_detached_run_returns_at_once(bench: Bench) -> None:
    found = output(bench.detached("lives"))
    assert (found["name"], found["status"], bench.boxes()) == ("lives", "running", {"lives": "running"})


def test_a_failed_start_leaves_no_container(bench: Bench) -> None:
    """K6"""
    for detach in (True, False):
        result = bench.ran(action="run", image="busybox", command=["/no/such/program"], detach=detach)
        assert result.status is Status.FAILED
        assert "no such file" in result.error
        assert bench.boxes() == {}


def test_a_name_that_is_taken_fails_and_leaves_the_other_alone(bench: Bench) -> None:
    bench.detached("taken")
    result = bench.sh("true", name="taken", remove=True)
    assert "in use" in result.error
    assert bench.boxes() == {"taken": "running"}


def test_variables_and_the_entrypoint_reach_the_container(bench: Bench) -> None:
    args = {"env": {"A": "1 '2", "B": "x=y"}, "entrypoint": ["sh", "-c"], "command": ['echo "$A $B"'], "remove": True}
    result = bench.ran(action="run", image="busybox", detach=False, **args)
    assert output(result)["output"] == "1 '2 x=y\n"


@pytest.mark.parametrize(
    ("end", "command"), [("stop", POLITE), ("stop", STUBBORN), ("kill", STUBBORN), ("time-out", STUBBORN)],
    ids=["stop", "stop of a stubborn one", "kill", "time-out"],
)  # fmt: skip
def test_a_stop_reaches_the_container(bench: Bench, end: str, command: list[str]) -> None:
    """K1"""
    runner = bench.made(action="run", image="busybox", command=command, detach=False, remove=end == "stop")

    def log(data: bytes) -> None:
        if b"up" in data and end != "time-out":
            getattr(runner, end)()

    runner.set_timeout(60 if end != "time-out" else 1.5)
    result = runner.execute(ExecutionContext(log=log))
    assert result.end_reason is {"stop": EndReason.STOPPED, "kill": EndReason.KILLED}.get(end, EndReason.TIMEOUT)
    bench.until_empty()


def test_output_without_end_is_ended_with_its_container(bench: Bench) -> None:
    """K5: and only a part of it is held."""
    size = 0
    runner = bench.made(action="run", image="busybox", command=["yes", "x" * 1000], detach=False, grace=0)

    def log(data: bytes) -> None:
        nonlocal size
        size += len(data)
        if size > 2_000_000:
            runner.stop()

    result = runner.execute(ExecutionContext(log=log))
    assert result.status is Status.STOPPED
    assert len(result.execute_log) < 600_000
    bench.until_empty()


CALLS = ["GET _ping", "GET images/*/json", "POST containers/create", "POST containers/*/attach",
         "POST containers/*/start", "POST containers/*/wait", "GET containers/*/json", "DELETE containers/*"]  # fmt: skip


@pytest.mark.parametrize("done", [False, True], ids=["not done", "done but not answered"])
def test_a_stop_at_any_call_leaves_no_container(bench: Bench, done: bool, tmp_path: Path) -> None:
    """K1, G77"""
    results: list[Result] = []

    def stopped(gate: EngineGate, held: str) -> None:
        (gate.lost if done else gate.silent).add(held)
        args = {"action": "run", "image": "busybox", "command": ["true"], "detach": False, "remove": True}
        runner = bench.made(grace=0, **args | {"socket": gate.socket})
        thread = threading.Thread(target=lambda: results.append(runner.execute()))
        thread.start()
        assert gate.asked.wait(20), held
        gate.silent.clear()
        gate.lost.clear()
        runner.stop()
        thread.join(20)

    with contextlib.ExitStack() as stack:
        gates = [stack.enter_context(EngineGate(bench.engine, tmp_path / f"g{at}")) for at in range(len(CALLS))]
        with ThreadPoolExecutor(len(CALLS)) as pool:
            list(pool.map(stopped, gates, CALLS))
        bench.until_empty()
    assert {result.status for result in results} == {Status.STOPPED}
    assert len(results) == len(CALLS)


def test_a_slow_engine_ends_each_container_though_the_task_does_not_wait_for_it(bench: Bench) -> None:
    """K1, G77: also one that had to answer several times."""

    def log(data: bytes) -> None:
        bench.gate.delay = 1.5

    runner = bench.made(action="run", image="busybox", command=STUBBORN, detach=False, grace=0)
    runner.set_timeout(2)
    result = runner.execute(ExecutionContext(log=lambda data: log(data) if b"up" in data else None))
    assert result.error.startswith("timed out after 2 s; the engine has not removed container")
    bench.until_empty()


def test_a_removal_that_the_engine_refuses_is_asked_for_again_and_the_run_ends_as_it_ended(bench: Bench) -> None:
    bench.gate.refused["DELETE containers/*"] = 2
    assert output(bench.sh("echo done", remove=True))["output"] == "done\n"
    bench.until_empty()


def test_the_last_words_are_heard_also_without_a_line_break(bench: Bench) -> None:
    """K5"""
    texts = ["echo one; sleep 0.3; printf two"] * 6
    with ThreadPoolExecutor(len(texts)) as pool:
        found = list(pool.map(lambda text: output(bench.sh(text, remove=True))["output"], texts))
    assert found == ["one\ntwo"] * 6


def test_an_engine_that_goes_away_leaves_no_container_of_a_failed_run(bench: Bench) -> None:
    def log(data: bytes) -> None:
        if b"up" in data:
            bench.gate.leave()

    result = bench.ran(log=log, action="run", image="busybox", command=STUBBORN, detach=False, grace=0)
    assert (result.status, "cannot be reached or went away" in result.error) == (Status.FAILED, True)
    assert len(bench.boxes()) == 1
    bench.gate.away = False
    bench.until_empty()


@pytest.mark.parametrize(
    "args", [{"action": "logs", "follow": True}, {"action": "exec", "exec_command": ["sh", "-c", "echo tick; sleep 1"]}]
)
def test_output_that_an_engine_cuts_short_is_no_success(bench: Bench, args: dict[str, Any]) -> None:
    bench.detached("box", "sh", "-c", "while true; do echo tick; sleep 0.05; done")
    result = bench.ran(log=lambda data: bench.gate.leave() if b"tick" in data else None, container="box", **args)
    assert (result.status, "went away" in result.error) == (Status.FAILED, True)


def test_a_build_that_an_engine_cuts_short_is_no_success(bench: Bench, tmp_path: Path) -> None:
    if not bench.real:
        pytest.skip("the fake builds nothing that could be cut short")
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo tick; sleep 1; echo tock\n")
    seen = lambda data: bench.gate.leave() if data == b"tick\n" else None  # noqa: E731
    result = bench.ran(log=seen, action="build", context=str(tmp_path), tags=["cut:1"])
    assert (result.status, "went away" in result.error) == (Status.FAILED, True)


def test_exec_tells_the_exit_code(bench: Bench) -> None:
    """K3"""
    bench.detached("box")
    result = bench.ran(action="exec", container="box", exec_command=["sh", "-c", "echo in; exit 5"])
    assert (result.status, result.exit_code, json.loads(result.output)["output"]) == (Status.FAILED, 5, "in\n")
    result = bench.ran(action="exec", container="box", exec_command=["/no/such/program"])
    assert (result.status, result.exit_code in (126, 127)) == (Status.FAILED, True)
    assert "no such file" in json.loads(result.output)["output"]
    assert bench.ran(action="exec", container="nobody", exec_command=["true"]).status is Status.FAILED


@pytest.mark.parametrize("args", [{"action": "exec", "exec_command": ["true"]}, {"action": "logs"}])
def test_no_output_is_an_end_like_any_other(bench: Bench, args: dict[str, Any]) -> None:
    """K13"""
    bench.detached("box")
    found = output(bench.ran(container="box", **args))
    assert found["output" if args["action"] == "exec" else "logs"] == ""


def test_logs_without_end_end_with_the_task_and_not_with_the_container(bench: Bench) -> None:
    bench.detached("box", "sh", "-c", "while true; do echo tick; sleep 0.05; done")
    runner = bench.made(action="logs", container="box", follow=True)
    result = runner.execute(ExecutionContext(log=lambda data: runner.stop() if b"tick" in data else None))
    assert (result.status, bench.boxes()) == (Status.STOPPED, {"box": "running"})


def test_logs_are_told_in_part_and_with_their_times(bench: Bench) -> None:
    assert output(bench.sh("echo one; echo two; echo three", name="box"))["output"] == "one\ntwo\nthree\n"
    assert output(bench.ran(action="logs", container="box", follow=True))["logs"] == "one\ntwo\nthree\n"
    found = output(bench.ran(action="logs", container="box", tail=2, timestamps=True))["logs"].splitlines()
    assert [line.partition("Z ")[2] for line in found] == ["two", "three"]


def test_a_container_is_stopped_started_and_removed(bench: Bench) -> None:
    bench.detached("box", *POLITE)
    for action in ("stop", "stop", "start", "start", "restart"):
        assert output(bench.ran(action=action, container="box")) == {"action": action, "container": "box"}
        assert bench.boxes() == {"box": "exited" if action == "stop" else "running"}
    assert bench.ran(action="remove", container="box").status is Status.FAILED
    removed = output(bench.ran(action="remove", container="box", force=True))
    assert (removed, bench.boxes()) == ({"action": "remove", "type": "container", "container": "box"}, {})
    assert bench.ran(action="remove", container="box", force=True).status is Status.FAILED


def test_a_container_is_looked_at(bench: Bench) -> None:
    bench.detached("box")
    found = output(bench.ran(action="inspect", container="box", check_health=True))
    assert (found["name"], found["status"], "busybox" in found["image"]) == ("/box", "running", True)
    assert "health" not in found  # nothing checks it


def test_stats_tell_the_load_of_now(bench: Bench) -> None:
    """K8: of what runs, not the mean since its start; and no defect is told of what does not run."""
    bench.detached("busy", "sh", "-c", "while true; do true; done")
    busy = output(bench.ran(action="stats", container="busy"))
    assert 3 < busy["cpu_percent"] < 1000
    assert 0 < busy["memory_usage"] < busy["memory_limit"]
    bench.sh("true", name="over")
    stopped = bench.ran(action="stats", container="over")
    assert stopped.error in ("", "the engine has no figures of the container: it does not run")


def test_a_prune_takes_what_is_in_no_use(bench: Bench) -> None:
    """K8"""
    bench.detached("lives", volumes=["used:/v"])
    for name in ("one", "two"):
        bench.sh("true", name=name, volumes=["unused:/v"])
    found = output(bench.ran(action="prune", type="container"))
    assert (found["type"], found["deleted_count"], bench.boxes()) == ("container", 2, {"lives": "running"})
    assert output(bench.ran(action="prune", type="volume"))["deleted_count"] == 1
    bench.sh("true", name="three")
    assert output(bench.ran(action="prune", type="all"))["deleted_count"] == 1
    assert output(bench.ran(action="prune", type="network"))["deleted_count"] == 0
    assert bench.boxes() == {"lives": "running"}


def test_an_image_is_removed_by_one_of_its_names(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nENV A=b\n")
    assert output(bench.ran(action="build", context=str(tmp_path), tags=["a:1", "a:2"]))["tags"] == ["a:1", "a:2"]
    for name in ("a:1", "a:2"):
        assert output(bench.ran(action="remove", image=name)) == {"action": "remove", "type": "image", "image": name}
    assert bench.ran(action="remove", image="a:1").status is Status.FAILED


def test_a_build_holds_no_ignored_file_and_its_log_is_told(bench: Bench, tmp_path: Path) -> None:
    """K9"""
    if not bench.real:
        pytest.skip("the fake builds nothing: test_a_build_ships_no_ignored_file looks at what it is sent")
    root = tmp_path / "c"
    for name, text in {
        ".dockerignore": "# no secrets\nsecret\n**/*.key\n!sub/ok.key\n", "secret": "s", "kept": "k", "sub/a.key": "a",
        "sub/ok.key": "o", ".git/config": "t", "Dockerfile": "FROM busybox\nCOPY . /ctx\nRUN echo built\n",
    }.items():  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "link").symlink_to("kept")
    logged: list[bytes] = []
    built = bench.ran(log=logged.append, action="build", context=str(root), tags=["ctx:1"])
    assert output(built)["image_id"].startswith("sha256:")
    assert b"built" in b"".join(logged)
    listed = bench.ran(
        action="run", image="ctx:1", command=["sh", "-c", "cd /ctx; ls -A . sub; cat link"], detach=False, remove=True
    )
    names = set(output(listed)["output"].split())
    assert {"kept", "link", "ok.key", "k"} <= names
    assert not {"secret", "a.key", ".git"} & names
    (root / "Dockerfile").write_text("FROM busybox\nRUN false\n")
    assert "1" in bench.ran(action="build", context=str(root), tags=["ctx:2"]).error
    bench.ran(action="remove", image="ctx:1", force=True)


def test_the_next_start_removes_what_a_crash_left(bench: Bench, tmp_path: Path) -> None:
    """G77: of its own previous runs, and no detached container that shall live on."""
    former, now, other = (Owner(name, tmp_path / name) for name in ("w1", "w1", "w2"))
    bench.detached("lives", owner=former)
    bench.sh("true", owner=former, name="bound")
    bench.sh("true", owner=now, name="this-life")
    bench.sh("true", owner=other, name="other")
    bench.gate.silent.add("POST containers/*/start")
    runner = bench.made(former, action="run", image="busybox", name="never", command=["sleep", "60"])
    thread = threading.Thread(target=runner.execute)
    thread.start()
    assert bench.gate.asked.wait(20)
    bench.gate.silent.clear()
    cleaned(now)
    assert sorted(bench.boxes()) == ["lives", "other", "this-life"]
    runner.kill()
    thread.join(10)
    former.endings.close()
    cleaned(Owner("w1", tmp_path / "w1"))
    assert sorted(bench.boxes()) == ["lives", "other"]
    assert Owner("w1", tmp_path / "w1").engines() == []


def cleaned(owner: Owner) -> None:
    orphans = OrphanContainers(owner, pauses=(0.0,) * 3)
    orphans.start()
    assert orphans._thread is not None
    orphans._thread.join(20)
