"""The program with its state on a disk that is full at times (G7)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.testkit.apiserver import SimulatedServer
from tests.support import smallfs
from tests.support.program import Program, Start, wait_until
from tests.support.smallfs import SmallDisk

OVER = ("success", "failed", "error", "timeout", "stopped", "canceled")
pytestmark = [
    pytest.mark.skipif(bool(smallfs.missing()), reason=smallfs.missing() or "there are small file systems"),
    # What a killed worker leaves half open in the server is closed by the garbage collector of its event loop.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer(token="t0ken") as made:
        yield made


@pytest.fixture
def program(server: SimulatedServer, tmp_path: Path) -> Iterator[Program]:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    made = Program(server, tmp_path, Start(smallfs.prefix(state, 4), {"WORKER_STATE_DIR": str(state)}))
    yield made
    made.crash()


@pytest.fixture
def disk(program: Program) -> SmallDisk:
    return SmallDisk(program.worker(), program.directory / "state")


def is_free(server: SimulatedServer, task: str) -> bool:
    with server.guard:
        return not server.model.locks.holder(f"task:lock:{task}")


def test_with_a_full_disk_no_task_starts_and_with_room_it_does(
    server: SimulatedServer, program: Program, disk: SmallDisk
) -> None:  # G7
    disk.fill()
    task = server.add_task(command="echo done")
    server.offer(task)
    wait_until(lambda: "its end could not be kept" in program.log.read_text(), "the worker says why")
    wait_until(lambda: is_free(server, task), "the lock is given back")
    assert server.task(task)["status"] == "pending"
    assert not server.model.history.of("running", task)
    disk.empty()
    server.offer(task)
    assert server.wait_for(task, *OVER)["status"] == "success"
    assert program.end() == 0


def fill_amid_tasks(server: SimulatedServer, program: Program, disk: SmallDisk, directory: Path) -> None:
    """Tasks that run while the disk is filled end as they should, and their results are delivered."""
    go = directory / "go"
    os.mkfifo(go)
    tasks = [server.add_task(command=f"echo on; read _ <{go}; echo off; exit {code}") for code in range(5)]
    server.offer(*tasks)
    for task in tasks:
        wait_until(lambda task=task: "on" in server.log(task), "it runs")
    disk.fill()
    with open(go, "w") as gate:
        gate.write("\n" * len(tasks) * 100)
    for code, task in enumerate(tasks):
        expected = "success" if code == 0 else "failed"
        assert server.wait_for(task, *OVER, timeout=60)["status"] == expected
    go.unlink()


def test_what_runs_while_the_disk_fills_is_delivered(
    server: SimulatedServer, program: Program, disk: SmallDisk, tmp_path: Path
) -> None:  # G7
    fill_amid_tasks(server, program, disk, tmp_path)
    disk.empty()
    task = server.add_task(command="echo again")
    server.offer(task)
    assert server.wait_for(task, *OVER)["status"] == "success"
    assert server.log(task) == "again\n"
    assert program.end() == 0


def test_a_worker_killed_on_a_full_disk_starts_again_and_has_forgotten_nothing(
    server: SimulatedServer, program: Program, disk: SmallDisk
) -> None:  # G1, G7
    tasks = [server.add_task(command=f"exit {code}") for code in (0, 3)]
    left = server.add_task(command="sleep 1000")
    server.offer(*tasks, left)
    server.wait_for(left, "running")
    for task in tasks:
        server.wait_for(task, *OVER)
    disk.fill()
    lives = program.log.read_text().count("state in")
    os.kill(program.worker(), signal.SIGKILL)
    wait_until(lambda: program.log.read_text().count("state in") > lives, "it lives again")
    assert server.wait_for(left, *OVER)["status"] == "error"
    assert "worker_lost" in server.task(left)["output"]
    program.wait_connected()
    SmallDisk(program.worker(), program.directory / "state").empty()
    assert program.end() == 0


@pytest.mark.torture("G7 a full disk loses no result of a running task")
def test_a_disk_that_fills_again_and_again(
    server: SimulatedServer, program: Program, disk: SmallDisk, tmp_path: Path
) -> None:  # G7
    for _ in range(20):
        fill_amid_tasks(server, program, disk, tmp_path)
        disk.empty()
    assert program.end() == 0
