"""One running command on a supervisor whose time a test moves by hand."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from adapters.process import child as module
from adapters.process import tree
from adapters.process.child import Child
from adapters.process.ports import Command, Exit
from adapters.process.spawn import Spawned, spawn
from adapters.process.timers import Timer, Timers
from domain.result import EndReason
from domain.runner import CancelRequest, Urgency
from tests.support.clock import Clock
from tests.support.sleepers import Sleeper

POLITE = CancelRequest(EndReason.STOPPED, Urgency.POLITE)
NOW = CancelRequest(EndReason.KILLED, Urgency.NOW)


class FakeLoop:
    """The supervisor of one child."""

    ending = False

    def __init__(self) -> None:
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.delays: list[float] = []
        self.over: list[Child] = []
        self.out_of_memory = False
        self.seen: Callable[[], list[tree.Proc]] = list

    def at(self, delay: float, function: Callable[[], None]) -> Timer:
        self.delays.append(delay)
        return self.timers.at(delay, function)

    def forget(self, descriptor: int) -> None: ...

    def orphans(self, child: Child) -> list[tree.Proc]:
        return self.seen()

    def memory_killed(self) -> bool:
        return self.out_of_memory

    def finished(self, child: Child) -> None:
        self.over.append(child)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        for function in self.timers.due():
            function()


class Bench:
    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.log: list[bytes] = []
        self.children: list[Child] = []

    def start(self, text: str, timeout: float | None = None, grace: float = 10.0) -> Child:
        command = Command(["sh", "-c", text], None, os.environ, self.log.append, timeout=timeout, grace=grace)
        spawned = spawn(command)
        assert isinstance(spawned, Spawned)
        child = Child(command, spawned, self.loop)
        self.children.append(child)
        child.begin()
        return child

    def await_death(self, child: Child) -> None:
        poll = select.poll()
        poll.register(child.spawned.pidfd, select.POLLIN)
        assert poll.poll(10_000), "the process lives on"

    def end_of(self, child: Child) -> Exit:
        self.await_death(child)
        child.exited()
        deadline = time.monotonic() + 10.0
        while not child.done.is_set() and time.monotonic() < deadline:  # what it left dies in the kernel's own time
            self.loop.pass_time(0.5)
        assert child.exit is not None
        return child.exit


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    for child in made.children:
        child.abandon("the test is over")


def read_line(child: Child) -> None:
    poll = select.poll()
    poll.register(child.spawned.out, select.POLLIN)
    assert poll.poll(10_000), "nothing is printed"
    child.readable(child.spawned.out)


def test_a_command_that_ends_by_itself_tells_its_code_and_all_it_printed(bench: Bench) -> None:
    child = bench.start("echo out; echo err >&2; exit 3")
    end = bench.end_of(child)
    assert (end.reason, end.exit_code, end.signal, end.error) == (EndReason.EXIT_CODE, 3, 0, "exit status 3")
    assert (end.stdout, end.stderr, sorted(bench.log)) == (b"out\n", b"err\n", [b"err\n", b"out\n"])
    assert bench.loop.over == [child]


def test_an_end_before_a_request_counts_as_it_was(bench: Bench) -> None:  # G29
    child = bench.start("exit 0")
    bench.await_death(child)
    child.cancel(NOW)
    assert child.exit is not None
    assert child.exit.reason is EndReason.COMPLETED


def test_the_limit_counts_from_the_start_of_the_process(bench: Bench) -> None:
    child = bench.start("exec sleep 1000", timeout=5.0)
    assert 0.0 < bench.loop.delays[0] <= 5.0
    bench.loop.pass_time(5.0)
    end = bench.end_of(child)
    assert (end.reason, end.signal, end.error) == (EndReason.TIMEOUT, signal.SIGTERM, "timed out after 5 s")


def test_who_ignores_a_polite_request_is_killed_after_the_grace(bench: Bench) -> None:
    child = bench.start("trap '' TERM; echo ready; sleep 1000; sleep 1000", grace=7.0)
    read_line(child)
    child.cancel(POLITE)
    child.cancel(POLITE)
    assert bench.loop.delays.count(7.0) == 1, "a second request of the same urgency changes nothing"
    bench.loop.pass_time(6.9)
    assert not child.done.is_set()
    bench.loop.pass_time(0.2)
    end = bench.end_of(child)
    assert (end.reason, end.signal, end.error) == (EndReason.STOPPED, signal.SIGKILL, "stopped on request")


def test_the_first_reason_stays_when_a_request_gets_urgent(bench: Bench) -> None:
    child = bench.start("trap '' TERM; echo ready; sleep 1000; sleep 1000")
    read_line(child)
    child.cancel(POLITE)
    child.cancel(NOW)
    end = bench.end_of(child)
    assert (end.reason, end.signal) == (EndReason.STOPPED, signal.SIGKILL)


def test_a_kill_by_the_system_is_out_of_memory_only_where_the_kernel_says_so(bench: Bench) -> None:
    for out_of_memory, reason in ((False, EndReason.SIGNAL), (True, EndReason.OUT_OF_MEMORY)):
        bench.loop.out_of_memory = out_of_memory
        child = bench.start("kill -KILL $$")
        end = bench.end_of(child)
        assert (end.reason, end.exit_code, end.signal) == (reason, 137, signal.SIGKILL)


def test_a_child_that_nobody_supervises_any_more_ends_with_the_reason(bench: Bench) -> None:
    child = bench.start("exec sleep 1000")
    child.abandon("the supervision has died")
    child.abandon("once more")
    assert child.exit is not None
    assert (child.exit.reason, child.exit.error) == (EndReason.INTERNAL, "the supervision has died")
    assert child.done.is_set()


def test_a_line_without_its_end_is_shown_soon(bench: Bench) -> None:
    child = bench.start("printf half; exec sleep 1000")
    read_line(child)
    assert bench.log == []
    bench.loop.pass_time(0.2)
    assert bench.log == [b"half"]


def test_a_command_has_not_ended_while_what_it_left_lives_and_that_is_ended_too(
    bench: Bench, sleeper: Sleeper
) -> None:  # G23
    left = sleeper({})
    found = tree.look(left.pid)
    assert found is not None
    bench.loop.seen = lambda: [proc for proc in [tree.look(left.pid)] if proc]
    child = bench.start("exit 0")
    bench.await_death(child)
    child.exited()
    assert not child.done.is_set()
    assert left.wait(10) == -signal.SIGTERM
    bench.loop.pass_time(0.01)
    assert child.exit is not None
    assert child.exit.reason is EndReason.COMPLETED


def test_what_cannot_be_seen_is_looked_for_again(bench: Bench) -> None:  # G60
    def blind() -> list[tree.Proc]:
        raise OSError(24, "Too many open files")

    bench.loop.seen = blind
    child = bench.start("exit 0")
    bench.await_death(child)
    child.exited()
    assert not child.done.is_set()
    bench.loop.seen = list
    bench.loop.pass_time(0.01)
    assert child.done.is_set()


def test_what_cannot_be_killed_is_told_once_and_waited_for_until_the_supervisor_ends(
    bench: Bench, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNKILLABLE", -1.0)
    pid = sleeper({}).pid
    found = tree.look(pid)
    assert found is not None
    immortal = replace(found, start=found.start + 1)  # no signal reaches it
    bench.loop.seen = lambda: [immortal]
    child = bench.start("exit 0")
    bench.await_death(child)
    child.exited()
    for _ in range(3):
        bench.loop.pass_time(0.5)
    assert not child.done.is_set()
    told = f"\n-------\nprocesses of this task cannot be killed: {pid}; the task ends when they do\n"
    assert bench.log == [told.encode()]
    bench.loop.ending = True
    bench.loop.pass_time(0.5)
    assert child.exit is not None
    assert child.exit.unkillable == (pid,)
    assert child.exit.error.endswith(f"these processes cannot be killed: {pid}")
