"""Approvals through a whole worker: what was asked is withdrawn with its task, and asked once (A2, A4)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.runners.approval import ApprovalRunner
from adapters.testkit.model.faults import DISCARD, REFUSE, Fault
from adapters.testkit.model.network import MemoryServer
from adapters.testkit.workers import WorkerKit
from application.ports import Identity, Limits
from domain.runner import RunnerRegistry

ARGS = json.dumps({"title": "Release?", "user_ids": ["u-1"]})
Start = Callable[[], WorkerKit]


@pytest.fixture
def start(server: MemoryServer, tmp_path: Path) -> Iterator[Start]:
    kits: list[WorkerKit] = []
    registry = RunnerRegistry()
    registry.register("approval", ApprovalRunner)

    def make() -> WorkerKit:
        identity = Identity("6f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c12", "w1", tasks=("approval",))
        kit = WorkerKit(server.network(), registry, Limits(drain=1.0, reconnect_cap=0.05), identity, root=tmp_path)
        kits.append(kit)
        kit.worker.start()
        assert kit.worker.link.up.wait(5)
        return kit

    yield make
    for kit in kits:
        kit.stop()


def asked(server: MemoryServer) -> str:
    """A task whose question is out, as its output tells."""
    task = server.add_task(category="approval", args=ARGS)
    server.offer(task)
    until(lambda: "approval_id" in server.task(task)["output"])
    return task


def until(what: Callable[[], object]) -> None:
    for _ in range(1000):
        if what():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen in time")


def approvals(server: MemoryServer) -> list[str]:
    with server.guard:
        return [row["status"] for row in server.model.approvals.values()]


@pytest.mark.parametrize("force", [False, True])
def test_a_stop_withdraws_what_was_asked(server: MemoryServer, start: Start, force: bool) -> None:  # A2
    start()
    task = asked(server)
    assert approvals(server) == ["pending"]
    assert server.stop_task(task, force) == 200
    server.wait_for(task, "cancelled")  # the server's own word for a task whose approval was withdrawn
    assert approvals(server) == ["cancelled"]


def test_a_later_run_of_the_worker_withdraws_it_too(server: MemoryServer, start: Start) -> None:  # A2
    first = start()
    task = asked(server)
    assert first.worker.delivery.empty.wait(5)
    first.stop()
    start()
    assert server.stop_task(task) == 200
    server.wait_for(task, "cancelled")
    assert approvals(server) == ["cancelled"]


def test_a_stop_that_comes_before_the_question_is_reported_is_not_lost(server: MemoryServer, start: Start) -> None:
    """A2: the run has ended, its report is on its way, and nobody hears a stop any more."""
    start()
    server.model.faults.add(Fault("update *", DISCARD, nth=2))
    task = server.add_task(category="approval", args=ARGS)
    server.offer(task)
    until(lambda: server.model.history.of("update lost", task))
    assert server.stop_task(task) == 200
    server.wait_for(task, "cancelled")
    assert approvals(server) == ["cancelled"]


def test_a_withdrawal_that_fails_is_tried_again(server: MemoryServer, start: Start) -> None:  # A2
    start()
    task = asked(server)
    server.model.faults.add(Fault("approvals/action *", REFUSE, nth=1, status=503))
    assert server.stop_task(task) == 200
    server.wait_for(task, "cancelled")
    assert approvals(server) == ["cancelled"]


def test_a_question_that_no_output_tells_of_is_withdrawn_too(server: MemoryServer, start: Start) -> None:  # A2
    """The report of the run was overwritten, or never came."""
    kit = start()
    task = asked(server)
    assert kit.worker.delivery.empty.wait(5)
    with server.guard:
        server.model.tasks[task]["output"] = ""
    assert server.stop_task(task) == 200
    server.wait_for(task, "cancelled")
    assert approvals(server) == ["cancelled"]


def test_a_later_run_asks_nothing_again(server: MemoryServer, start: Start) -> None:  # A4
    first = start()
    task = asked(server)
    assert first.worker.delivery.empty.wait(5)
    first.stop()
    with server.guard:
        server.model.tasks[task] |= {"status": "pending", "worker_id": "", "output": ""}
    start()
    server.offer(task)
    until(lambda: "approval_id" in server.task(task)["output"])
    assert approvals(server) == ["pending"]


def test_a_task_whose_approval_is_not_there_any_more_is_reported_stopped(server: MemoryServer, start: Start) -> None:
    start()
    task = asked(server)
    with server.guard:
        server.model.approvals.clear()
    assert server.stop_task(task) == 200
    server.wait_for(task, "stopped")


def test_a_task_that_is_delivered_again_asks_once(server: MemoryServer, start: Start) -> None:  # A4
    kit = start()
    task = asked(server)
    first = json.loads(server.task(task)["output"])["approval_id"]
    assert kit.worker.delivery.empty.wait(5)
    with server.guard:
        server.model.tasks[task] |= {"status": "pending", "worker_id": "", "output": ""}
    server.offer(task)
    until(lambda: "approval_id" in server.task(task)["output"])
    assert json.loads(server.task(task)["output"])["approval_id"] == first
    assert approvals(server) == ["pending"]
    assert kit.metrics.snapshot()["events_executed"] == 2


def test_a_task_that_was_stopped_and_is_delivered_again_asks_anew(server: MemoryServer, start: Start) -> None:  # A4
    """Nobody could answer the withdrawn question."""
    kit = start()
    task = asked(server)
    server.stop_task(task)
    server.wait_for(task, "cancelled")
    until(lambda: kit.worker.table.find(task) is None)
    with server.guard:
        server.model.tasks[task] |= {"status": "pending", "worker_id": "", "output": "", "time_end": None}
    server.offer(task)
    until(lambda: approvals(server) == ["cancelled", "pending"])
