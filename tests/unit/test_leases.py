"""Leases of many tasks on a slow server, in virtual time (G13, G14)."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest

from adapters.observability.metrics import MemoryMetrics
from adapters.process.unguarded import NoWarden
from adapters.testkit.simulation import SimNode, Simulation
from application.leases import OVERRUN, LeaseKeeper
from application.ports import Limits, Ports
from application.worker import RENEWERS
from domain.errors import Unavailable


class SlowLocks:
    """Each renewal takes half a second, and one at a time for each lock; the first ``failing`` ones fail.

    While the first one is under way, the worker's process stands still for ``frozen`` seconds.
    """

    def __init__(self, node: SimNode, failing: int = 0, frozen: float = 0.0) -> None:
        self._node = node
        self._failing = failing
        self._frozen = frozen
        self.under_way: Counter[str] = Counter()
        self.renewed = 0

    def acquire(self, key: str, ttl: float, timeout: float) -> str:
        return "value"

    def refresh(self, key: str, value: str, ttl: float, timeout: float) -> bool:
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


def outside(node: SimNode, transport: object, coordination: object) -> Ports:
    parts = (transport, coordination, None, None, MemoryMetrics(), None, NoWarden())
    return Ports(node, *[cast(Any, part) for part in parts])


def hold(count: int, loops: int = RENEWERS, failing: int = 0, frozen: float = 0.0) -> tuple[list[int], SlowLocks]:
    """Hold ``count`` locks for five minutes of virtual time; which were lost, and what the server saw."""
    world = Simulation(3)
    node = world.node("w")
    locks, lost = SlowLocks(node, failing, frozen), []
    keeper = LeaseKeeper(outside(node, None, locks), Limits(lease_ttl=60.0, acquire_ttl=60.0))
    over = node.event()

    def claim() -> None:
        for number in range(count):
            keeper.claim(str(number), lambda number=number: lost.append(number))  # type: ignore[misc]
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


class Deaf:
    """Grants each lock, and never answers a renewal."""

    def __init__(self, node: SimNode) -> None:
        self._node = node

    def acquire(self, key: str, ttl: float, timeout: float) -> str:
        return "value"

    def refresh(self, key: str, value: str, ttl: float, timeout: float) -> bool:
        self._node.sleep(timeout)
        raise Unavailable("no answer in time")


@pytest.mark.parametrize("apart", [34.0, 34.25, 34.5, 34.75])
def test_a_renewal_that_is_never_answered_hides_the_end_of_no_other_lock_for_long(apart: float) -> None:  # G15
    """The young lock is being renewed, in vain, by the only loop when the old one ends."""
    world = Simulation(3)
    node = world.node("w")
    keeper = LeaseKeeper(outside(node, None, Deaf(node)), Limits(acquire_ttl=60.0))
    over, late = node.event(), []

    def claim(task: str) -> None:
        def lost() -> None:
            late.append(node.now() - lease.deadline)

        lease = keeper.claim(task, lost)
        assert lease is not None

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
