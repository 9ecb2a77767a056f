"""The program as it is started, against the simulated API server on a real port."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.process import tree
from adapters.testkit.apiserver import SimulatedServer
from adapters.testkit.model.faults import Fault
from tests.support import trees
from tests.support.program import Program, Start, wait_until

# What a killed worker leaves half open in the server is closed by the garbage collector of its event loop.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

OVER = ("success", "failed", "error", "timeout", "stopped", "canceled")
TOKEN = "t0ken-of-the-test"


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer(token=TOKEN) as made:
        yield made


@pytest.fixture
def program(server: SimulatedServer, tmp_path: Path) -> Iterator[Program]:
    made = Program(server, tmp_path)
    yield made
    made.end()
    made.process.wait()


def outcome(server: SimulatedServer, task: str) -> tuple[str, int]:
    row = server.task(task)
    return row["status"], json.loads(row["output"])["exit_code"]


def test_two_hundred_tasks_end_as_they_should_once_each(server: SimulatedServer, program: Program) -> None:
    mark = str(uuid.uuid4().int)[:12]
    kinds = {
        "echo": ("echo out-$((40+2))", 0, "success"),
        "fail": ("echo bad >&2; exit 3", 0, "failed"),
        "late": (f"sleep 1000.{mark} & sleep 1000.{mark}", 1, "timeout"),
        "stop": (f"sleep 1000.{mark}", 0, "stopped"),
        "kill": (f"trap '' TERM; sleep 1000.{mark}; sleep 1000.{mark}", 0, "stopped"),
    }
    made: list[tuple[str, str]] = []
    for _ in range(40):
        for kind, (command, timeout, _) in kinds.items():
            made.append((kind, server.add_task(command=command, timeout=timeout)))
    for at in range(0, len(made), 50):  # the server's send queue holds a hundred
        server.offer(*[task for _, task in made[at : at + 50]])
    for kind, task in made:
        if kind in ("stop", "kill"):
            server.wait_for(task, "running", *OVER, timeout=60)
            server.stop_task(task, force=kind == "kill")
    for kind, task in made:
        assert server.wait_for(task, *OVER, timeout=60)["status"] == kinds[kind][2]
    ends = server.model.history.of("terminal")
    assert len(ends) == len({record.task for record in ends}) == 200
    by_kind = dict(made)
    assert outcome(server, by_kind["echo"]) == ("success", 0)
    assert outcome(server, by_kind["fail"]) == ("failed", 3)
    assert server.log(by_kind["echo"]) == "out-42\n"
    assert "exit status 3" in server.log(by_kind["fail"])
    assert trees.alive(mark) == []
    assert program.end() == 0
    log = program.log.read_text()
    assert TOKEN not in log
    assert not any(json.loads(line)["level"] in ("ERROR", "FATAL") for line in log.splitlines())


def test_a_worker_killed_again_and_again_gives_every_task_one_end(
    server: SimulatedServer, program: Program
) -> None:  # G1, G5
    mark = str(uuid.uuid4().int)[:12]
    made: list[str] = []
    for life in range(5):
        new = [server.add_task(command=f"sleep 0.{number % 7}; exit {number % 3}") for number in range(19)]
        new.append(server.add_task(command=f"setsid sleep 1000.{mark} & sleep 1000.{mark}"))
        made += new
        server.offer(*new)
        server.wait_for(new[life], "running", *OVER, timeout=20)
        victim = program.worker()
        if life == 2:
            server.pause()  # the server is down while the worker dies
        os.kill(victim, signal.SIGKILL)
        while program.worker() == victim:
            threading.Event().wait(0.02)
        if life == 2:
            threading.Event().wait(1.0)
            server.resume()
        program.wait_connected()
    for task in made:
        # One that was handed back before its process started runs again, for its thousand seconds.
        server.wait_for(task, "running", *OVER, timeout=60)
        server.stop_task(task)
        server.wait_for(task, *OVER, timeout=60)
    ends = server.model.history.of("terminal")
    assert len(ends) == len({record.task for record in ends}) == len(made)
    assert program.end() == 0
    assert trees.alive(mark) == []


def seize(server: SimulatedServer, task: str) -> None:
    """Let the task's lock expire and give it to another worker."""
    key = f"task:lock:{task}"
    with server.guard:
        server.model.locks.steal(key)
        assert server.model.locks.acquire(key, 60.0)


