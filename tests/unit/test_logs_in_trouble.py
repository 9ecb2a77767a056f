"""Whole workers and one modelled server in virtual time: each line of each log arrives once and in order, whatever the
server loses meanwhile (G38)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.journal.memory import MemoryJournal
from adapters.spool.file import FileSpool
from adapters.spool.memory import MemorySpool
from adapters.testkit.model.faults import TORN, Fault
from adapters.testkit.model.network import MemoryNetwork
from adapters.testkit.model.replies import AUTH, DATABASE, REDIS, Reply
from adapters.testkit.model.requests import call_name
from adapters.testkit.model.server import ServerModel
from adapters.testkit.simulation import SimNode, Simulation
from adapters.testkit.workers import WorkerKit
from application.ports import Identity, Limits, LogSpool
from domain.result import EndReason, Result
from domain.runner import ExecutionContext, RunnerRegistry
from domain.status import Status

TASKS = 20
LINES = 30
TOKEN = "virtual"
LIMITS = Limits(lease_ttl=900.0, acquire_ttl=900.0)  # an outage is to meet the logs, not the locks
WORKER = Identity("6f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c12", "w1", tasks=("fake",))


def line(number: int) -> str:
    return f"line {number} \u65e5\u672c\n"


WHOLE = "".join(line(number) for number in range(LINES))


class Printer:
    """A task that prints a line each second; its command says after how many it stays quiet."""

    status = Status.PENDING
    result: Result | None = None

    def __init__(self, node: SimNode) -> None:
        self._asked = node.event()

    def parse_args(self, command: str, args: str) -> None:
        self._pause = float(command)

    def set_timeout(self, seconds: float | None) -> None: ...

    def execute(self, context: ExecutionContext | None = None) -> Result:
        assert context is not None
        for number in range(LINES):
            context.log(line(number).encode())
            if self._asked.wait(self._pause):
                return Result(Status.STOPPED, EndReason.STOPPED)
        return Result(Status.SUCCESS, EndReason.COMPLETED)

    def stop(self) -> None:
        self._asked.set()

    kill = stop

    def cleanup(self) -> None: ...


class Asked(MemoryNetwork):
    """Counts the requests about logs."""

    def request(self, method: str, path: str, query: dict[str, str], body: Any, timeout: float) -> Reply:
        if path.startswith("/tasklog/"):
            self.calls.append(f"{method} {call_name(path, query).split()[0]}")
        return super().request(method, path, query, body, timeout)

    calls: list[str]


class Scene:
    def __init__(self, spool: LogSpool, seed: int) -> None:
        self._sim = Simulation(seed)
        self._server = self._sim.node("server")
        self.model = ServerModel(lambda: self._server.wall().timestamp(), TOKEN)
        self._spool, self._journal = spool, MemoryJournal()
        self.calls: list[str] = []
        self._server.start("server", self._serve)
        self.be_born()

    def be_born(self) -> None:
        self.node = node = self._sim.node("worker")
        network = Asked(node, self.model, threading.RLock(), TOKEN)
        network.calls = self.calls
        network.conditions.delay = lambda: self._sim.random.choice((0.0, 0.0, 0.01, 0.1))
        registry = RunnerRegistry()
        registry.register("fake", lambda: Printer(node))
        self.kit = WorkerKit(network, registry, LIMITS, identity=WORKER, journal=self._journal, spool=self._spool)
        node.start("worker", self.kit.worker.start)

    def live(self, seconds: float, done: Callable[[], bool] = lambda: False) -> bool:
        return self._sim.run(done, seconds)

    def begin(self, pause: float = 1.0, count: int = TASKS) -> list[str]:
        """Tasks that run; some lines of each are out already."""
        tasks = [self.model.add_task(category="fake", command=str(pause)) for _ in range(count)]
        assert self.live(30.0, lambda: all(len(self.model.logs.get(task, "")) > 10 for task in tasks))
        return tasks

    def settle(self, tasks: list[str]) -> list[str]:
        """The tasks whose log is not what they printed, after all is quiet."""
        ended = self.live(900.0, lambda: all(self.model.tasks[it]["time_end"] for it in tasks))
        assert ended
        assert self.live(300.0, lambda: not self.kit.spool.pending())
        assert {self.model.tasks[it]["status"] for it in tasks} == {"success"}
        return [task for task in tasks if self.model.logs[task] != WHOLE]

    def close(self) -> None:
        self._sim.close()

    def _serve(self) -> None:
        while True:
            self._server.sleep(max(0.01, self.model.next_due() - self.model.clock()))
            self.model.tick()


@pytest.fixture(params=["memory", "file"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    spool = MemorySpool() if request.param == "memory" else FileSpool(tmp_path / "logs", 1 << 20, 1 << 24)
    made = Scene(spool, seed=7)
    yield made
    made.close()
    if isinstance(spool, FileSpool):
        spool.close()


@pytest.mark.parametrize(("part", "seconds"), [(DATABASE, 20.0), (DATABASE, 300.0), (AUTH, 20.0), (REDIS, 5.0)])
def test_no_line_is_lost_or_doubled_while_the_server_lacks_something(scene: Scene, part: str, seconds: float) -> None:
    tasks = scene.begin()
    scene.model.away.add(part)
    scene.live(seconds)
    scene.model.away.clear()
    assert scene.settle(tasks) == []


@pytest.mark.parametrize("seconds", [1.3, 20.0, 40.0, 100.0])
def test_no_line_is_lost_or_doubled_while_the_server_is_frozen(scene: Scene, seconds: float) -> None:
    """Clients that left it in the middle destroy their logs when it goes on."""
    tasks = scene.begin(pause=5.0)
    scene.model.frozen = True
    scene.live(seconds)
    scene.model.thaw()
    assert scene.settle(tasks) == []


@pytest.mark.parametrize("late", [0.0, 0.5, 1.5])
def test_what_a_server_does_late_costs_no_line(scene: Scene, late: float) -> None:
    """It answers again, and comes to what was given up a moment after: the logs have been looked at already."""
    tasks = scene.begin(pause=0.1)
    scene.model.frozen = True
    scene.live(40.0)
    abandoned, scene.model.abandoned = scene.model.abandoned, []
    scene.model.thaw()
    scene.live(late)
    for request in abandoned:
        request()
    assert scene.settle(tasks) == []


@pytest.mark.parametrize("pause", [0.05, 1.0, 3.0])
def test_logs_that_end_while_the_database_is_away_are_whole_afterwards(scene: Scene, pause: float) -> None:
    tasks = scene.begin(pause)
    scene.live(pause * LINES - 2.0)
    scene.model.away.add(DATABASE)
    scene.live(20.0)
    scene.model.away.clear()
    assert scene.settle(tasks) == []


def test_a_database_that_comes_and_goes_costs_no_line(scene: Scene) -> None:
    tasks = scene.begin()
    for seconds in (0.3, 1.0, 2.5, 0.1, 5.0):
        scene.model.away.add(DATABASE)
        scene.live(seconds)
        scene.model.away.clear()
        scene.live(seconds / 2)
    assert scene.settle(tasks) == []


@pytest.mark.parametrize("every", [2, 3, 7])
def test_appends_that_are_given_up_in_the_middle_cost_no_line(scene: Scene, every: int) -> None:
    tasks = scene.begin(pause=5.0)
    scene.model.faults.add(Fault("tasklog/append *", TORN, every=every))
    scene.live(100.0)
    scene.model.faults.clear()
    assert scene.settle(tasks) == []


def test_what_a_former_run_wrote_survives_an_outage(scene: Scene) -> None:
    task = scene.model.add_task(category="fake", command="1.0")
    scene.model.logs[task], scene.model.log_sizes[task] = "a former run\n", 13
    scene.live(10.0)
    scene.model.away.add(DATABASE)
    scene.live(20.0)
    scene.model.away.clear()
    assert scene.settle([task]) == [task]
    assert scene.model.logs[task] == "a former run\n" + WHOLE


def test_a_worker_that_dies_during_an_outage_puts_its_logs_right_in_its_next_life(scene: Scene) -> None:  # G42
    tasks = scene.begin()
    scene.model.away.add(DATABASE)
    scene.live(5.0)
    scene.node.crash()
    scene.model.away.clear()
    scene.be_born()
    assert scene.live(300.0, lambda: all(scene.model.tasks[it]["time_end"] for it in tasks))
    assert scene.live(100.0, lambda: not scene.kit.spool.pending())
    for task in tasks:
        assert WHOLE.startswith(scene.model.logs[task])
        assert scene.model.logs[task].count("\n") >= 2


def test_a_log_without_trouble_costs_nothing_but_its_appends(scene: Scene) -> None:
    tasks = scene.begin()
    assert scene.settle(tasks) == []
    assert set(scene.calls) == {"POST tasklog/append"}


def test_a_log_that_was_doubtful_is_looked_at_once_more_at_its_end_only(scene: Scene) -> None:
    tasks = scene.begin()
    scene.model.away.add(DATABASE)
    scene.live(1.0)
    scene.model.away.clear()
    scene.live(5.0)
    looks = scene.calls.count("GET tasklog/content")
    scene.live(10.0)
    assert scene.calls.count("GET tasklog/content") == looks
    assert scene.settle(tasks) == []
