"""The tiny parent of the worker: it outlives it, ends what it leaves, and starts it again.

Standard library only and few imports: what can fail here fails for every task. It is a child subreaper, so whatever a
dead worker's tasks leave behind becomes its child and is killed. It holds each task's lease deadline; when the worker
is frozen or hangs past one, the task's tree is killed all the same (G15). It passes on the wish to end, and reaps as
process 1. A worker that again and again does not even get ready is given up.

Messages from the worker are JSON datagrams on a socket pair: {"secrets": 1}, {"hello": {...}} when it is ready,
{"failed": why it will not be}, {"beat": 1}, {"start": [task, pid, start time]}, {"gone": task}, {"end": task},
{"lease": [task, deadline on CLOCK_BOOTTIME]}. The secrets of the environment go to the worker only when it asks for
them, which it does when no task can look into it any more: in its environment they would be open to all of them while
it starts. They go in a file without a name, as a datagram has a greatest size.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from adapters.process.environment import take_secrets
from adapters.process.kernel import become_subreaper, boottime
from adapters.process.killing import can_see, children_of, descendants, kill, kill_tree, stat_of, tag_of

FD_VARIABLE = "CRONJOB_WORKER_GUARDIAN_FD"
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # a terminal that is gone ends its worker too
FINAL = (0, 2, 64, 78)  # the worker meant it: success, usage, configuration
BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)
HEALTHY = 60.0
STARTS = 5  # how many of them in a row may end before the worker is ready
CONFIGURATION, TEMPORARY = 78, 75  # exit statuses: the next start would fail too; it may succeed later
HANG = 60.0  # seconds without a sign of life until the worker is taken for dead
ASLEEP = 10.0  # seconds between two looks after which this process must have been asleep too
STUCK = 3.0  # seconds without a sign of life after which the worker cannot be trusted to end anything
LATE = 2.0  # seconds past a lease deadline that the worker gets to act by itself
PR_SET_DUMPABLE = 4


def forbid_inspection() -> None:
    """Keep other processes of this user, tasks above all, from this one's memory, environment and descriptors (G67).

    Holds for this process only: what it executes is as open as ever. No core of it is written either. A debugger needs
    root. Where the kernel refuses, everything goes on as before.
    """
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def start_clean() -> None:
    """Undo what this process was started with and tasks would inherit: ignored and blocked signals, core files (G33).

    SIGPIPE and SIGXFSZ are the interpreter's own to ignore; ``subprocess`` gives them back.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def say(text: str) -> None:
    now = datetime.now(UTC)
    if sys.stderr.isatty():
        line = f"{now.astimezone():%Y-%m-%d %H:%M:%S} WARN  guardian: {text}\n"
    else:
        stamp = now.isoformat(timespec="milliseconds")
        line = json.dumps({"time": stamp, "level": "WARN", "logger": "worker.guardian", "message": text}) + "\n"
    with contextlib.suppress(OSError):
        _, writable, _ = select.select([], [sys.stderr], [], 0)
        if writable:  # else nobody reads (Ctrl-S, a full pipe), and waiting would keep the guardian from its work
            sys.stderr.write(line)
            sys.stderr.flush()


