"""The line of one task: each way through has one end, told once, and nothing of it is left in hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.guardian.unguarded import NoWatchdog
from adapters.journal.memory import MemoryJournal
from adapters.observability.metrics import MemoryMetrics
from adapters.process.orphans import NoOrphans
from adapters.runtime.threads import ThreadRuntime
from adapters.spool.memory import MemorySpool
from application.announce import Announcer
from application.counters import unaccounted
from application.delivery import Delivery
from application.execution import Contexts, Execution
from application.leases import LeaseKeeper
from application.link import Link
from application.ports import (
    Claim,
    Disk,
    Entry,
    Host,
    Identity,
    Limits,
    LinkTimes,
    NoApprovals,
    NoCredentials,
    Offer,
    Receipt,
    Report,
    Stop,
    Verb,
)
from application.reporting import Reporter
from application.roll import Roll, Uplink
from application.run_task import RunTask, Steps
from application.runs import RunTable
from domain.errors import ConnectionLost, NotFound, Unavailable
from domain.result import EndReason, Result
from domain.runner import CancelRequest, ExecutionContext, RunnerRegistry, Urgency
from domain.status import Status
from domain.task import Metadata, Task

TASK = Task("5f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c11", "fake", save_log=True)
IDENTITY = Identity("me", "w1", tasks=("fake",))
OTHER = "4c3396cf-7601-48b7-aee2-002f906bfdc1"
ENDS = {
    EndReason.STOPPED: "not_started",
    EndReason.KILLED: "not_started",
    EndReason.TIMEOUT: "not_started",
    EndReason.SHUTDOWN: "handed_back",
    EndReason.LEASE_LOST: "handed_back",
    EndReason.SUPERSEDED: "forgotten",
}

Deed = Callable[[], None]


def nothing() -> None:
    """What happens at a step where nothing happens."""


@dataclass
class Clock:
    """How far the time of this test is ahead."""

    ahead: float = 0.0


class Ahead(ThreadRuntime):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return super().now() + self._clock.ahead


class Journal(MemoryJournal):
    """Tells what is written; something may happen at each step."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def accept(self, entry: Entry) -> None:
        self._line.step("accept")
        super().accept(entry)

    def started(self, task_id: str) -> None:
        self._line.step("started")
        super().started(task_id)

    def finish(self, task_id: str, report: Report, finished_at: float) -> None:
        self._line.step("finish")
        super().finish(task_id, report, finished_at)


