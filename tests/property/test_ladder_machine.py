"""The cancel ladder of one command on a modelled kernel: every order of stop, kill, time-out, exit and lease loss (G25,
G26, G29)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from adapters.process import child as child_module
from adapters.process.child import LONG_ROUND, ROUND, SWEEP_GRACE, UNKILLABLE, Child
from adapters.process.ports import Command
from adapters.process.timers import Timer, Timers
from adapters.process.tree import Proc
from application.execution import true_cause
from domain.result import EndReason, Result
from domain.runner import CancelRequest, CancelToken, Urgency

GRACE = 3.0
LEADER = 100
TERM, KILL, CONT = signal.SIGTERM, signal.SIGKILL, signal.SIGCONT
MANNERS = st.sampled_from(["obeys", "obeys", "ignores", "late", "stopped", "forks", "unkillable"])
REQUESTS = [
    CancelRequest(EndReason.STOPPED, Urgency.POLITE),
    CancelRequest(EndReason.KILLED, Urgency.NOW),
    CancelRequest(EndReason.LEASE_LOST, Urgency.NOW),
    CancelRequest(EndReason.SHUTDOWN, Urgency.POLITE),
    CancelRequest(EndReason.SUPERSEDED, Urgency.NOW),
]


@dataclass(eq=False)
class Process:
    pid: int
    manner: str
    alive: bool = True
    terminated: bool = False
    how: tuple[int, int] = (os.CLD_EXITED, 0)

    def die(self, code: int, status: int) -> None:
        if self.alive:
            self.alive, self.how = False, (code, status)


class Kernel:
    """Time, timers, and processes that answer signals in their manner. Stands for ``os``, ``time``, ``tree`` and Loop."""

    def __init__(self, manner: str) -> None:
        self.time = 50.0
        self.log: list[tuple[float, int, int]] = []  # when, which signal, to whom
        self.ends = 0
        self.ending = False  # the supervisor is being closed
        self.reaped = False
        self.leader = Process(LEADER, manner)
        self.all = [self.leader]
        self.closed: list[int] = []
        self.timers = Timers(lambda: self.time)
        self.os = SimpleNamespace(**{name: getattr(os, name) for name in dir(os) if name.isupper()})
        self.os.CLD_EXITED = os.CLD_EXITED
        self.os.killpg, self.os.waitid, self.os.read, self.os.close = (
            self.killpg,
            self.waitid,
            self.read,
            self.closed.append,
        )
        self.tree = SimpleNamespace(
            look=lambda pid: self.proc(pid), below=lambda pid: self.members(), send=self.send, Proc=Proc
        )
        self.clock = SimpleNamespace(monotonic=lambda: self.time)

    # Loop
    def at(self, delay: float, function: Callable[[], None]) -> Timer:
        return self.timers.at(delay, function)

    def forget(self, descriptor: int) -> None: ...
    def orphans(self, child: Child) -> list[Proc]:
        return self.members() if not self.leader.alive else []

    def memory_killed(self) -> bool:
        return False

    def finished(self, child: Child) -> None:
        self.ends += 1

    def run(self, seconds: float) -> None:
        end = self.time + seconds
        while len(self.timers) and (pause := self.timers.pause()) <= end - self.time:
            self.time += max(pause, 1e-9)
            for function in self.timers.due():
                function()
        self.time = max(self.time, end)

    # processes
    def living(self) -> list[Process]:
        return [it for it in self.all if it.alive]

    def proc(self, pid: int) -> Proc:
        return Proc(pid, "S", 1, LEADER, 1, LEADER)

    def members(self) -> list[Proc]:
        return [self.proc(it.pid) for it in self.living() if it is not self.leader]

    def fork(self, manner: str) -> None:
        if self.living():
            self.all.append(Process(LEADER + len(self.all), manner))

    def killpg(self, pid: int, number: int) -> None:
        assert pid == LEADER
        assert not self.reaped, "G32 a group that may be another's was signalled"
        self.deliver(self.leader, number)

    def send(self, proc: Proc, *numbers: int) -> bool:
        for number in numbers:
            self.deliver(next(it for it in self.all if it.pid == proc.pid), number)
        return True

    def deliver(self, process: Process, number: int) -> None:
        self.log.append((self.time, number, process.pid))
        if not process.alive:
            return
        if number == KILL and process.manner != "unkillable":
            process.die(os.CLD_KILLED, KILL)
        elif number == TERM:
            process.terminated = True
            if process.manner == "obeys":
                process.die(os.CLD_KILLED, TERM)
            elif process.manner == "late":
                self.at(0.9 * GRACE, lambda: process.die(os.CLD_EXITED, 7))
            elif process.manner == "forks":
                self.fork("ignores")
                process.die(os.CLD_EXITED, 0)
        elif number == CONT and process.manner == "stopped" and process.terminated:
            process.die(os.CLD_KILLED, TERM)

    def waitid(self, *_: Any) -> Any:
        return None if self.leader.alive else SimpleNamespace(si_code=self.leader.how[0], si_status=self.leader.how[1])

    def read(self, *_: Any) -> bytes:
        raise BlockingIOError

    def reap(self) -> None:
        self.reaped = True


class LadderMachine(RuleBasedStateMachine):
    @initialize(manner=MANNERS)
    def start(self, manner: str) -> None:
        self.kernel = kernel = Kernel(manner)
        self.patches = [
            mock.patch.object(child_module, name, fake)
            for name, fake in (("os", kernel.os), ("time", kernel.clock), ("tree", kernel.tree))
        ]
        for patch in self.patches:
            patch.start()
        spawned = SimpleNamespace(
            process=SimpleNamespace(pid=LEADER, wait=kernel.reap), pidfd=7, out=8, err=9, mark=b"", start=1
        )
        self.child = Child(Command(["x"], None, {}, grace=GRACE), cast(Any, spawned), cast(Any, kernel))
        self.token = CancelToken()  # of the application
        self.inner = CancelToken()  # of the runner
        self.token.subscribe(self._relay)
        self.inner.subscribe(self.child.cancel)
        self.first: EndReason | None = None  # what was decided while the leader lived
        self.polite_at: float | None = None
        self.now_at: float | None = None
        self.ended_at: float | None = None  # the leader

    def _relay(self, request: CancelRequest) -> None:
        """As Execution and BaseRunner do: a runner knows stop and kill only."""
        now = request.urgency is Urgency.NOW
        self.inner.cancel(CancelRequest(EndReason.KILLED if now else EndReason.STOPPED, request.urgency))

    def teardown(self) -> None:
        if not hasattr(self, "kernel"):
            return
        try:
            self.request(REQUESTS[1])
            self.run(GRACE + UNKILLABLE + 1.0)
            if self.kernel.living():
                assert not self.child.done.is_set(), "G31 it ended while a process of it lives"
                self.kernel.ending = True
                self.run(LONG_ROUND + ROUND)
            assert self.child.done.is_set(), "it never ends"
            self.what_holds()
        finally:
            for patch in self.patches:
                patch.stop()

    def run(self, seconds: float) -> None:
        """Time goes on; the supervisor hears of the leader's death a moment later."""
        end = self.kernel.time + seconds
        while self.kernel.time < end:
            self.kernel.run(min(ROUND / 2, end - self.kernel.time))
            self._look()
            if not self.kernel.leader.alive:
                self.child.exited()

    def _look(self) -> None:
        if not self.kernel.leader.alive and self.ended_at is None:
            self.ended_at = self.kernel.time

    # -- what happens --------------------------------------------------------------------------------------------------

    @rule(request=st.sampled_from(REQUESTS))
    def request(self, request: CancelRequest) -> None:
        self._before(request)
        self.token.cancel(request)
        self._after(request)

    @rule()
    def time_out(self) -> None:
        """Decided by the supervisor, as in Supervisor._adopt."""
        request = CancelRequest(EndReason.TIMEOUT, Urgency.POLITE)
        self._before(request)
        self.child.cancel(request)
        self._after(request)

    def _before(self, request: CancelRequest) -> None:
        self.was_killing = self.child._killing  # then what was born meanwhile is met in the next round
        self.expects_term = request.urgency is Urgency.POLITE and self.polite_at is None and self.now_at is None
        self.alive_before = [it.pid for it in self.kernel.living()] if self.kernel.leader.alive else []
        if self.kernel.leader.alive and not self.child.done.is_set():
            self.first = self.first or request.reason

    def _after(self, request: CancelRequest) -> None:
        now = self.kernel.time
        for pid in self.alive_before:
            if self.expects_term:
                assert (now, TERM, pid) in self.kernel.log, f"G25 {pid} was not asked at once"
            elif request.urgency is Urgency.NOW and self.now_at is None and not self.was_killing:
                assert any(number == KILL and who == pid for _, number, who in self.kernel.log), (
                    f"G25 {pid} was not killed"
                )
        if self.alive_before and request.urgency is Urgency.POLITE and self.polite_at is None:
            self.polite_at = now
        if request.urgency is Urgency.NOW and self.now_at is None:
            self.now_at = now
        self._look()

    @rule(code=st.integers(0, 255), noticed=st.booleans())
    def the_leader_exits(self, code: int, noticed: bool) -> None:
        """``noticed`` false: the supervisor has not heard of it when the next thing happens."""
        self.kernel.leader.die(os.CLD_EXITED, code)
        self._look()
        if noticed:
            self.child.exited()

    @rule(manner=MANNERS)
    def somebody_forks(self, manner: str) -> None:
        if not self.child.done.is_set():
            self.kernel.fork(manner)

    @rule(seconds=st.sampled_from([0.001, 0.1, SWEEP_GRACE, 1.0, GRACE]))
    def wait(self, seconds: float) -> None:
        self.run(seconds)

    # -- what holds ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: hasattr(self, "kernel"))
    @invariant()
    def what_holds(self) -> None:
        kernel, child = self.kernel, self.child
        assert kernel.ends == child.done.is_set(), "exactly one end"
        kills = [at for at, number, _ in kernel.log if number == KILL]
        terms = [at for at, number, _ in kernel.log if number == TERM]
        if kills:
            assert all(at <= kills[0] for at in terms), "urgency only climbs"
            allowed = [self.now_at]
            allowed.append(self.polite_at + GRACE if self.polite_at is not None else None)
            allowed.append(self.ended_at + SWEEP_GRACE if self.ended_at is not None else None)
            soonest = min(at for at in allowed if at is not None)
            assert kills[0] >= soonest - ROUND, f"G25 killed at {kills[0]}, which is before {soonest}"
        if self.polite_at is not None and kernel.time > self.polite_at + GRACE + ROUND and not child.done.is_set():
            assert kills, "G25 no escalation after the grace time"
        if child.done.is_set():
            self._judge_the_end()

    def _judge_the_end(self) -> None:
        kernel, found = self.kernel, self.child.exit
        assert found is not None
        left = {it.pid for it in kernel.living()}
        assert left == set(found.unkillable), "G23 something is alive after the end"
        assert kernel.reaped == (LEADER not in left)
        assert sorted(kernel.closed) == [7, 8, 9]
        cause = true_cause(Result(found.reason.status, found.reason), self.token, owned=lambda: True)
        told = cause[0] if cause else found.reason
        if self.first is not None:
            assert told is self.first, f"G26 it ended as {told}, but {self.first} was first"
        else:
            code = kernel.leader.how[1]
            assert told is (EndReason.EXIT_CODE if code else EndReason.COMPLETED), "G29 its own end counts as it was"
            assert found.exit_code == code


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "examples", [pytest.param(150, id="quick"), pytest.param(20_000, id="long", marks=pytest.mark.torture)]
)
def test_a_run_has_one_end_and_its_first_cause_whatever_comes_together(examples: int) -> None:
    run_state_machine_as_test(
        LadderMachine, settings=settings(max_examples=examples, stateful_step_count=15, deadline=None)
    )


def test_a_time_out_after_a_kill_asks_nobody_politely() -> None:  # G25
    machine = LadderMachine()
    machine.start("unkillable")
    try:
        machine.request(REQUESTS[1])
        machine.run(ROUND)
        machine.time_out()
        machine.what_holds()
    finally:
        machine.teardown()
