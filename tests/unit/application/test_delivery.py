"""What is told of a task that may be another's by now: nothing before it was seen (G16)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adapters.guardian.unguarded import NoWatchdog
from adapters.journal.memory import MemoryJournal
from adapters.observability.metrics import MemoryMetrics
from adapters.process.orphans import NoOrphans
from adapters.spool.memory import MemorySpool
from adapters.testkit.simulation import Simulation
from application.delivery import Delivery
from application.leases import LeaseKeeper
from application.link import Link
from application.ports import (
    Claim,
    Disk,
    Host,
    Identity,
    Limits,
    LinkTimes,
    Offer,
    Receipt,
    Report,
    Stop,
    Verb,
)
from application.roll import TOGETHER, Roll, Uplink
from application.runs import RunTable
from domain.errors import ConnectionLost, Unavailable
from domain.result import EndReason
from domain.status import Status
from domain.task import Task

IDENTITY = Identity("me", "w1")


class Peer:
    """Stream, claims, outcomes and read-back; it says what it is told to, and remembers the order."""

    keeps_running = True

    def __init__(self) -> None:
        self.told: list[str] = []
        self.receipt = Receipt.SENT
        self.broken = False
        self.seen: dict[str, Task] = {}
        self.listed: list[Task] = []
        self.silent = False

    def connect(self, identity: Identity) -> None: ...
    def receive(self, room: int, timeout: float) -> Sequence[Offer | Stop]:
        return ()

    def decline(self, offer: Offer, why: str, after: float) -> None: ...
    def announce(self, identity: Identity) -> None: ...
    def ping(self) -> None: ...
    def silence(self) -> float:
        return 0.0

    def close(self) -> None: ...

    def claim(self, offer: Offer, token: str, ttl: float, timeout: float) -> Claim | None:
        return None

    def extend(self, task_id: str, token: str, ttl: float, timeout: float) -> bool:
        return False

    def settle(self, task_id: str, token: str, timeout: float) -> bool:
        return True

    def running(self, task_id: str, token: str) -> Receipt:
        return self.receipt

    def publish(self, report: Report, token: str) -> Receipt:
        if self.broken:
            raise ConnectionLost("away")
        self.told.append(f"publish {report.task_id}")
        return self.receipt

    progress = hand_back = publish

    def fetch(self, task_id: str) -> Task:
        self.told.append(f"fetch {task_id}")
        if self.silent:
            raise Unavailable("503")
        return self.seen.get(task_id, Task(task_id, "fake", status=Status.RUNNING, worker_id="me"))

    def of_worker(self, worker_id: str, status: Status | None, limit: int) -> Sequence[Task]:
        self.told.append("list")
        return self.listed


class Outbox:
    def __init__(self, confirms: bool = False) -> None:
        self.world = Simulation(1)
        self.node = node = self.world.node("w")
        self.peer, self.metrics, self.journal = Peer(), MemoryMetrics(), MemoryJournal()
        if confirms:
            self.peer.receipt = Receipt.CONFIRMED
        host = Host(node, self.metrics, NoOrphans(), NoWatchdog())
        self.table = RunTable(node, 10)
        leases = LeaseKeeper(host, self.peer, Limits())
        link = Link(host, self.peer, LinkTimes(), lambda: IDENTITY)
        link.up.set()
        self.roll = None if confirms else Roll(node, self.peer, "me")
        uplink = Uplink(link, self.peer, self.roll, "me")
        self.delivery = Delivery(host, Disk(self.journal, MemorySpool()), uplink, self.table, leases, Limits())
        node.start("delivery", lambda: self.delivery.run(lambda: False))

    def add(self, *task_ids: str, verb: Verb = Verb.ENDED) -> None:
        """Ends of a previous run: nothing tells whose these tasks are now."""
        for task_id in task_ids:
            run = self.table.adopt(Task(task_id, "fake"))
            assert run is not None
            ended = verb is Verb.ENDED
            status, reason = (Status.ERROR, EndReason.WORKER_LOST) if ended else (None, None)
            self.delivery.add(run, Report(task_id, verb, status, reason))

    def live(self, seconds: float) -> None:
        self.world.run(lambda: False, seconds)


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


def test_what_is_seen_to_run_here_still_is_told(outbox: Outbox) -> None:
    outbox.add("a")
    outbox.live(1.0)
    assert outbox.peer.told[:2] == ["fetch a", "publish a"]
    outbox.world.close()


def test_what_no_list_shows_is_read_before_anything_is_told(outbox: Outbox) -> None:
    assert outbox.roll is not None
    tasks = [str(number) for number in range(TOGETHER + 2)]
    for task in tasks:
        outbox.peer.seen[task] = Task(task, "fake", status=Status.RUNNING, worker_id="another")
    with outbox.roll.waiting(TOGETHER):
        outbox.add(*tasks)
        outbox.live(60.0)
    assert not [call for call in outbox.peer.told if call.startswith("publish")]
    assert outbox.delivery.waiting() == 0, "each is seen to be another's and left alone"
    assert "list" in outbox.peer.told
    outbox.world.close()


def test_what_cannot_be_looked_for_is_not_told(outbox: Outbox) -> None:
    outbox.peer.silent = True
    outbox.add("a")
    outbox.live(60.0)
    assert "publish a" not in outbox.peer.told
    outbox.peer.silent = False
    outbox.live(5.0)
    assert "publish a" in outbox.peer.told
    outbox.world.close()


def test_what_the_server_confirms_is_told_once_and_read_by_nobody() -> None:
    outbox = Outbox(confirms=True)
    outbox.add("a")
    outbox.live(60.0)
    assert outbox.peer.told == ["publish a"]
    assert (outbox.delivery.waiting(), outbox.delivery.recently_ended("a")) == (0, False)
    outbox.world.close()


@pytest.mark.parametrize(("verb", "counted"), [(Verb.ENDED, 1), (Verb.HANDED_BACK, 1), (Verb.PROGRESS, 0)])
def test_an_end_that_the_server_has_from_others_is_told_in_the_log(
    verb: Verb, counted: int, caplog: pytest.LogCaptureFixture
) -> None:
    """To be overtaken is the way of an approval, and no news."""
    outbox = Outbox(confirms=True)
    outbox.peer.receipt = Receipt.SUPERSEDED
    outbox.add("a", verb=verb)
    outbox.live(1.0)
    assert outbox.delivery.waiting() == 0
    assert outbox.metrics.snapshot().get("results_superseded", 0) == counted
    assert ("superseded" in caplog.text) == bool(counted)
    outbox.world.close()


def test_what_cannot_be_told_is_tried_once_a_second() -> None:
    outbox = Outbox(confirms=True)
    outbox.peer.broken = True
    outbox.add("a")
    outbox.live(30.0)
    assert outbox.delivery.waiting() == 1
    outbox.peer.broken = False
    outbox.live(2.0)
    assert (outbox.delivery.waiting(), outbox.peer.told) == (0, ["publish a"])
    outbox.world.close()