class Line:
    """One RunTask with all that it needs, over a server that says what it is told to say.

    ``at`` holds what happens at a step before it is done; ``steps`` tells which there were. It is stream, claims,
    outcomes and read-back at once.
    """

    def __init__(self, reads_back: bool = False, limits: Limits | None = None) -> None:
        self.clock, self.steps, self.at = Clock(), list[str](), dict[str, Deed]()
        self.claimed: Claim | None = Claim(TASK, "token")
        self.shown = replace(TASK, status=Status.RUNNING, worker_id="me")
        self.receipts = [Receipt.SENT if reads_back else Receipt.CONFIRMED]
        self.ours = True
        self.keeps_running = True
        self.runs = 0
        runtime = Ahead(self.clock)
        self.metrics, self.journal, self.spool = MemoryMetrics(), Journal(self), MemorySpool()
        self.host = Host(runtime, self.metrics, NoOrphans(), NoWatchdog())
        disk, limits = Disk(self.journal, self.spool), limits or Limits()
        self.table = RunTable(runtime, 1)
        self.leases = LeaseKeeper(self.host, self, limits)
        self.link = Link(self.host, self, LinkTimes(), lambda: IDENTITY)
        self.link.up.set()
        uplink = Uplink(self.link, self, Roll(runtime, self, "me") if reads_back else None, "me")
        self.delivery = Delivery(self.host, disk, uplink, self.table, self.leases, limits)
        self.reporter = Reporter(lambda text: text, 60_000)
        registry = RunnerRegistry()
        registry.register("fake", lambda: OneStep(self))
        execution = Execution(runtime, registry, Contexts(Path(), NoCredentials(), NoApprovals()))
        steps = Steps(
            self, self.leases, Announcer(runtime, uplink, self.leases), execution, self.reporter, self.delivery
        )
        self.run_task = RunTask(self.host, disk, self.table, steps, lambda task: task.is_for("me", "w1"))
        _, found = self.table.admit(Offer(TASK, "delivery"))
        assert found is not None
        self.run = found
        self.metrics.count("events_received")

    def step(self, name: str) -> None:
        self.steps.append(name)
        self.at.get(name, nothing)()

    def carry(self) -> Line:
        self.run_task.carry(self.run)
        return self

    def cancel(self, reason: EndReason) -> None:
        self.run.token.cancel(CancelRequest(reason, Urgency.POLITE))

    # -- what came of it

    @property
    def outcome(self) -> str:
        """What the counters say of the offer; there is exactly one."""
        seen = self.metrics.snapshot()
        assert unaccounted(seen, self.delivery.waiting()) == []
        (found,) = [
            key.removeprefix("events_") for key in seen if key.startswith("events_") and key != "events_received"
        ]
        return found

    @property
    def report(self) -> Report | None:
        """What is to be told, which is in the journal as well."""
        found = [pending.report for pending in self.delivery._reports.values()]
        assert len(found) <= 1
        assert [entry.report for entry in self.journal.entries()] == found
        return found[0] if found else None

    @property
    def left(self) -> bool:
        """Whether the task is out of hand, and its slot free."""
        return self.table.idle.is_set() and self.table.find(TASK.id) is None and not self.leases.proof(TASK.id)

    # -- the server

    def connect(self, identity: Identity) -> None: ...
    def receive(self, room: int, timeout: float) -> Sequence[Offer | Stop]:
        return ()

    def decline(self, offer: Offer, why: str, after: float) -> None:
        assert offer.delivery == "delivery"
        self.step("decline")

    def announce(self, identity: Identity) -> None: ...
    def ping(self) -> None: ...
    def silence(self) -> float:
        return 0.0

    def close(self) -> None: ...

    def claim(self, offer: Offer, token: str, ttl: float, timeout: float) -> Claim | None:
        self.step("claim")
        return self.claimed

    def extend(self, task_id: str, token: str, ttl: float, timeout: float) -> bool:
        self.step("extend")
        return self.ours

    def settle(self, task_id: str, token: str, timeout: float) -> bool:
        assert token == "token"
        self.step("settle")
        return self.ours

    def running(self, task_id: str, token: str) -> Receipt:
        assert token == "token"
        self.step("running")
        return self.receipts.pop(0) if len(self.receipts) > 1 else self.receipts[0]

    def publish(self, report: Report, token: str) -> Receipt:
        raise AssertionError("the delivery loop does not run here")

    progress = hand_back = publish

    def fetch(self, task_id: str) -> Task:
        self.step("fetch")
        return self.shown

    def of_worker(self, worker_id: str, status: Status | None, limit: int) -> Sequence[Task]:
        raise AssertionError("one task alone is read singly")


class OneStep:
    """A runner that succeeds at once unless it was asked to stop."""

    status = Status.PENDING
    result: Result | None = None

    def __init__(self, line: Line) -> None:
        self._line = line
        self._asked = False

    def parse_args(self, command: str, args: str) -> None: ...
    def set_timeout(self, seconds: float | None) -> None: ...
    def execute(self, context: ExecutionContext | None = None) -> Result:
        assert context is not None
        self._line.step("execute")
        self._line.runs += 1
        context.log(b"at work\n")
        if self._asked:
            return Result(Status.STOPPED, EndReason.STOPPED)
        return Result(Status.SUCCESS, EndReason.COMPLETED, output="done")

    def stop(self) -> None:
        self._asked = True

    kill = stop

    def cleanup(self) -> None: ...


def raising(error: Exception) -> Deed:
    def deed() -> None:
        raise error

    return deed


def test_a_task_goes_from_its_claim_to_its_end_in_order() -> None:
    line = Line().carry()
    assert line.steps == ["claim", "accept", "running", "started", "settle", "execute", "finish"]
    assert (line.outcome, line.runs) == ("executed", 1)
    assert line.report is not None
    assert (line.report.verb, line.report.status, line.report.end_reason) == (
        Verb.ENDED,
        Status.SUCCESS,
        EndReason.COMPLETED,
    )
    (entry,) = line.journal.entries()
    assert (entry.phase, entry.started, entry.token, entry.save_log) == ("finished", True, "token", True)
    assert line.table.idle.is_set(), "its slot is free while its end is delivered"
    assert line.spool.finished(TASK.id)
    assert line.spool.peek(TASK.id, 100).data == b"at work\n"


def test_where_only_the_claim_protects_it_stays_until_the_end_is_told() -> None:
    line = Line()
    line.keeps_running = False
    line.carry()
    assert line.steps == ["claim", "accept", "running", "started", "execute", "finish"]
    assert line.leases.holds(TASK.id)


# -- not taken


def test_what_another_has_is_given_back() -> None:
    line = Line()
    line.claimed = None
    line.carry()
    assert (line.steps, line.outcome, line.left) == (["claim", "decline"], "not_claimed", True)


