"""One running command, on the supervisor's thread: its output, its end, and the end of everything it started."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Protocol

from adapters.process import tree
from adapters.process.cgroups import Cgroup
from adapters.process.output import HeadTail, Lines
from adapters.process.ports import Command, Exit
from adapters.process.spawn import Spawned
from adapters.process.timers import Timer
from domain.result import EndReason
from domain.runner import CancelRequest, Urgency

log = logging.getLogger("worker.process")

READ = 64 * 1024  # what a pipe holds at first; larger pieces cost more, because their memory is new each time
FULL = 0.75  # of a pipe: each of its pages holds whole writes, if they are small
PIPE = 256 * 1024  # what it holds once it was full: who prints much waits less often (the system has few such for all)
SWEEP_GRACE = 0.3  # seconds what a command left in the background gets between TERM and KILL
ROUND = 0.01  # seconds between two looks at what is still alive
UNKILLABLE = 10.0  # seconds after which what survives KILL is reported as such
LONG_ROUND = 0.5  # seconds between two looks at it from then on
LAST = 2.0  # seconds that what is killed gets to be gone when nobody supervises it any more
NAMES = {signal.SIGHUP: "hangup", signal.SIGINT: "interrupt", signal.SIGQUIT: "quit", signal.SIGILL: "illegal "
         "instruction", signal.SIGTRAP: "trace/breakpoint trap", signal.SIGABRT: "aborted", signal.SIGBUS: "bus error",
         signal.SIGFPE: "floating point exception", signal.SIGKILL: "killed", signal.SIGSEGV: "segmentation fault",
         signal.SIGPIPE: "broken pipe", signal.SIGALRM: "alarm clock", signal.SIGTERM: "terminated"}  # fmt: skip


class Loop(Protocol):
    """What a child needs of the supervisor. ``ending``: it closes, and waits for no child without end."""

    @property
    def ending(self) -> bool: ...
    def at(self, delay: float, function: Callable[[], None]) -> Timer: ...
    def forget(self, descriptor: int) -> None: ...
    def orphans(self, child: Child) -> list[tree.Proc]: ...
    def memory_killed(self) -> bool: ...
    def finished(self, child: Child) -> None: ...


class Child:
    """Made on the task's thread, then touched by the supervisor's thread only, but for ``done`` and ``exit``."""

    def __init__(self, command: Command, spawned: Spawned, loop: Loop, group: Cgroup | None = None) -> None:
        """``group`` is the control group that the process was put into, where there are such."""
        self.command = command
        self._group = group
        self.spawned = spawned
        self.pid = spawned.process.pid
        self.started = time.monotonic()
        self.start_ticks = spawned.start
        self.done = threading.Event()
        self.exit: Exit | None = None
        self._loop = loop
        self._decided: EndReason | None = None
        self._urgency: Urgency | None = None
        self._ended: tuple[int, int] | None = None  # exit code, signal
        self._killing = False
        self._kill_since = 0.0
        self._told_unkillable = False
        self._broken = ""
        self._timers: list[Timer] = []
        # Nothing here refers back to this object: what it holds is free when the task has ended.
        self._streams = {
            spawned.out: (HeadTail(command.keep), Lines(command.log)),
            spawned.err: (HeadTail(command.keep), Lines(command.log)),
        }
        self._open = dict.fromkeys((spawned.out, spawned.err), READ)  # what the pipe of each holds
        self._flush_planned = False

    def _at(self, delay: float, function: Callable[[], None]) -> None:
        """Have the supervisor call it then, unless the end comes before."""
        self._timers = [timer for timer in self._timers if timer.pending]
        self._timers.append(self._loop.at(delay, function))

    def begin(self) -> None:
        """The supervisor watches from now on: the time-out counts, from the start of the process."""
        if self.command.timeout is not None and not self.done.is_set():
            request = CancelRequest(EndReason.TIMEOUT, Urgency.POLITE)
            spent = time.monotonic() - self.started
            self._at(max(0.0, self.command.timeout - spent), lambda: self.cancel(request))

    # -- output ------------------------------------------------------------------------------------------------------

    def readable(self, descriptor: int) -> tuple[int, int] | None:
        """Read what a pipe holds: how much that was, and how much it can hold. None when the stream is over."""
        size, room = 0, self._open[descriptor]
        while size < room:
            data = self._read(descriptor)
            if data is None:
                self._close(descriptor)
                return None
            size += len(data)
            if len(data) < READ:
                break
        if size > room * FULL:
            self._enlarge(descriptor)
        if self._streams[descriptor][1].waiting and not self._flush_planned:
            self._flush_planned = True
            self._at(0.2, self._flush)
        return size, self._open[descriptor]

    def _read(self, descriptor: int) -> bytes | None:
        """Take one piece: empty if there is none now, None if there never will be."""
        try:
            data = os.read(descriptor, READ)
        except BlockingIOError:
            return b""
        except OSError:
            return None
        if not data:
            return None
        memory, lines = self._streams[descriptor]
        memory.feed(data)
        lines.feed(data)
        return data

    def _enlarge(self, descriptor: int) -> None:
        if self._open[descriptor] < PIPE:
            with contextlib.suppress(OSError):  # this user's pipes hold as much as they may
                self._open[descriptor] = fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE)

    def _flush(self) -> None:
        self._flush_planned = False
        for _, lines in self._streams.values():
            lines.flush()

    def _close(self, descriptor: int) -> None:
        if self._open.pop(descriptor, None) is not None:
            self._loop.forget(descriptor)
            os.close(descriptor)

    # -- asked to end ------------------------------------------------------------------------------------------------

    def cancel(self, request: CancelRequest) -> None:
        """Begin the ladder, or climb it."""
        if not self.done.is_set():
            self.exited()  # an end that was there before the request counts as it was, even if nobody looked yet (G29)
        if self.done.is_set():
            return
        if self._ended is None and self._decided is None:
            self._decided = request.reason
        if self._urgency is not None and request.urgency <= self._urgency:
            return
        self._urgency = request.urgency
        if request.urgency is Urgency.NOW:
            self._kill()
        elif self._ended is None:
            self._signal(signal.SIGTERM, signal.SIGCONT)
            self._at(self.command.grace, self._kill)

    def holds(self, pid: int) -> bool:
        """True if the process is in the control group of this run. Raises OSError where that cannot be seen now."""
        return self._group is not None and pid in self._group.pids()

    def _members(self) -> list[tree.Proc] | None:
        """Everything of this run that is alive, but the leader; None where that cannot be seen now (G60)."""
        try:
            return self._look_for_members()
        except OSError:
            return None

    def _look_for_members(self) -> list[tree.Proc]:
        found = {proc.pid: proc for proc in tree.below(self.pid)}
        for pid in self._group.pids() if self._group is not None else ():
            if pid != self.pid and (proc := tree.look(pid)) is not None and not proc.dead:
                found[pid] = proc
        for orphan in self._loop.orphans(self):
            if not orphan.dead:
                found[orphan.pid] = orphan
            for proc in tree.below(orphan.pid):
                found[proc.pid] = proc
        return list(found.values())

    def _signal(self, *signals: signal.Signals) -> None:
        for number in signals:
            try:
                os.killpg(self.pid, number)  # safe: the leader is not reaped before the end
            except (ProcessLookupError, PermissionError):
                pass
        for proc in self._members() or ():
            tree.send(proc, *signals)

    def _kill(self) -> None:
        if not self._killing and not self.done.is_set():
            self._killing = True
            self._kill_since = time.monotonic()
            self._kill_round()

    def _kill_round(self) -> None:
        """KILL whatever is there until nothing is: a tree that forks meanwhile is met again in the next round.

        What cannot be killed (state D) is reported, and the command has not ended as long as it lives (G18, G31).
        """
        if self.done.is_set():
            return
        if self._group is not None:
            self._group.kill()
        self._signal(signal.SIGKILL)
        if self._ended is not None and self._finish_if_alone():
            return
        late = time.monotonic() - self._kill_since > UNKILLABLE
        if late:
            left = self._left()
            self._tell_unkillable(left)
            if self._loop.ending:
                self._finish(left)
                return
        self._at(LONG_ROUND if late else ROUND, self._kill_round)

    def _left(self) -> tuple[int, ...]:
        leader = (self.pid,) if self._ended is None else ()
        return (*leader, *(proc.pid for proc in self._members() or ()))

    def _tell_unkillable(self, left: tuple[int, ...]) -> None:
        if self._told_unkillable:
            return
        self._told_unkillable = True
        text = f"cannot be killed: {', '.join(map(str, left))}; the task ends when they do"
        log.error("processes %s", text, extra={"task": self.command.task_id})
        self.command.log(f"\n-------\nprocesses of this task {text}\n".encode())

    # -- the end -----------------------------------------------------------------------------------------------------

    def abandon(self, why: str) -> None:
        """KILL all of it and end, because nobody supervises any more; from whichever thread finds that out.

        Blocks for LAST at most.
        """
        if self.done.is_set():
            return
        self._broken = why
        try:
            until = time.monotonic() + LAST
            while self._left_after_kill() and time.monotonic() < until:
                time.sleep(ROUND)
            self._finish(self._left())
        finally:
            self.exit = self.exit or Exit(EndReason.INTERNAL, -1, error=why)
            self.done.set()

    def _left_after_kill(self) -> bool:
        if self._group is not None:
            self._group.kill()
        self._signal(signal.SIGKILL)
        if self._ended is None:
            self._take_end()
        return self._ended is None or self._members() != []

    def exited(self) -> None:
        """The leader is dead (and not reaped, so that its group id stays its own)."""
        if self._ended is not None:
            return
        if not self._take_end():
            return
        self._loop.forget(self.spawned.pidfd)
        if self._finish_if_alone() or self._killing:
            return
        self._signal(signal.SIGTERM, signal.SIGCONT)
        self._at(SWEEP_GRACE, self._kill)
        self._at(ROUND, self._look_again)

    def _take_end(self) -> bool:
        info = os.waitid(os.P_PIDFD, self.spawned.pidfd, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if info is None:
            return False
        by_signal = info.si_code != os.CLD_EXITED
        self._ended = (128 + info.si_status, info.si_status) if by_signal else (info.si_status, 0)
        return True

    def _look_again(self) -> None:
        if not self.done.is_set() and not self._killing and not self._finish_if_alone():
            self._at(ROUND, self._look_again)

    def _finish_if_alone(self) -> bool:
        if self._members() != []:
            return False
        self._finish(())
        return True

    def _finish(self, unkillable: tuple[int, ...]) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []
        for descriptor in tuple(self._open):
            for _ in range(64):  # what is in the pipe already; a writer that is left cannot keep us here
                if not self._read(descriptor):
                    break
            self._close(descriptor)
        self._flush()
        self._loop.forget(self.spawned.pidfd)
        os.close(self.spawned.pidfd)
        if self._ended is not None:
            self.spawned.process.wait()
        if self._group is not None:
            self._group.remove()
        self.exit = self._describe(unkillable)
        self._loop.finished(self)
        self.done.set()

    def _describe(self, unkillable: tuple[int, ...]) -> Exit:
        code, number = self._ended or (-1, 0)
        reason, text = self._reason(code, number)
        if unkillable:
            text = f"{text}; these processes cannot be killed: {', '.join(map(str, unkillable))}"
        (out, _), (err, _) = self._streams[self.spawned.out], self._streams[self.spawned.err]
        stdout, stderr = out.value(), err.value()
        duration = time.monotonic() - self.started
        return Exit(reason, code, number, text, stdout, stderr, out.cut, duration, unkillable)

    def _reason(self, code: int, number: int) -> tuple[EndReason, str]:
        if self._broken:
            return EndReason.INTERNAL, self._broken
        if self._decided is EndReason.TIMEOUT:
            limit = f" after {self.command.timeout:g} s" if self.command.timeout else ""
            return self._decided, f"timed out{limit}"
        if self._decided is not None:
            return self._decided, f"{self._decided.value.replace('_', ' ')} on request"
        if number == signal.SIGKILL and self._loop.memory_killed():
            return EndReason.OUT_OF_MEMORY, "signal: killed (out of memory)"
        if number:
            return EndReason.SIGNAL, f"signal: {NAMES.get(signal.Signals(number), f'signal {number}')}"
        if code:
            return EndReason.EXIT_CODE, f"exit status {code}"
        return EndReason.COMPLETED, ""
