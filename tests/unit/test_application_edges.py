"""Corners of the use-cases that a whole world seldom comes to."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.journal.memory import MemoryJournal
from adapters.process.supervisor import Supervisor
from adapters.runners.base import BaseRunner
from adapters.runners.command import CommandRunner
from adapters.runtime.threads import ThreadRuntime
from adapters.spool.memory import MemorySpool
from adapters.testkit.model.network import MemoryServer
from adapters.testkit.simulation import Simulation
from adapters.testkit.workers import WorkerKit
from application.backoff import Backoff
from application.execution import Execution, true_cause
from application.loops import HANG, Closing, Loops
from application.ports import Entry, Limits, Offer, Report, Verb
from application.runs import Run
from domain.result import EndReason, Result
from domain.runner import CancelRequest, CancelToken, ExecutionContext, RunnerRegistry
from domain.status import Status
from domain.task import Metadata, Task

OVER = ("success", "failed", "error", "timeout", "stopped", "canceled")


@pytest.fixture
def registry() -> Iterator[RunnerRegistry]:
    processes = Supervisor()
    found = RunnerRegistry()
    found.register("command", lambda: CommandRunner(processes))
    yield found
    processes.close()


def until(what: object, seconds: float = 10.0) -> None:
    assert callable(what)
    end = ThreadRuntime().now() + seconds
    while not what():
        assert ThreadRuntime().now() < end
        threading.Event().wait(0.01)


# -- backoff and loops


def test_delays_are_spread_capped_and_start_again() -> None:  # G46
    backoff = Backoff(Simulation(3).node("a"), 1.0, 30.0)
    delays = [backoff.next_delay() for _ in range(50)]
    assert max(delays) <= 30.0
    assert len({round(delay, 3) for delay in delays[10:]}) > 30
    assert min(delays[10:]) < 10.0
    assert backoff.next_delay(at_least=90.0) == 90.0
    backoff.reset()
    assert backoff.next_delay() <= 1.0


def test_a_loop_that_dies_is_heard_of(caplog: pytest.LogCaptureFixture) -> None:
    runtime = ThreadRuntime()
    loops = Loops(runtime)
    loops.start("bad", lambda closing: 1 / 0 and None)
    assert loops.broken.wait(5)
    assert isinstance(loops.failed, ZeroDivisionError)
    assert loops.join(runtime.now() + 5) == []


@pytest.mark.parametrize(("watched", "found"), [(True, ["stuck"]), (False, [])])
def test_a_loop_that_does_not_come_round_is_found_and_sleep_of_the_machine_is_not(  # G62
    watched: bool, found: list[str]
) -> None:
    world = Simulation(1)
    node = world.node("w")
    loops, seen, done = Loops(node), [], node.event()

    def look() -> None:
        node.sleep(1.0)
        for _ in range(3):
            seen.append(loops.find_hanging())
            node.sleep(100_000.0)  # asleep: whoever looks was away as long as the loops were
        for _ in range(int(HANG) + 2):
            seen.append(loops.find_hanging())
            node.sleep(1.0)
        done.set()

    def stuck(closing: Closing) -> None:
        closing()
        done.wait()

    loops.start("stuck", stuck, watched)
    node.start("look", look)
    try:
        assert world.run(done.is_set, 1e6)
    finally:
        world.close()
    assert (seen[:4], seen[-1], loops.broken.is_set()) == ([[]] * 4, found, watched)


# -- what a previous run left, and orphans


def test_each_state_of_a_previous_run_has_its_end(server: MemoryServer, registry: RunnerRegistry) -> None:  # G5, G6
    journal, spool = MemoryJournal(), MemorySpool()
    network = server.network()
    kit = WorkerKit(network, registry, journal=journal, spool=spool)
    me = kit.identity.id
    running = {"status": "running", "worker_id": me, "category": "command"}
    finished, started, accepted, unknown, approval = (server.add_task(**running) for _ in range(5))
    server.model.tasks[approval]["category"] = "approval"
    foreign = server.add_task(status="running", worker_id="4c3396cf-7601-48b7-aee2-002f906bfdc1")
    journal.accept(Entry(finished, "accepted", save_log=True))
    journal.finish(finished, Report(finished, Verb.ENDED, Status.FAILED, EndReason.EXIT_CODE, '{"exit_code":7}'), 1.0)
    journal.accept(Entry(started, "accepted", category="command"))
    journal.started(started)
    journal.running(started, 1, 1, "other boot")
    journal.accept(Entry(accepted, "accepted", category="command", token="x"))
    journal.accept(Entry(foreign, "accepted", category="command"))
    server.model.tasks[accepted]["command"] = "true"
    spool.open(finished)
    spool.write(finished, b"rest of the log")
    kit.worker.start()
    assert server.wait_for(finished, *OVER)["output"] == '{"exit_code":7}'
    assert "worker_lost" in server.wait_for(started, *OVER)["output"]
    assert "worker_lost" in server.wait_for(unknown, *OVER)["output"]
    assert server.wait_for(accepted, *OVER)["status"] == "success"  # handed back, and run as it should be
    until(lambda: not journal.entries())
    assert server.log(finished) == "rest of the log"
    assert server.task(approval)["status"] == "running"
    assert server.task(foreign)["status"] == "running"
    kit.stop()


def test_a_stop_for_a_task_that_is_not_here_ends_only_an_orphan_of_ours(
    server: MemoryServer, registry: RunnerRegistry
) -> None:  # G22, T3
    kit = WorkerKit(server.network(), registry)
    kit.worker.start()
    kit.worker.link.up.wait(5)
    until(lambda: not kit.worker.recovery._reconcile)
    threading.Event().wait(0.2)
    mine = server.add_task(status="running", worker_id=kit.identity.id)
    other = server.add_task(status="running", worker_id="4c3396cf-7601-48b7-aee2-002f906bfdc1")
    for task in (mine, other, "00000000-0000-4000-8000-000000000000"):
        kit.worker.recovery.suspect(task)
    assert server.wait_for(mine, *OVER)["status"] == "stopped"
    assert server.task(other)["status"] == "running"
    kit.stop()


def test_a_result_that_the_server_never_takes_is_buried_and_blocks_nobody(
    server: MemoryServer, registry: RunnerRegistry
) -> None:  # G12
    journal = MemoryJournal()
    kit = WorkerKit(server.network(), registry, Limits(grace=0.5, drain=1.0, dead_letter_age=0.0), journal=journal)
    gone = "00000000-0000-4000-8000-000000000001"
    journal.accept(Entry(gone, "accepted"))
    journal.finish(gone, Report(gone, Verb.ENDED, Status.SUCCESS, EndReason.COMPLETED, "{}"), 1.0)
    kit.worker.start()
    good = server.add_task()
    server.offer(good)
    assert server.wait_for(good, *OVER)["status"] == "success"
    until(lambda: journal.dead_letters)
    assert list(journal.dead_letters) == [gone]
    kit.stop()


def test_without_a_journal_nothing_is_started_and_a_started_end_is_delivered(
    server: MemoryServer, registry: RunnerRegistry, tmp_path: Path
) -> None:  # G7
    journal = MemoryJournal()
    kit = WorkerKit(server.network(), registry, journal=journal, root=tmp_path)
    kit.worker.start()
    task = server.add_task(command=f"touch {tmp_path}/begun; sleep 0.5; exit 3")
    server.offer(task)
    until((tmp_path / "begun").exists)
    journal.fail = True
    refused = server.add_task(command=f"touch {tmp_path}/witness")
    server.offer(refused)
    assert server.wait_for(task, *OVER)["status"] == "failed"
    assert not (tmp_path / "witness").exists()
    journal.fail = False
    assert server.wait_for(refused, *OVER)["status"] == "success"
    kit.stop()


def test_a_full_outbox_takes_no_more_tasks(server: MemoryServer, registry: RunnerRegistry) -> None:  # G10
    kit = WorkerKit(server.network(), registry, Limits(grace=0.5, drain=1.0, outbox=0))
    kit.worker.start()
    task = server.add_task()
    server.offer(task)
    until(lambda: kit.metrics.snapshot().get("events_refused"))
    assert server.task(task)["status"] == "pending"
    kit.stop()


# -- execution


class Odd:
    """A runner that breaks every habit."""

    status = Status.PENDING
    result = None

    def __init__(self, where: str, error: BaseException | None = None, returns: object = None) -> None:
        self._where = where
        self._error = error or RuntimeError(f"odd {where}")
        self._returns = returns

    def _maybe(self, where: str) -> None:
        if where == self._where:
            raise self._error

    def parse_args(self, command: str, args: str) -> None:
        self._maybe("parse")

    def set_timeout(self, seconds: float | None) -> None: ...

    def execute(self, context: ExecutionContext | None = None) -> Result:
        self._maybe("execute")
        return self._returns or Result(Status.SUCCESS, EndReason.COMPLETED)  # type: ignore[return-value]

    def stop(self) -> None:
        self._maybe("stop")

    def kill(self) -> None: ...

    def cleanup(self) -> None:
        self._maybe("cleanup")


def made_run(task: Task) -> Run:
    return Run(task, Offer(task))


class NoContexts:
    def make(self, task: Task, write: object) -> ExecutionContext:
        return ExecutionContext()


@pytest.mark.parametrize(
    ("where", "status"), [("parse", "error"), ("execute", "error"), ("stop", "success"), ("cleanup", "success")]
)
def test_whatever_a_runner_does_exactly_one_result_comes_out(where: str, status: str) -> None:  # T1, T2, T4
    registry = RunnerRegistry()
    registry.register("odd", lambda: Odd(where))
    run = made_run(Task("t", "odd"))
    if where == "stop":
        run.token.cancel(CancelRequest(EndReason.STOPPED))
    result = Execution(ThreadRuntime(), registry, NoContexts()).run(run, lambda _: None)  # type: ignore[arg-type]
    assert (result.status, result.start is not None, result.end is not None) == (status, True, True)


@pytest.mark.parametrize("error", [SystemExit(3), MemoryError(), RecursionError()], ids=repr)
@pytest.mark.parametrize("where", ["parse", "execute", "stop", "cleanup"])
def test_a_runner_that_would_end_the_program_ends_only_its_task(where: str, error: BaseException) -> None:  # G61
    registry = RunnerRegistry()
    registry.register("odd", lambda: Odd(where, error))
    run = made_run(Task("t", "odd"))
    run.token.cancel(CancelRequest(EndReason.STOPPED))
    result = Execution(ThreadRuntime(), registry, NoContexts()).run(run, lambda _: None)  # type: ignore[arg-type]
    assert result.end_reason is (EndReason.INTERNAL if where in ("parse", "execute") else EndReason.COMPLETED)


@pytest.mark.parametrize("rubbish", ["done", {"status": "success"}, 7])
def test_what_is_no_result_is_told_by_its_name(rubbish: object) -> None:
    registry = RunnerRegistry()
    registry.register("odd", lambda: Odd("never", returns=rubbish))
    result = Execution(ThreadRuntime(), registry, NoContexts()).run(made_run(Task("t", "odd")), lambda _: None)  # type: ignore[arg-type]
    assert (result.status, result.error) == (
        Status.ERROR,
        f"TypeError: execute returned {type(rubbish).__name__} and not a Result",
    )


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (lambda runner: None, "run returned NoneType"),
        (lambda runner: "done", "run returned str"),
        (lambda runner: sys.exit(3), "SystemExit: 3"),
        (lambda runner: runner.end(EndReason.COMPLETED, output={"a": 1}), "output of a result must be str, not dict"),
        (lambda runner: Result("success", EndReason.COMPLETED), "status of a result must be Status, not str"),  # type: ignore[arg-type]
    ],
)
def test_a_runner_of_the_base_that_returns_rubbish_is_told_what_to_return(run: Any, told: str) -> None:
    class Rubbish(BaseRunner):
        def parse_args(self, command: str, args: str) -> None: ...
        def run(self, context: ExecutionContext) -> Result:
            return run(self)  # type: ignore[no-any-return]

    runner = Rubbish()
    runner.parse_args("", "")
    result = runner.execute()
    assert (result.status, told in result.error) == (Status.ERROR, True), result.error


@pytest.mark.parametrize(
    "task", [Task("t", "nobody"), Task("t", "odd", metadata=Metadata(problem="metadata.environment is not an object"))]
)
def test_what_cannot_be_run_says_so(task: Task) -> None:
    registry = RunnerRegistry()
    registry.register("odd", lambda: Odd("never"))
    result = Execution(ThreadRuntime(), registry, NoContexts()).run(made_run(task), lambda _: None)  # type: ignore[arg-type]
    assert (result.status, result.end_reason) == (Status.ERROR, EndReason.INVALID_TASK)
    assert result.error


def test_the_true_reason_replaces_a_bare_stop() -> None:
    token = CancelToken()
    token.cancel(CancelRequest(EndReason.LEASE_LOST, note="the lock was lost"))
    stopped = Result(Status.STOPPED, EndReason.STOPPED, error="stopped")
    assert true_cause(stopped, token, owned=lambda: True) == (EndReason.LEASE_LOST, "the lock was lost")
    finished = Result(Status.SUCCESS, EndReason.COMPLETED)
    assert true_cause(finished, token, owned=lambda: True) is None
