"""What arrives on the link: each offer has one outcome, whatever slots, pauses, stops and threads do meanwhile (G86)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from adapters.guardian.unguarded import NoWatchdog
from adapters.observability.metrics import MemoryMetrics
from adapters.process.orphans import NoOrphans
from adapters.runtime.threads import ThreadRuntime
from adapters.testkit.simulation import Simulation
from application import intake as intake_module
from application.counters import unaccounted
from application.intake import AGAIN, PATIENCE, Gate, Hands, Intake
from application.ports import Host, Identity, Offer, Runtime, Stop
from application.runs import Phase, Run, RunTable
from domain.errors import ConnectionLost, NoRoom
from domain.result import EndReason
from domain.task import Action, Task


class Still(ThreadRuntime):
    """Time stands, and a thread runs at once and to its end; or there is none to be had."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.threads = True

    def now(self) -> float:
        return self.time

    def start(self, name: str, target: Callable[[], None]) -> threading.Thread:
        if not self.threads:
            raise NoRoom("no thread")
        target()
        return super().start(name, lambda: None)


class Declining:
    """The part of a stream that matters here."""

    def __init__(self) -> None:
        self.declined: list[tuple[str, str, float]] = []
        self.broken = False

    def connect(self, identity: Identity) -> None: ...
    def receive(self, room: int, timeout: float) -> Sequence[Offer | Stop]:
        return ()

    def decline(self, offer: Offer, why: str, after: float) -> None:
        if self.broken:
            raise ConnectionLost("away")
        self.declined.append((offer.task.id, why, after))

    def announce(self, identity: Identity) -> None: ...
    def ping(self) -> None: ...
    def silence(self) -> float:
        return 0.0

    def close(self) -> None: ...


class Hall:
    """An intake whose tasks run until they are let go; one that is cancelled before it begins ends at once."""

    def __init__(self, slots: int = 2, runtime: Runtime | None = None) -> None:
        self.still = Still()
        self.stream = Declining()
        self.metrics = MemoryMetrics()
        self.ended: set[str] = set()
        self.full = ""
        self.begun: list[str] = []
        self.stopped: list[str] = []
        self.orphans: list[str] = []
        host = Host(runtime or self.still, self.metrics, NoOrphans(), NoWatchdog())
        self.table = RunTable(host.runtime, slots)
        gate = Gate(lambda task: task.category == "fake", self.ended.__contains__, lambda: self.full)
        self.intake = Intake(host, self.stream, self.table, gate, Hands(self._carry, self.orphans.append))

    def _carry(self, run: Run) -> None:
        if run.token.requested:
            assert run.token.first is not None
            self.stopped.append(f"{run.task.id} {run.token.first.reason}")
            self._settle(run.task.id, "not_started")
        else:
            self.begun.append(run.task.id)
            self.table.enter(run, Phase.RUNNING)

    def _settle(self, task_id: str, outcome: str) -> None:
        self.metrics.count(f"events_{outcome}")
        self.metrics.count("tasks_settled")
        self.table.remove(task_id)

    def offer(self, *task_ids: str) -> None:
        for task_id in task_ids:
            self.intake.handle(Offer(Task(task_id, "fake")))

    def end(self, task_id: str) -> None:
        self._settle(task_id, "executed")

    def outcomes(self) -> dict[str, float]:
        """All runs ended; what became of each offer."""
        for run in self.table.active():
            self.end(run.task.id)
        seen = self.metrics.snapshot()
        assert unaccounted(seen, 0) == []
        return {key.removeprefix("events_"): value for key, value in seen.items() if key.startswith("events_")}


def test_what_finds_no_slot_waits_and_begins_in_its_order() -> None:
    hall = Hall()
    hall.offer("a", "b", "c", "d")
    assert hall.begun == ["a", "b"]
    hall.end("b")
    hall.end("a")
    assert hall.begun == ["a", "b", "c", "d"]
    assert hall.outcomes() == {"received": 4, "executed": 4}
    assert hall.stream.declined == []


def test_what_comes_again_while_it_waits_keeps_its_place_and_runs_once() -> None:
    hall = Hall(slots=1)
    hall.offer("a", "b", "c", "b", "b")
    hall.end("a")
    hall.end("b")
    assert hall.begun == ["a", "b", "c"]
    assert hall.outcomes() == {"received": 5, "executed": 3, "duplicate": 2}


def test_what_waits_too_long_is_given_back_though_no_slot_becomes_free() -> None:
    hall = Hall(slots=1)
    hall.offer("a", "b", "c")
    hall.still.time += PATIENCE - 1
    hall.offer("c")  # the server still means it
    hall.still.time += 2
    assert hall.intake.room() == 0
    assert hall.stream.declined == [("b", "no slot became free in time", AGAIN)]
    hall.end("a")
    assert hall.begun == ["a", "c"]
    assert hall.outcomes() == {"received": 4, "executed": 2, "refused": 1, "duplicate": 1}


def test_no_more_wait_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "WAITING", 2)
    hall = Hall(slots=1)
    hall.offer("a", "b", "c", "d", "b")
    assert [task for task, *_ in hall.stream.declined] == ["d"]
    hall.end("a")
    hall.end("b")
    assert hall.begun == ["a", "b", "c"]
    assert hall.outcomes() == {"received": 5, "executed": 3, "refused": 1, "duplicate": 1}


