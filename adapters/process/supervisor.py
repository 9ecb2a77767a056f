"""One thread that supervises every child process: their pipes, their ends, and one heap of deadlines."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from adapters.process import tree
from adapters.process.cgroups import Cgroups
from adapters.process.child import Child
from adapters.process.kernel import become_subreaper, boottime
from adapters.process.pace import Flow, Pace
from adapters.process.ports import Command, Exit
from adapters.process.spawn import PAUSE, TRIES, Spawned, spawn
from adapters.process.timers import Timer, Timers
from domain.result import EndReason
from domain.runner import CancelRequest, CancelToken, Urgency

log = logging.getLogger("worker.process")

OUTPUT = select.EPOLLIN | select.EPOLLONESHOT  # read once, then when ``Pace`` says
TICKS = os.sysconf("SC_CLK_TCK")


class Observer(Protocol):
    """Is told of each process while it exists. Task threads; must not raise."""

    def started(self, task_id: str, pid: int, start: int) -> None: ...
    def ended(self, task_id: str) -> None: ...


class Supervisor:
    """The contract of ``Processes``. The thread starts with the first command and ends with ``close``."""

    def __init__(self, observer: Observer | None = None, owner: str = "", groups: Cgroups | None = None) -> None:
        """``owner`` names the worker in the run tag of its processes; a later run finds them by it.

        Each command gets a control group of its own where ``groups`` are given.
        """
        self._observer = observer
        self._owner = owner
        self._groups = groups
        self._guard = threading.Lock()
        self._slots = threading.BoundedSemaphore(4 * (os.cpu_count() or 1))
        self._inbox: deque[Callable[[], None]] = deque()
        self._timers = Timers()
        self._pace = Pace()
        self._resting: dict[int, Timer] = {}  # by the descriptor of a stream
        self._numbers = itertools.count()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._children: dict[int, Child] = {}
        self._starting: dict[int, int] = {}
        self._strangers: dict[tuple[int, int], set[int]] = {}
        self._thread: threading.Thread | None = None
        self._epoll: select.epoll | None = None
        self._wake = -1
        self.ending = False  # ``close`` was called, and its children are being killed
        self._closing = False
        self._oom_kills = 0
        self._dead: BaseException | None = None
        self._when_dead: Callable[[BaseException], None] = lambda _: None

    # -- any thread --------------------------------------------------------------------------------------------------

    def when_dead(self, tell: Callable[[BaseException], None]) -> None:
        """``tell`` hears of it if the thread dies by a defect, when all processes are ended. Called before ``run``."""
        self._when_dead = tell

    def run(self, command: Command, cancel: CancelToken) -> Exit:
        first = cancel.first
        if first is not None:
            return Exit(first.reason, -1, error=f"{first.reason.value.replace('_', ' ')} before it started")
        started = self._not_ready(command) or self._start(command)
        if isinstance(started, Exit):
            return started
        child, spawned = started
        if self._observer is not None and command.task_id:
            self._observer.started(command.task_id, child.pid, child.start_ticks)
        self._post(lambda: self._adopt(child, spawned))

        def relay(request: CancelRequest) -> None:
            self._post(lambda: child.cancel(request))

        cancel.subscribe(relay)
        child.done.wait()
        cancel.unsubscribe(relay)
        if self._observer is not None and command.task_id:
            self._observer.ended(command.task_id)
        assert child.exit is not None
        return child.exit

    def _not_ready(self, command: Command) -> Exit | None:
        """Begin to supervise, patiently; an Exit tells why that is impossible."""
        if self._dead is not None:
            return Exit(EndReason.INTERNAL, -1, error=self._epitaph())
        for attempt in range(TRIES):
            try:
                self._begin()
                return None
            except (OSError, RuntimeError) as error:  # no room for a descriptor or for a thread
                if attempt == TRIES - 1:
                    return Exit(EndReason.SPAWN_FAILED, -1, error=f"cannot start {command.argv[0]}: {error}")
                time.sleep(PAUSE)
        raise AssertionError("unreachable")

    def _start(self, command: Command) -> tuple[Child, Spawned] | Exit:
        number = next(self._numbers)
        with self._slots:
            with self._guard:
                # A process younger than this may be a leader that is not in the table yet, and no orphan.
                self._starting[number] = int(boottime() * TICKS) - 1
            try:
                with self._groups.birth() if self._groups is not None else contextlib.nullcontext() as group:
                    spawned = spawn(command, self._owner)
                if isinstance(spawned, Exit):
                    return spawned
                child = Child(command, spawned, self, group)
                with self._guard:
                    self._children[child.pid] = child
                    dead = self._dead is not None
                if dead:  # the thread did not see it any more
                    child.abandon(self._epitaph())
                return child, spawned
            finally:
                with self._guard:
                    del self._starting[number]

    def close(self) -> None:
        with self._guard:
            thread, children = self._thread, list(self._children.values())
        if thread is None:
            return
        self.ending = True
        for child in children:
            self._post(functools.partial(child.cancel, CancelRequest(EndReason.SHUTDOWN, Urgency.NOW)))
        for child in children:
            child.done.wait()
        self._closing = True
        self._post(lambda: None)
        thread.join()
        with self._guard:
            self._thread = None

    def _begin(self) -> None:
        with self._guard:
            if self._thread is not None:
                return
            become_subreaper()
            with contextlib.ExitStack() as opened:
                epoll = opened.enter_context(select.epoll())
                wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                opened.callback(os.close, wake)
                epoll.register(wake, select.EPOLLIN)
                self.ending = self._closing = False
                self._oom_kills = _oom_kills()
                self._epoll, self._wake = epoll, wake
                thread = threading.Thread(target=self._live, name="processes", daemon=True)
                thread.start()
                opened.pop_all()  # the thread closes them
            self._thread = thread

    def _post(self, function: Callable[[], None]) -> None:
        self._inbox.append(function)
        with self._guard:  # a number that is closed may be somebody else's by now
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def _epitaph(self) -> str:
        return f"the supervision of processes has died ({type(self._dead).__name__}: {self._dead})"

    # -- the supervisor's thread ---------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            self._loop()
        except BaseException as error:  # noqa: BLE001 - told to the tasks and to whoever wants to hear of it
            self._die(error)
        assert self._epoll is not None
        with self._guard:
            wake, self._wake = self._wake, -1
        self._epoll.close()
        os.close(wake)
        self._handlers.clear()
        self._resting.clear()
        self._timers.clear()
        self._inbox.clear()

    def _die(self, error: BaseException) -> None:
        """Nothing may wait for a thread that is gone, or run without it."""
        with self._guard:
            self._dead = error
            children = list(self._children.values())
        log.critical("the supervision of processes died; what it ran is killed", exc_info=error)
        for child in children:
            self._safely(functools.partial(child.abandon, self._epitaph()))
        self._when_dead(error)

    def _loop(self) -> None:
        assert self._epoll is not None
        while not self._closing:
            self._turn(self._epoll.poll(0.0 if self._inbox else self._timers.pause()))

    def _turn(self, events: list[tuple[int, int]]) -> None:
        """A function of its own, so that no variable holds an ended child while the thread waits."""
        for descriptor, _ in events:
            if descriptor == self._wake:
                os.eventfd_read(self._wake)
            elif handler := self._handlers.get(descriptor):
                self._safely(handler)
        while self._inbox:
            self._safely(self._inbox.popleft())
        for function in self._timers.due():
            self._safely(function)

    def _safely(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:
            # One child's trouble (a log sink that raises, say) must not end the supervision of the others.
            log.exception("a defect in the supervision of processes")

    def _adopt(self, child: Child, spawned: Spawned) -> None:
        assert self._epoll is not None
        if child.done.is_set():
            return
        for descriptor in (spawned.out, spawned.err):
            self._handlers[descriptor] = functools.partial(self._read, child, descriptor, self._pace.flow())
            self._epoll.register(descriptor, OUTPUT)
        self._handlers[spawned.pidfd] = child.exited
        self._epoll.register(spawned.pidfd, select.EPOLLIN)
        child.begin()

    def _read(self, child: Child, descriptor: int, flow: Flow) -> None:
        cpu, rest = time.thread_time(), 0.0
        try:
            found = child.readable(descriptor)
            if found is not None:
                rest = self._pace.rest(flow, *found, time.thread_time() - cpu)
        finally:  # a log that raises has had its piece: the next one is read all the same
            if rest:
                self._resting[descriptor] = self.at(rest, functools.partial(self._listen, descriptor))
            elif descriptor in self._handlers:
                self._listen(descriptor)

    def _listen(self, descriptor: int) -> None:
        assert self._epoll is not None
        self._resting.pop(descriptor, None)
        self._epoll.modify(descriptor, OUTPUT)

    def at(self, delay: float, function: Callable[[], None]) -> Timer:
        return self._timers.at(delay, function)

    def forget(self, descriptor: int) -> None:
        assert self._epoll is not None
        if (resting := self._resting.pop(descriptor, None)) is not None:
            resting.cancel()
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def finished(self, child: Child) -> None:
        with self._guard:
            self._children.pop(child.pid, None)
        for owners in self._strangers.values():
            owners.discard(child.pid)

    def memory_killed(self) -> bool:
        """True if the kernel's out-of-memory killer was at work since the last look."""
        before, self._oom_kills = self._oom_kills, _oom_kills()
        return self._oom_kills > before

    def orphans(self, child: Child) -> list[tree.Proc]:
        """Adopted orphans that belong to ``child``: by its tag, by its session, or because nobody else can own them.

        An orphan that hid its tag belongs to one of the runs that were alive when it was first seen; it is ended with
        the last of them.
        """
        # Listed first: a leader that is on the list is then found starting, in the table, or reaped.
        listed = tree.children(os.getpid())
        with self._guard:
            leaders = set(self._children)
            youngest = min(self._starting.values(), default=None)
        found: list[tree.Proc] = []
        ours = os.getpgrp()
        for pid in listed:
            proc = None if pid in leaders else tree.look(pid)
            # One in our own group is a child of some library of this program, not an orphan.
            if proc is None or proc.group == ours or (youngest is not None and proc.start >= youngest):
                continue
            if proc.dead:
                self._reap(pid)
            elif self._belongs(proc, child):
                found.append(proc)
        for key in [key for key in self._strangers if key[0] not in listed]:
            del self._strangers[key]
        return found

    def _belongs(self, proc: tree.Proc, child: Child) -> bool:
        if proc.session == child.pid or tree.has_tag(proc.pid, child.spawned.tag):
            return True
        others = self._others(child)
        if any(
            proc.session == other.pid or tree.has_tag(proc.pid, other.spawned.tag) or other.holds(proc.pid)
            for other in others
        ):
            return False
        return self._only_mine(proc, child)

    def _others(self, child: Child) -> list[Child]:
        with self._guard:
            return [other for other in self._children.values() if other is not child]

    def _only_mine(self, proc: tree.Proc, child: Child) -> bool:
        key = (proc.pid, proc.start)
        if proc.start < child.start_ticks:
            return False
        owners = self._strangers.get(key)
        if owners is None:
            with self._guard:
                owners = {pid for pid, known in self._children.items() if known.start_ticks <= proc.start}
            self._strangers[key] = owners
        return owners <= {child.pid}

    def _reap(self, pid: int) -> None:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass


def _oom_kills() -> int:
    try:
        with open("/proc/vmstat", "rb") as file:
            for line in file:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0