@pytest.mark.parametrize("ending", ["worker SIGKILL", "worker SIGSTOP", "lease lost"])
def test_no_tree_survives_its_worker_or_its_lease(
    server: SimulatedServer, tmp_path: Path, ending: str
) -> None:  # G15, G23
    lease = {"execution": {"grace": 0.5, "drain": 1, "lease_ttl": 10, "on_lost_lease": "stop"}}
    program = Program(server, tmp_path, **lease)
    mark = str(uuid.uuid4().int)[:12]
    tasks = {shape: server.add_task(command=trees.program(shape, mark)) for shape in trees.SHAPES}
    server.offer(*tasks.values())
    for shape, task in tasks.items():
        wait_until(lambda task=task: "READY" in server.log(task), shape)
    victim = program.worker()
    if ending == "lease lost":
        for task in tasks.values():
            seize(server, task)
    else:
        os.kill(victim, getattr(signal, ending.removeprefix("worker ")))
    wait_until(lambda: not trees.alive(mark), "the trees are gone")
    if ending == "worker SIGSTOP":
        os.kill(victim, signal.SIGKILL)
    if ending != "lease lost":  # what another worker may have by now is not spoken for (G16)
        for task in tasks.values():
            server.wait_for(task, *OVER, timeout=60)
    assert program.end() == 0
    assert trees.alive(mark) == []


def test_what_outlived_both_guardian_and_worker_ends_at_the_next_start(
    server: SimulatedServer, program: Program
) -> None:  # G5, G6
    mark = str(uuid.uuid4().int)[:12]
    shapes = {shape: trees.program(shape, mark) for shape in ("child", "daemon", "double fork", "nohup and trap")}
    tasks = {shape: server.add_task(command=text) for shape, text in shapes.items()}
    server.offer(*tasks.values())
    for shape, task in tasks.items():
        wait_until(lambda task=task: "READY" in server.log(task), shape)
    victims = program.process.pid, program.worker()
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    program.process.wait()
    wait_until(lambda: (left := tree.look(victims[1])) is None or left.dead, "the worker is gone")
    assert trees.alive(mark) != []
    program.start()
    wait_until(lambda: not trees.alive(mark), "the rest of the previous run is gone")
    assert {server.wait_for(task, *OVER)["status"] for task in tasks.values()} == {"error"}
    assert program.end() == 0


def test_a_server_that_is_away_is_waited_for(server: SimulatedServer, program: Program) -> None:  # G47
    task = server.add_task(command="sleep 1; echo done")
    server.offer(task)
    server.wait_for(task, "running")
    server.pause()
    threading.Event().wait(1.5)
    server.resume()
    assert server.wait_for(task, *OVER, timeout=20)["status"] == "success"
    assert server.log(task) == "done\n"


def test_a_server_that_takes_no_logs_costs_neither_tasks_nor_their_logs(
    server: SimulatedServer, tmp_path: Path
) -> None:  # G38, G41, G60
    """More logs wait than the worker may have descriptors, and it is started anew meanwhile."""
    with server.guard:
        server.model.faults.add(Fault("tasklog/append *", status=503))
    program = Program(server, tmp_path, Start(["prlimit", "--nofile=100"]))
    try:
        tasks: list[str] = []
        for _ in range(20):  # a few at a time: what runs needs descriptors, what waits for its log needs none
            tasks += [server.add_task(command="echo $CRONJOB_WORKER_RUN", timeout=20) for _ in range(5)]
            server.offer(*tasks[-5:])
            for task in tasks[-5:]:
                server.wait_for(task, "running", *OVER)
        assert {server.wait_for(task, *OVER)["status"] for task in tasks} == {"success"}
        logs = {task: json.loads(server.task(task)["output"])["message"] for task in tasks}
        settled = [f"task:lock:{task}" for task in logs]
        wait_until(lambda: not any(map(server.model.locks.holder, settled)), "all results are read back")
        assert program.end() == 0
        with server.guard:
            server.model.faults.clear()
        program.start()
        wait_until(lambda: {task: server.log(task) for task in logs} == logs, "the logs arrive")
        wait_until(lambda: not any((tmp_path / "state" / "logs").iterdir()), "nothing is left on the disk")
        assert program.end() == 0
    finally:
        program.crash()