@pytest.mark.parametrize(
    ("action", "reason"),
    [(Action.STOP, EndReason.STOPPED), (Action.KILL, EndReason.KILLED), (Action.TIMEOUT, EndReason.TIMEOUT)],
)
def test_a_stop_of_what_waits_ends_it_at_once_and_needs_no_slot(action: Action, reason: EndReason) -> None:  # G26
    hall = Hall(slots=1)
    hall.offer("a", "b", "c")
    hall.intake.handle(Stop("b", action))
    assert hall.stopped == [f"b {reason}"]
    assert hall.orphans == ["b"], "it may also be left from a previous run"
    hall.end("a")
    assert hall.begun == ["a", "c"]
    assert hall.outcomes() == {"received": 3, "executed": 2, "not_started": 1}


def test_a_stop_for_nobody_is_passed_on_and_changes_nothing() -> None:
    hall = Hall(slots=1)
    hall.offer("a", "b")
    hall.intake.handle(Stop("x", Action.STOP))
    assert (hall.orphans, hall.stopped) == (["x"], [])
    hall.intake.handle(Stop("a", Action.STOP))
    assert hall.orphans == ["x"]
    run = hall.table.find("a")
    assert run is not None
    assert run.token.requested


@pytest.mark.parametrize("why", ["paused for the night", "the worker shuts down"])
def test_what_waits_when_no_more_is_taken_is_given_back(why: str) -> None:
    hall = Hall(slots=1)
    hall.offer("a", "b", "c")
    hall.table.close(why)
    hall.intake.fill()
    hall.offer("d")
    assert hall.stream.declined == [(task, why, AGAIN) for task in "bcd"]
    hall.table.reopen()
    hall.end("a")
    assert hall.begun == ["a"]
    assert hall.outcomes() == {"received": 4, "executed": 1, "refused": 3}


def test_what_found_no_slot_when_the_worker_closed_between_two_steps_does_not_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hall = Hall(slots=1)
    hall.offer("a")
    keep = hall.intake._keep

    def closed_before(offer: Offer) -> None:
        hall.table.close("the worker shuts down")
        hall.intake.fill()
        keep(offer)

    monkeypatch.setattr(hall.intake, "_keep", closed_before)
    hall.offer("b")
    assert [task for task, *_ in hall.stream.declined] == ["b"]
    assert hall.outcomes() == {"received": 2, "executed": 1, "refused": 1}


def test_without_a_thread_all_that_waits_is_given_back_however_much() -> None:  # G36
    hall = Hall(slots=1)
    tasks = [str(number) for number in range(1000)]
    hall.offer("a", *tasks)
    hall.still.threads = False
    hall.end("a")
    assert [task for task, *_ in hall.stream.declined] == tasks
    hall.still.threads = True
    hall.offer("b")
    assert hall.begun == ["a", "b"]
    assert hall.outcomes() == {"received": 1002, "executed": 2, "refused": 1000}


def test_room_is_what_is_free_and_nothing_where_no_end_can_be_kept() -> None:  # G10
    hall = Hall(slots=3)
    assert hall.intake.room() == 3
    hall.offer("a")
    assert hall.intake.room() == 2
    hall.full = "too many results wait for delivery"
    assert hall.intake.room() == 0
    hall.offer("b")
    assert hall.stream.declined == [("b", hall.full, AGAIN)]
    hall.full = ""
    hall.table.close("paused")
    assert hall.intake.room() == 0
    assert hall.outcomes() == {"received": 2, "executed": 1, "refused": 1}


def test_what_waits_stays_while_no_end_can_be_kept_and_begins_when_it_can() -> None:
    hall = Hall(slots=1)
    hall.offer("a", "b")
    hall.full = "too many results wait for delivery"
    hall.end("a")
    assert hall.begun == ["a"]
    hall.full = ""
    hall.intake.room()
    assert hall.begun == ["a", "b"]
    assert hall.outcomes() == {"received": 2, "executed": 2}


def test_each_offer_that_is_not_taken_is_given_back() -> None:
    hall = Hall()
    hall.ended.add("old")
    hall.intake.handle(Offer(Task("other", "docker")))
    hall.offer("old", "a", "a")
    assert [task for task, *_ in hall.stream.declined] == ["other", "old", "a"]
    assert hall.outcomes() == {"received": 4, "not_mine": 1, "duplicate": 2, "executed": 1}


def test_an_offer_that_cannot_be_given_back_comes_again_by_itself() -> None:
    hall = Hall()
    hall.stream.broken = True
    hall.intake.handle(Offer(Task("other", "docker")))
    assert hall.outcomes() == {"received": 1, "not_mine": 1}


@pytest.mark.parametrize("seed", range(60))
def test_a_stop_finds_what_goes_from_waiting_to_its_slot_at_that_moment(seed: int) -> None:  # G26
    world = Simulation(seed)
    node = world.node("w")
    hall = Hall(slots=1, runtime=node)

    def link() -> None:
        hall.offer("a", "b", "c")
        node.start("task", lambda: hall.end("a"))
        hall.intake.handle(Stop("b", Action.STOP))

    node.start("clock", lambda: node.sleep(10.0))
    node.start("link", link)
    try:
        world.run(lambda: False, 1.0)
    finally:
        world.close()
    run = hall.table.find("b")
    assert hall.stopped == ["b stopped"] or (run is not None and run.token.requested), "the stop was lost"