class Guardian:
    """Runs ``argv`` as the worker until it ends for good; ``run`` returns the exit status."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = list(argv)
        self._worker: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._tasks: dict[str, tuple[int, int]] = {}
        self._leases: dict[str, float] = {}
        self._overdue = False
        self._asked = 0
        self._asked_at = 0.0
        self._shutdown = 120.0
        self._greeted = False
        self._why = ""
        self._secrets: dict[str, str] = {}
        self._beat = self._looked = 0.0
        self._selector = selectors.DefaultSelector()
        self._signals: list[int] = []

    def run(self) -> int:
        if not can_see():
            say("/proc, where the processes of tasks are found, is not mounted or tells no children: mount it, as by "
                "`mount -t proc proc /proc`")  # fmt: skip
            return CONFIGURATION
        hangup = signal.getsignal(signal.SIGHUP)
        self._secrets = take_secrets(os.environ)
        start_clean()
        become_subreaper()
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        # SIGUSR2 means nothing here: what it would do by default is to end the program.
        for number in (*ENDING, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
            signal.signal(number, lambda n, _: self._signals.append(n))
        if hangup == signal.SIG_IGN:  # nohup stays in force, and tasks start clean all the same
            signal.signal(signal.SIGHUP, lambda *_: None)
        self._selector.register(wake_read, selectors.EVENT_READ)
        failures = unready = 0
        while True:
            started = boottime()
            self._start()
            code = self._watch(wake_read)
            self._sweep()
            if self._asked or code in FINAL:
                return code if code >= 0 else 128 - code
            unready = 0 if self._greeted else unready + 1
            if unready == STARTS:
                return self._give_up(code)
            failures = 0 if boottime() - started > HEALTHY else failures + 1
            delay = BACKOFF[min(failures, len(BACKOFF) - 1)]
            say(f"the worker ended with {describe(code)}; its tasks are ended; next start in {delay:g} s")
            if not self._nap(wake_read, delay):
                return 0

    def _give_up(self, code: int) -> int:
        """Say why; returns the exit status."""
        status = TEMPORARY if code == TEMPORARY or code < 0 else CONFIGURATION
        say(
            f"given up with exit status {status}: {STARTS} starts in a row ended before the worker was ready, "
            f"the last one with {describe(code)}{': ' if self._why else ''}{self._why}"
        )
        return status

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        environment = os.environ | {FD_VARIABLE: str(theirs.fileno())}
        # A session of its own: Ctrl-C reaches only the guardian, which forwards it once, and no terminal stops it.
        self._worker = subprocess.Popen(
            self._argv, env=environment, pass_fds=(theirs.fileno(),), start_new_session=True
        )
        theirs.close()
        self._socket, self._greeted, self._why = ours, False, ""
        self._beat = boottime()
        self._selector.register(ours, selectors.EVENT_READ)

    def _watch(self, wake: int) -> int:
        """Serve the worker until it is dead; returns its exit code as Popen tells it."""
        assert self._worker is not None
        assert self._socket is not None
        while True:
            self._reap()
            if self._worker.returncode is not None:
                break
            self._selector.select(self._pause())
            self._drain(wake)
            self._listen()
            self._forward()
            self._check_leases()
            self._check_worker()
        self._listen()
        self._selector.unregister(self._socket)
        self._socket.close()
        return self._worker.returncode

    def _pause(self) -> float:
        nearest = min(self._leases.values(), default=boottime() + 1.0) + LATE
        return min(1.0, max(0.01, nearest - boottime()))

    def _drain(self, wake: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 512)

    def _listen(self) -> None:
        assert self._socket is not None
        while True:
            try:
                data = self._socket.recv(4096)
            except (BlockingIOError, ConnectionError):
                return
            if not data:
                return
            self._take(data)

    def _take(self, data: bytes) -> None:
        self._beat = boottime()
        try:
            ((kind, value),) = json.loads(data).items()
            if kind == "start":
                self._tasks[value[0]] = (int(value[1]), int(value[2]))
            elif kind == "gone":
                self._tasks.pop(value, None)
            elif kind == "end":
                self._leases.pop(value, None)
            elif kind == "lease":
                self._leases[value[0]] = float(value[1])
            elif kind == "hello":
                self._shutdown, self._greeted = float(value["shutdown"]), True
            elif kind == "failed":
                self._why = "".join(sign if sign.isprintable() else " " for sign in str(value))
            elif kind == "secrets":
                self._hand_over()
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            say("a message of the worker could not be read")

    def _hand_over(self) -> None:
        assert self._socket is not None
        with open(os.memfd_create("secrets"), "w+b") as file, contextlib.suppress(OSError):  # it has gone meanwhile
            file.write(json.dumps(self._secrets).encode())
            file.seek(0)
            socket.send_fds(self._socket, [b"secrets"], [file.fileno()])

    def _forward(self) -> None:
        assert self._worker is not None
        signals, self._signals = self._signals, []
        for number in signals:
            ending = number in ENDING
            if not ending and number != signal.SIGUSR1:
                continue
            if not ending and not self._greeted:  # early in its start a worker would die of it: later
                if number not in self._signals:
                    self._signals.append(number)
                continue
            if ending:
                self._asked += 1
                self._asked_at = self._asked_at or boottime()
            with contextlib.suppress(ProcessLookupError):
                self._worker.send_signal(signal.SIGTERM if ending else number)

    def _check_leases(self) -> None:
        now = boottime()
        for task_id, deadline in list(self._leases.items()):
            if now < deadline + LATE:
                continue
            del self._leases[task_id]
            known = self._tasks.pop(task_id, None)
            if known is not None:
                self._kill_run(*known)
                say(f"task {task_id}: its lock ran out and the worker did not act: its processes are killed")
                self._overdue = True
        if self._overdue and not self._leases and now - self._beat > STUCK:
            # No task may run any more and the worker is stuck: what hid its origin is ended too.
            self._overdue = False
            assert self._worker is not None
            kill(descendants(self._worker.pid))

    def _kill_run(self, pid: int, start: int) -> None:
        """KILL a task's tree, and what left the tree and was adopted by the worker (known by its run tag)."""
        assert self._worker is not None
        tag = tag_of(pid)
        kill_tree(pid, start)
        for child in children_of(self._worker.pid):
            found = stat_of(child)
            if tag and found is not None and tag_of(child) == tag:
                kill_tree(child, found.start)

    def _check_worker(self) -> None:
        assert self._worker is not None
        now = boottime()
        if now - self._looked > ASLEEP:
            self._beat = now  # the worker could give no sign of life while the machine slept
        self._looked = now
        if self._asked and now - self._asked_at > self._shutdown:
            self._worker.kill()
            say("the worker did not end in time and is killed")
        elif now - self._beat > HANG:
            self._beat = now
            self._worker.kill()
            say(f"no sign of life from the worker for {HANG:g} s: it is killed")

    def _reap(self) -> None:
        """Collect every dead child; as subreaper (or process 1) they come from anywhere."""
        assert self._worker is not None
        self._worker.poll()
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            if found.si_pid == self._worker.pid:
                self._worker.poll()
            else:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(found.si_pid, os.WNOHANG)

    def _sweep(self) -> None:
        """The worker is dead: everything that is left of it is a child of this process or below one. End all."""
        self._tasks.clear()
        self._leases.clear()
        deadline = boottime() + 5.0
        while boottime() < deadline:
            left = [found for found in map(stat_of, children_of(os.getpid())) if found and not found.dead]
            for found in left:
                kill_tree(found.pid, found.start)
            self._reap()
            if not left and not children_of(os.getpid()):
                return
            self._selector.select(0.01)
        say("some processes of dead tasks cannot be killed: " + ", ".join(map(str, children_of(os.getpid()))))

    def _nap(self, wake: int, seconds: float) -> bool:
        """Wait for the next start; False if the end was asked for meanwhile."""
        until = boottime() + seconds
        while (left := until - boottime()) > 0:
            self._selector.select(left)
            self._drain(wake)
            self._reap()
            if any(number in ENDING for number in self._signals):
                return False
            self._signals.clear()
        return True


def describe(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
