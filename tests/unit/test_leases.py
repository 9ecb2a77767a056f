"""Leases of many tasks on a slow server, in virtual time (G13, G14)."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from adapters.guardian.unguarded import NoWatchdog
from adapters.observability.metrics import MemoryMetrics
from adapters.process.orphans import NoOrphans
from adapters.testkit.simulation import EPOCH, SimNode, Simulation
from application.leases import OVERRUN, LeaseKeeper
from application.ports import Claim, Host, Limits, Offer, Watchdog
from application.worker import RENEWERS
from domain.errors import Unavailable
from domain.task import Task


def offer(task_id: str) -> Offer:
    return Offer(Task(task_id, "fake"))


class Granting:
    """The Claims port of a server that gives each task to whoever asks, and where the claim protects the run."""

    keeps_running = False

    def claim(self, offer: Offer, token: str, ttl: float, timeout: float) -> Claim | None:
        return Claim(offer.task, "value")

    def settle(self, task_id: str, token: str, timeout: float) -> bool:
        return True


class SlowLocks(Granting):
    """Each renewal takes half a second, and one at a time for each lock; the first ``failing`` ones fail.

    While the first one is under way, the worker's process stands still for ``frozen`` seconds.
    """

    def __init__(self, node: SimNode, failing: int = 0, frozen: float = 0.0) -> None:
        self._node = node
        self._failing = failing
        self._frozen = frozen
        self.under_way: Counter[str] = Counter()
        self.renewed = 0

    def extend(self, key: str, token: str, ttl: float, timeout: float) -> bool:
        assert self.under_way[key] == 0, "two renewals of one lock at a time"
        self.under_way[key] += 1
        if self._frozen:
            self._node.freeze(self._frozen)
            self._frozen = 0.0
        self._node.sleep(0.5)
        self.under_way[key] -= 1
        if self._failing:
            self._failing -= 1
            raise Unavailable("not now")
        self.renewed += 1
        return True


def host(node: SimNode, watchdog: Watchdog | None = None) -> Host:
    return Host(node, MemoryMetrics(), NoOrphans(), watchdog or NoWatchdog())


def hold(count: int, loops: int = RENEWERS, failing: int = 0, frozen: float = 0.0) -> tuple[list[int], SlowLocks]:
    """Hold ``count`` locks for five minutes of virtual time; which were lost, and what the server saw."""
    world = Simulation(3)
    node = world.node("w")
    locks, lost = SlowLocks(node, failing, frozen), []
    keeper = LeaseKeeper(host(node), locks, Limits(lease_ttl=60.0, acquire_ttl=60.0))
    over = node.event()

    def claim() -> None:
        for number in range(count):
            keeper.claim(offer(str(number)), lambda number=number: lost.append(number))  # type: ignore[misc]
        node.sleep(300.0)
        over.set()

    node.start("claim", claim)
    for number in range(loops):
        node.start(f"leases-{number}", lambda: keeper.run(over.is_set))
    try:
        assert world.run(over.is_set, 400.0)
    finally:
        world.close()
    return lost, locks


def test_a_slow_server_costs_no_lock_of_two_hundred_tasks() -> None:
    lost, locks = hold(200)
    assert (lost, locks.renewed > 2000) == ([], True)


def test_renewals_that_fail_for_a_while_are_tried_again_in_time() -> None:
    lost, locks = hold(1, failing=10)
    assert (lost, locks.renewed > 10) == ([], True)


def test_a_renewal_that_comes_after_the_end_is_none() -> None:
    """The guardian may have killed the task meanwhile."""
    lost, _ = hold(1, loops=1, frozen=45.0)
    assert lost == [0]


class Deaf(Granting):
    """Grants each lock, and never answers a renewal."""

    def __init__(self, node: SimNode) -> None:
        self._node = node

    def extend(self, task_id: str, token: str, ttl: float, timeout: float) -> bool:
        self._node.sleep(timeout)
        raise Unavailable("no answer in time")


@pytest.mark.parametrize("apart", [34.0, 34.25, 34.5, 34.75])
def test_a_renewal_that_is_never_answered_hides_the_end_of_no_other_lock_for_long(apart: float) -> None:  # G15
    """The young lock is being renewed, in vain, by the only loop when the old one ends."""
    world = Simulation(3)
    node = world.node("w")
    keeper = LeaseKeeper(host(node), Deaf(node), Limits(acquire_ttl=60.0))
    over, late = node.event(), []

    def claim(task: str) -> None:
        def lost() -> None:
            late.append(node.now() - keeper._leases[task].deadline)

        assert keeper.claim(offer(task), lost) is not None

    def claims() -> None:
        claim("old")
        node.sleep(apart)
        claim("young")
        node.sleep(60.0)
        over.set()

    node.start("claims", claims)
    node.start("leases", lambda: keeper.run(over.is_set))
    try:
        assert world.run(over.is_set, 120.0)
    finally:
        world.close()
    assert (len(late), max(late) < OVERRUN + 0.1) == (2, True), late


class Store:
    """The server's claims, what it says next, and the guardian. ``answer``: None is no answer."""

    def __init__(self, node: SimNode, keeps_running: bool = True) -> None:
        self._node = node
        self.keeps_running = keeps_running
        self.lost = False
        self.answer: bool | None = True
        self.slow = 0.0
        self.calls: list[tuple[str, float]] = []
        self.deadlines: dict[str, float] = {}  # what the guardian was told

    def claim(self, offer: Offer, token: str, ttl: float, timeout: float) -> Claim | None:
        return Claim(offer.task, "value") if self._say("claim", ttl) else None

    def extend(self, task_id: str, token: str, ttl: float, timeout: float) -> bool:
        return self._say("extend", ttl)

    def settle(self, task_id: str, token: str, timeout: float) -> bool:
        return self._say("settle", 0.0)

    def hello(self, shutdown: float) -> None: ...
    def beat(self) -> None: ...
    def close(self) -> None: ...

    def lease(self, task_id: str, deadline: float) -> None:
        self.deadlines[task_id] = deadline

    def ended(self, task_id: str) -> None:
        self.deadlines.pop(task_id, None)

    def _say(self, call: str, ttl: float) -> bool:
        self.calls.append((call, ttl))
        if self.slow:
            self._node.sleep(self.slow)
        if self.answer is None:
            raise Unavailable("no answer")
        return self.answer


