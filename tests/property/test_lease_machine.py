"""The lease keeper against a lock server that is slow, deaf, restarted or robbed, in virtual time (G13, G14, G17, G18)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from adapters.observability.metrics import MemoryMetrics
from adapters.process.orphans import NoOrphans
from adapters.testkit.simulation import SimNode, Simulation
from application.leases import OVERRUN, LeaseKeeper
from application.ports import Claim, Host, Limits, Offer
from application.worker import RENEWERS
from domain.errors import Unavailable
from domain.task import Task

TASKS = [f"t{number}" for number in range(12)]
LIMITS = Limits(lease_ttl=20.0, acquire_ttl=8.0, request_timeout=5.0)
MARGIN = LIMITS.acquire_ttl / 4  # seconds between what the keeper believes and the server's end, for the shorter lock
LATE = OVERRUN + 0.3  # seconds past a deadline; the guardian kills the task itself after two


@dataclass
class Grant:
    value: str
    until: float  # on the server's clock, which is the world's
    stolen: bool = False


class LockServer:
    """The Claims port. ``there`` and ``back`` are the seconds that each direction takes, None: it never arrives."""

    keeps_running = False
    lost = False

    def __init__(self, node: SimNode) -> None:
        self._node = node
        self.there: float | None = 0.0
        self.back: float | None = 0.0
        self.refuse = False
        self.renewing = False
        self.grants: dict[str, Grant] = {}
        self.broken: list[str] = []
        self.deadlines: dict[str, float] = {}
        self.releasable: set[str] = set()
        self.denied: dict[str, float] = {}  # values that were answered with "not yours", and when
        self._numbers = iter(range(1_000_000))

    # -- the port ------------------------------------------------------------------------------------------------------

    def claim(self, offer: Offer, token: str, ttl: float, timeout: float) -> Claim | None:
        value = self._exchange(timeout, lambda: self._grant(offer.task.id, ttl))
        return None if value is None else Claim(offer.task, value)

    def extend(self, key: str, value: str, ttl: float, timeout: float) -> bool:
        deadline = self.deadlines[key]
        if self._node.now() + timeout > deadline:
            self.broken.append(f"G14 a renewal of {key} may take {timeout} s, {deadline - self._node.now()} are left")
        self.renewing = True
        try:
            answer: bool = self._exchange(timeout, lambda: self._extend(key, value, ttl))
        finally:
            self.renewing = False
        if not answer:
            self.denied.setdefault(value, self._node.now())
        return answer

    def settle(self, key: str, value: str, timeout: float) -> bool:
        if value not in self.releasable:
            self.broken.append(f"G18 {key} was released with {value}, which was not asked for")

        def free() -> bool:
            if (held := self.grants.get(key)) is not None and held.value == value:
                del self.grants[key]
                return True
            return False

        return bool(self._exchange(timeout, free))

    # -- the watchdog: what the guardian was told ----------------------------------------------------------------------

    def lease(self, task_id: str, deadline: float) -> None:
        self.deadlines[task_id] = deadline

    def hello(self, shutdown: float) -> None: ...
    def beat(self) -> None: ...
    def ended(self, task_id: str) -> None: ...
    def close(self) -> None: ...

    # -- the server ----------------------------------------------------------------------------------------------------

    def holder(self, key: str) -> str:
        held = self.grants.get(key)
        return held.value if held is not None and held.until > self._node.world.time else ""

    def _grant(self, key: str, ttl: float) -> str | None:
        if self.holder(key):
            return None
        self.grants[key] = Grant(f"v{next(self._numbers)}", self._node.world.time + ttl)
        return self.grants[key].value

    def _extend(self, key: str, value: str, ttl: float) -> bool:
        if self.holder(key) != value:
            return False
        self.grants[key].until = self._node.world.time + ttl
        return True

    def _exchange(self, timeout: float, apply: Any) -> Any:
        end = self._node.now() + timeout
        if self.there is None or self.there > timeout:
            self._wait_out(end)
        self._node.sleep(self.there or 0.0)
        if self.refuse:
            raise Unavailable("500")
        answer = apply()
        if self.back is None or self._node.now() + self.back > end:
            self._wait_out(end)
        self._node.sleep(self.back or 0.0)
        return answer

    def _wait_out(self, end: float) -> None:
        self._node.sleep(max(0.0, end - self._node.now()))
        raise Unavailable("no answer in time")


class LeaseMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = Simulation(1)
        self.node = self.world.node("worker", rate=1.0)
        self.server = LockServer(self.node)
        host = Host(self.node, MemoryMetrics(), NoOrphans(), self.server)
        self.keeper = LeaseKeeper(host, self.server, LIMITS)
        self.lost: Counter[str] = Counter()  # by lock value
        self.held: dict[str, str] = {}  # task -> value, from claim to release
        self.busy: set[str] = set()
        self.frozen = 0.0
        self.over: set[str] = set()  # values whose last told deadline has passed once
        self.robbed: set[str] = set()

    def teardown(self) -> None:
        self.world.close()

    def pass_time(self, seconds: float) -> None:
        """In small steps, with all that must hold looked at after each."""
        end = self.world.time + seconds
        while self.world.time < end:
            self.world.run(lambda: False, min(0.25, end - self.world.time))
            self.check()

    @initialize(seed=st.integers(0, 1 << 16), loops=st.sampled_from([1, RENEWERS]))
    def interleaving(self, seed: int, loops: int) -> None:
        self.world.random.seed(seed)
        for number in range(loops):
            self.node.start(f"leases-{number}", lambda: self.keeper.run(lambda: False))
        self.pass_time(0.1)

    # -- what the worker does ------------------------------------------------------------------------------------------

    @rule(count=st.sampled_from([1, 1, 2, 6]), seconds=st.sampled_from([0.01, 1.0]))
    def claim(self, count: int, seconds: float) -> None:
        free = [task for task in TASKS if task not in self.held and task not in self.busy]
        for task in free[:count]:
            self.busy.add(task)
            self.node.start(f"task-{task}", lambda task=task: self._claim(task))
        self.pass_time(seconds)

    def _claim(self, task: str) -> None:
        began, frozen = self.node.now(), self.frozen
        told: list[str] = []

        def lost() -> None:
            self.lost[told[0]] += 1

        try:
            claim = self.keeper.claim(Offer(Task(task, "fake")), lost)
            if claim is not None:
                told.append(claim.token)
                self.held[task] = claim.token
        except Unavailable:
            pass
        self.busy.discard(task)
        took = self.node.now() - began - (self.frozen - frozen)
        assert took <= LIMITS.acquire_ttl, "G17 claiming took longer than the lock it may leave"

    @rule(apart=st.sampled_from([2.0, 3.0, 4.0]), there=st.sampled_from([0.7, 1.4, 1.9]))
    def leases_of_two_ages_meet_a_slow_server(self, apart: float, there: float) -> None:
        """Those renewed already have time, the youngest has little: it must not wait for them."""
        self.network(0.0, 0.0, False)
        self.claim(6, apart)
        self.claim(2, 0.01)
        self.network(there, 0.0, False)
        self.pass_time(8.0)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if not self.held:
            return
        task = data.draw(st.sampled_from(sorted(self.held)))
        value = self.held.pop(task)
        self.server.releasable.add(value)
        self.busy.add(task)

        def give_back() -> None:
            self.keeper.release(task)
            self.busy.discard(task)

        self.node.start("release", give_back)
        self.pass_time(0.01)

    @rule()
    def release_what_is_not_there(self) -> None:
        self.node.start("release", lambda: self.keeper.release("nobody"))
        self.pass_time(0.01)

    # -- what happens to it --------------------------------------------------------------------------------------------

    @rule(
        there=st.sampled_from([0.0, 0.0, 0.05, 0.7, 1.9, 4.0, None]),
        back=st.sampled_from([0.0, 0.0, 0.05, 0.7, 1.9, 4.0, None]),
        refuse=st.sampled_from([False, False, True]),
    )
    def network(self, there: float | None, back: float | None, refuse: bool) -> None:
        self.server.there, self.server.back, self.server.refuse = there, back, refuse

    @rule(data=st.data())
    def somebody_takes_the_lock(self, data: st.DataObject) -> None:
        """An operator deletes it, or the server forgets it over a restart."""
        if not self.held:
            return
        task = data.draw(st.sampled_from(sorted(self.held)))
        self.server.grants[task] = Grant("other", self.world.time + 60.0)
        self.robbed.add(self.held[task])

    @rule(seconds=st.sampled_from([0.3, 2.0, 7.0, 25.0]))
    def freeze(self, seconds: float) -> None:
        """G59: the worker stands still, the clock does not."""
        self.frozen += seconds
        self.node.freeze(seconds)
        self.world.run(lambda: False, seconds)
        self.check(frozen=True)
        self.pass_time(0.5)

    @rule(seconds=st.sampled_from([4.0, 10.0]))
    def freeze_in_the_middle_of_a_renewal(self, seconds: float) -> None:
        """Its answer is there when the worker goes on, and is too old."""
        self.network(0.7, 0.7, False)
        for _ in range(80):
            if self.server.renewing:
                break
            self.pass_time(0.1)
        self.freeze(seconds)

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 8.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.pass_time(seconds)

    # -- what holds ----------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_was_broken(self) -> None:
        self.check()

    def check(self, frozen: bool = False) -> None:
        assert not self.server.broken, self.server.broken
        for task, value in self.held.items():
            if self.node.now() >= self.server.deadlines[task]:
                self.over.add(value)
            assert not (value in self.over and self.keeper.holds(task)), (
                f"G15 {task} is held again, though the guardian ended it"
            )
            if self.keeper.holds(task) and value not in self.robbed:
                grant = self.server.grants[task]
                assert grant.value == value
                assert grant.until > self.world.time, f"G13 {task} is believed to be held"
                left = self.server.deadlines[task] - self.node.now()
                assert grant.until - self.world.time >= left + MARGIN - 1e-6, f"G13 the margin of {task} is used up"
            assert self.lost[value] <= 1, f"the loss of {task} was told {self.lost[value]} times"
            if value in self.server.denied and not frozen:
                told = self.lost[value] or self.node.now() < self.server.denied[value] + 0.1
                assert told, f"G13 {task} goes on though the server said that its lock is not ours"
            if self.lost[value]:
                assert not self.keeper.holds(task)
            elif not frozen:
                over = self.node.now() - self.server.deadlines[task]
                since = self.world.time - max(self.node.frozen_until, 0.0)
                assert over < LATE or since < 0.5, f"G15 {task} lost its lock {over} s ago and nobody was told"
        for value, count in self.lost.items():
            assert count == 1, value


class HealedLeases(LeaseMachine):
    """After the last fault, what was not lost is kept for ever, and what was taken is noticed."""

    def teardown(self) -> None:
        self.server.there = self.server.back = 0.0
        self.server.refuse = False
        try:
            self.pass_time(3.0)
            kept = {task: value for task, value in self.held.items() if not self.lost[value]}
            self.pass_time(60.0)
            for task, value in kept.items():
                if value in self.robbed:
                    assert self.lost[value] == 1, f"{task} was taken and nobody noticed"
                else:
                    assert self.keeper.holds(task), f"{task} was not renewed by a healthy server"
        finally:
            super().teardown()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "examples", [pytest.param(80, id="quick"), pytest.param(5000, id="long", marks=pytest.mark.torture)]
)
def test_a_lease_is_never_believed_longer_than_it_lasts(examples: int) -> None:
    run_state_machine_as_test(
        HealedLeases, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None)
    )