def test_what_cannot_be_claimed_now_is_given_back() -> None:
    line = Line()
    line.at["claim"] = raising(Unavailable("503"))
    line.carry()
    assert (line.steps, line.outcome, line.left) == (["claim", "decline"], "not_claimed", True)


def test_what_the_server_does_not_know_any_more_is_stale() -> None:
    line = Line()
    line.at["claim"] = raising(NotFound("gone"))
    line.carry()
    assert (line.steps, line.outcome, line.left) == (["claim"], "stale", True)


@pytest.mark.parametrize(
    "fresh",
    [
        replace(TASK, status=Status.RUNNING, worker_id="me"),
        replace(TASK, status=Status.SUCCESS),
        replace(TASK, ended=True),
        replace(TASK, metadata=Metadata(worker_select=("w2",))),
        replace(TASK, timeout_at=ThreadRuntime().wall() - timedelta(seconds=60)),
    ],
    ids=["running", "ended", "with an end", "for another", "late"],
)
def test_what_is_not_to_be_run_any_more_is_stale_and_not_asked_for_again(fresh: Task) -> None:  # G20
    line = Line()
    line.claimed = Claim(fresh, "token")
    line.carry()
    assert (line.steps, line.outcome, line.left) == (["claim", "settle"], "stale", True)
    assert line.report is None


def test_what_cannot_be_written_down_is_declined_before_its_claim_is_settled() -> None:  # G7
    line = Line()
    line.journal.fail = True
    line.carry()
    assert (line.steps, line.outcome, line.left) == (["claim", "accept", "decline", "settle"], "refused", True)


# -- announced


def test_what_the_server_says_has_ended_or_runs_elsewhere_is_forgotten() -> None:
    line = Line()
    line.receipts = [Receipt.SUPERSEDED]
    line.carry()
    assert line.steps == ["claim", "accept", "running", "settle"]
    assert (line.outcome, line.left, line.report, line.runs) == ("not_started", True, None, 0)


@pytest.mark.parametrize(
    "shown",
    [
        replace(TASK, status=Status.RUNNING, worker_id=OTHER),
        replace(TASK, status=Status.CANCELED),
        replace(TASK, status=Status.RUNNING, worker_id="me", ended=True),
        None,
    ],
    ids=["foreign", "ended", "with an end", "gone"],
)
def test_what_is_read_to_be_nobody_s_to_start_is_forgotten(shown: Task | None) -> None:  # G4
    line = Line(reads_back=True)
    if shown is None:
        line.at["fetch"] = raising(NotFound("gone"))
    else:
        line.shown = shown
    line.carry()
    assert line.steps == ["claim", "accept", "running", "fetch", "settle"]
    assert (line.outcome, line.left, line.report, line.runs) == ("not_started", True, None, 0)


def test_what_is_not_shown_yet_is_looked_for_until_it_is() -> None:  # G4
    line = Line(reads_back=True)
    running, line.shown = line.shown, TASK

    def show() -> None:
        if line.steps.count("fetch") == 4:
            line.shown = running

    line.at["fetch"] = show
    line.carry()
    assert (line.outcome, line.steps.count("running"), line.steps.count("fetch")) == ("executed", 1, 4)


def test_what_cannot_be_told_for_a_while_is_told_again() -> None:
    line = Line()

    def lose() -> None:
        if line.steps.count("running") < 3:
            raise ConnectionLost("away")

    line.at["running"] = lose
    line.carry()
    assert (line.outcome, line.steps.count("running")) == ("executed", 3)


def test_what_became_late_while_it_was_told_is_handed_back() -> None:
    line = Line()
    line.claimed = Claim(replace(TASK, timeout_at=ThreadRuntime().wall() - timedelta(seconds=4.8)), "token")
    line.at["running"] = raising(ConnectionLost("away"))
    line.carry()
    assert (line.outcome, line.runs) == ("handed_back", 0)
    assert line.report == Report(TASK.id, Verb.HANDED_BACK)


def test_what_lost_its_claim_while_it_was_told_is_handed_back() -> None:  # G13
    line = Line()

    def freeze() -> None:
        line.clock.ahead += 100.0
        raise ConnectionLost("away")

    line.at["running"] = freeze
    line.carry()
    assert (line.outcome, line.runs, line.report) == ("handed_back", 0, Report(TASK.id, Verb.HANDED_BACK))


# -- started


def test_what_cannot_be_written_down_as_started_is_handed_back() -> None:  # G7
    line = Line()
    line.at["started"] = lambda: setattr(line.journal, "fail", True)
    line.at["finish"] = lambda: setattr(line.journal, "fail", False)
    line.carry()
    assert (line.outcome, line.runs, line.report) == ("handed_back", 0, Report(TASK.id, Verb.HANDED_BACK))