def running(hold: float = 0.0) -> Task:
    """A task whose start deadline is so near, or so far, that its lock is needed ``hold`` seconds longer."""
    return Task("t", "command", timeout_at=EPOCH + timedelta(days=0 if hold else 365))


def claimed(limits: Limits, keeps_running: bool = True) -> tuple[Simulation, SimNode, Store, LeaseKeeper, list[str]]:
    world = Simulation(3)
    node = world.node("w")
    store, lost = Store(node, keeps_running), list[str]()
    keeper = LeaseKeeper(host(node, store), store, limits)
    assert keeper.claim(offer("t"), lambda: lost.append("t")) is not None
    return world, node, store, keeper, lost


@pytest.mark.parametrize(("hold", "last"), [(0.0, ("settle", 0.0)), (10.0, ("extend", 10.0))])
def test_a_task_that_was_read_to_run_needs_no_lock_any_more(hold: float, last: tuple[str, float]) -> None:
    world, _, store, keeper, lost = claimed(Limits())
    assert keeper.fence(running(hold))
    assert (keeper.owns("t"), keeper.holds("t"), store.calls[-1], store.deadlines) == (True, False, last, {})
    world.node("w").start("leases", lambda: keeper.run(lambda: False))
    world.run(lambda: False, 1000.0)
    world.close()
    assert (keeper.owns("t"), lost, store.calls[-1]) == (True, [], last)
    keeper.release("t")
    assert (keeper.owns("t"), store.calls[-1]) == (False, last), "there is no lock to give back"


@pytest.mark.parametrize("hold", [0.0, 10.0])
@pytest.mark.parametrize(
    ("answer", "later", "ours"), [(False, 0.0, False), (None, 0.0, True), (None, 100.0, False)], ids=str
)
def test_a_lock_that_was_not_ours_any_more_starts_nothing(
    hold: float, answer: bool | None, later: float, ours: bool
) -> None:
    """Where the server does not say, our own clock does."""
    world, _, store, keeper, _ = claimed(Limits())
    store.answer = answer
    world.time += later
    assert (keeper.fence(running(hold)), keeper.owns("t")) == (ours, ours)


@pytest.mark.parametrize(
    ("wanted", "keeps_running", "fenced"),
    [("auto", True, True), ("auto", False, False), ("keep", False, True), ("stop", True, False)],
)
def test_what_protects_a_run_is_as_the_server_says_unless_it_is_set(
    wanted: str, keeps_running: bool, fenced: bool
) -> None:
    _, _, store, keeper, _ = claimed(Limits(on_lost_lease=wanted), keeps_running)
    assert keeper.fence(running())
    assert (keeper.holds("t"), "t" in store.deadlines, len(store.calls)) == (not fenced, not fenced, 1 + fenced)


def test_a_renewal_that_is_under_way_when_the_lock_goes_sets_the_guardian_no_deadline() -> None:  # G15
    world, node, store, keeper, lost = claimed(Limits(acquire_ttl=9.0))
    node.start("leases", lambda: keeper.run(lambda: False))
    store.slow = 1.0
    world.run(lambda: store.calls[-1][0] == "extend", 10.0)
    store.slow = 0.0
    node.start("fence", lambda: keeper.fence(running()) and None)
    world.run(lambda: keeper.owns("t") and not keeper.holds("t"), 0.5)
    world.run(lambda: False, 100.0)
    world.close()
    assert (store.deadlines, lost, keeper.owns("t")) == ({}, [], True)


def test_a_lost_lock_is_had_again_where_it_still_is_ours_or_free() -> None:
    world, _, store, keeper, _ = claimed(Limits())
    world.time += 100.0
    assert not keeper.holds("t")
    assert keeper.regain("t")
    assert (keeper.holds("t"), store.calls[-1][0]) == (True, "extend")
    world.time += 100.0
    store.answer = False
    assert not keeper.regain("t")
    assert [call for call, _ in store.calls[-2:]] == ["extend", "claim"]


@pytest.mark.parametrize(("later", "robbed"), [(3.0, True), (100.0, False)])
def test_a_claim_that_is_gone_before_its_time_was_taken_by_somebody(later: float, robbed: bool) -> None:  # G13, G19
    """Who took it may run the task; one whose time is over may simply be offered again."""
    world, node, store, keeper, lost = claimed(Limits(acquire_ttl=9.0))
    store.answer = False
    world.time += later
    node.start("leases", lambda: keeper.run(lambda: False))
    world.run(lambda: bool(lost), 5.0)
    world.close()
    assert (lost, keeper.robbed("t"), keeper.holds("t")) == (["t"], robbed, False)