@pytest.mark.torture("G54 heartbeats keep time under load")
def test_heartbeats_keep_time_under_load(server: SimulatedServer, tmp_path: Path) -> None:  # G54
    """Two tasks that compute, four that print without end, and fifty more; each beats more than a dozen times."""
    interval, beats = 2.0, 15
    busy = ["while :; do :; done"] * 2 + ["yes"] * 4 + ["sleep 1000"] * 50
    with Program(server, tmp_path, worker={"concurrency": 60}, websocket={"ping_interval": interval}) as program:
        tasks = [server.add_task(command=command) for command in busy]
        server.offer(*tasks)
        for task in tasks:
            server.wait_for(task, "running", timeout=60)
        pings = server.model.history.of("ping")
        wait_until(lambda: len(server.model.history.of("ping")) > len(pings) + beats, "it beats", 60.0)
        moments = [record.at for record in server.model.history.of("ping")[len(pings) :]]
        assert max(b - a for a, b in itertools.pairwise(moments)) <= 1.5 * interval
        for task in tasks:
            server.stop_task(task, force=True)
        for task in tasks:
            assert server.wait_for(task, *OVER, timeout=60)["status"] == "stopped"
        assert program.end() == 0


def test_a_paused_worker_ends_what_it_has_and_takes_nothing_until_resume(
    server: SimulatedServer, tmp_path: Path
) -> None:
    """Also over a restart: an operator who prepares a reboot does not want it to begin anew behind it."""
    program = Program(server, tmp_path, log={"level": "DEBUG"})
    running = server.add_task(command="sleep 1; echo done")
    server.offer(running)
    server.wait_for(running, "running")
    assert program.command("pause", "--reason", "new disk") == "paused: no new tasks are taken until `resume`\n"
    wait_until(lambda: "new disk" in program.log.read_text(), "the worker says that it is paused")
    waiting = server.add_task(command="echo later")
    assert server.wait_for(running, *OVER)["status"] == "success"
    assert program.end() == 0
    program.start()
    server.offer(waiting)
    wait_until(lambda: "not taken: new disk" in program.log.read_text(), "the offer is refused")
    assert server.task(waiting)["status"] == "pending"
    assert program.command("resume") == "new tasks are taken again\n"
    assert server.wait_for(waiting, *OVER)["status"] == "success"
    assert program.command("resume") == "it was not paused\n"
    assert program.end() == 0


def test_a_task_starts_clean_however_the_worker_was_started(server: SimulatedServer, tmp_path: Path) -> None:  # G33
    untidy = "trap '' QUIT INT HUP; ulimit -c unlimited; exec env --block-signal=USR1 \"$@\" 9</dev/null"
    program = Program(server, tmp_path, Start(["bash", "-c", untidy, "bash"]))
    try:
        task = server.add_task(command="cat /proc/self/status; ls /proc/self/fd; echo core $(ulimit -c)")
        server.offer(task)
        assert server.wait_for(task, *OVER)["status"] == "success"
        lines = server.log(task).splitlines()
        masks = [line.split() for line in lines if line.startswith(("SigIgn", "SigBlk"))]
        internal = 3 << 31  # 32 and 33 are the C library's own
        assert [(name, int(mask, 16) & ~internal) for name, mask in masks] == [("SigBlk:", 0), ("SigIgn:", 0)]
        assert "core 0" in lines
        assert [line for line in lines if line.isdigit()] == ["0", "1", "2", "3"]  # the last one is ls's own
        assert program.end() == 0
    finally:
        program.crash()