def test_what_was_robbed_before_its_start_is_left_alone() -> None:  # G13, G19
    line = Line()
    line.ours = False
    line.carry()
    assert (line.outcome, line.left, line.report, line.runs) == ("not_started", True, None, 0)


def test_what_lost_its_claim_to_time_before_its_start_is_handed_back() -> None:
    line = Line()
    line.ours = False
    line.at["settle"] = lambda: setattr(line.clock, "ahead", 100.0)
    line.carry()
    assert (line.outcome, line.runs, line.report) == ("handed_back", 0, Report(TASK.id, Verb.HANDED_BACK))


# -- stopped


@pytest.mark.parametrize("reason", ENDS)
@pytest.mark.parametrize("step", ["", "claim", "accept", "running", "fetch"])
def test_a_stop_before_the_start_starts_nothing(step: str, reason: EndReason) -> None:  # G26
    line = Line(reads_back=True)
    if step:
        line.at[step] = lambda: line.cancel(reason)
    else:
        line.cancel(reason)
    line.carry()
    assert line.runs == 0
    if ENDS[reason] == "forgotten":
        assert (line.outcome, line.left, line.report) == ("not_started", True, None)
    elif ENDS[reason] == "handed_back":
        assert (line.outcome, line.report) == ("handed_back", Report(TASK.id, Verb.HANDED_BACK))
    else:
        assert line.outcome == "not_started"
        assert line.report is not None
        assert (line.report.verb, line.report.status, line.report.end_reason) == (Verb.ENDED, reason.status, reason)
        assert line.report.error == f"{reason.value} before it started"


@pytest.mark.parametrize("reason", ENDS)
@pytest.mark.parametrize("step", ["started", "settle", "execute"])
def test_a_stop_from_the_start_on_ends_the_run_for_its_reason(step: str, reason: EndReason) -> None:  # G26, G29
    line = Line()
    line.at[step] = lambda: line.cancel(reason)
    line.carry()
    assert (line.outcome, line.runs) == ("executed", 1)
    assert line.report is not None
    assert (line.report.verb, line.report.end_reason, line.report.status) == (Verb.ENDED, reason, reason.status)


def test_a_stop_that_comes_after_the_end_changes_nothing() -> None:
    line = Line()
    line.at["finish"] = lambda: line.cancel(EndReason.STOPPED)
    line.carry()
    assert line.report is not None
    assert line.report.status is Status.SUCCESS


# -- defects


@pytest.mark.parametrize("error", [RuntimeError("odd"), SystemExit("odd")], ids=repr)
@pytest.mark.parametrize("step", ["claim", "accept", "running", "started", "settle"])
def test_a_defect_at_any_step_ends_the_task_once(step: str, error: Exception) -> None:  # G61
    line = Line()
    done = line.at[step] = raising(error)
    assert done is not nothing
    line.carry()
    assert (line.outcome, line.runs) == ("not_started", 0)
    (pending,) = line.delivery._reports.values()
    assert (pending.report.end_reason, pending.report.status) == (EndReason.INTERNAL, Status.ERROR)
    assert "odd" in pending.report.error
    assert line.table.idle.is_set()


def test_a_result_that_cannot_be_reported_ends_the_task_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:  # G1
    line = Line()
    final = line.reporter.final

    def odd(task_id: str, result: Result) -> Report:
        if result.status is Status.SUCCESS:
            raise TypeError("odd result")
        return final(task_id, result)

    monkeypatch.setattr(line.reporter, "final", odd)
    line.carry()
    assert line.outcome == "executed"
    assert line.report is not None
    assert (line.report.end_reason, "odd result" in line.report.error) == (EndReason.INTERNAL, True)


def test_an_end_that_cannot_be_written_down_is_told_from_memory() -> None:  # G7
    line = Line()
    line.at["finish"] = lambda: setattr(line.journal, "fail", True)
    line.carry()
    (pending,) = line.delivery._reports.values()
    assert (line.outcome, pending.report.status) == ("executed", Status.SUCCESS)
    assert TASK.id in line.delivery._unwritten


def test_a_task_that_goes_on_at_the_server_is_told_as_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line()
    goes_on = Result(Status.RUNNING, EndReason.COMPLETED, output='{"approval_id":"a"}')
    monkeypatch.setattr(OneStep, "execute", lambda self, context: goes_on)
    line.carry()
    assert line.report is not None
    assert (line.report.verb, line.report.status, line.report.end_reason) == (Verb.PROGRESS, None, None)
