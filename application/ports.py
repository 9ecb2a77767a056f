"""What the use-cases need from outside. Each docstring is the contract of its adapters; the contract suites in
``adapters/testkit`` check it. Errors are those of ``domain.errors`` and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from domain.runner import ApprovalDesk, CredentialSource
from domain.status import Status
from domain.task import Task, TaskEvent

# --- time, threads, chance ---------------------------------------------------------------------------------------


class Event(Protocol):
    """A flag to wait on, as threading.Event."""

    def set(self) -> None: ...
    def clear(self) -> None: ...
    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool:
        """Block until set or until ``timeout`` seconds passed; returns whether it is set."""


class Thread(Protocol):
    def join(self, timeout: float | None = None) -> None: ...
    def is_alive(self) -> bool: ...


class Runtime(Protocol):
    """The only way to threads, waits, clocks and randomness, so that a simulated one can run the core under a seed."""

    def now(self) -> float:
        """Seconds on a clock that never jumps and counts suspend (CLOCK_BOOTTIME). Any thread."""

    def wall(self) -> datetime:
        """The calendar time with an offset; for people and for deadlines that the server gave as such."""

    def uniform(self, low: float, high: float) -> float: ...
    def event(self) -> Event: ...
    def lock(self) -> AbstractContextManager[Any]:
        """A mutual exclusion lock, not reentrant; hold it for memory operations only."""

    def start(self, name: str, target: Callable[[], None]) -> Thread:
        """Run ``target`` on a new daemon thread. An exception that leaves it is the target's own defect.

        Raises NoRoom where the system has no thread to give.
        """


# --- the event stream --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this worker is; what a registration tells the server. ``tasks`` are the category codes it takes."""

    id: str
    name: str
    description: str = ""
    working_dir: str = "."
    tasks: tuple[str, ...] = ("default",)


@dataclass(frozen=True, slots=True)
class Report:
    """One update of a task. ``output`` is a JSON object as text, within the server's limit; None leaves the field.

    ``status`` None reports progress without a state. The same report gives the same bytes each time.
    """

    task_id: str
    status: Status | None
    output: str | None = None
    execute_log: str = ""
    error: str = ""
    duration: int = 0
    exit_code: int = 0
    time_end: str = ""


class Transport(Protocol):
    """The two-way link. One object lives as long as the worker; connections come and go inside it.

    Nothing acknowledges a ``send``: what was sent counts only when read back through Coordination.
    """

    def connect(self, identity: Identity) -> None:
        """Open, register, and verify the registration. Link thread only; blocks up to the connect time-out.

        Raises ConnectionLost, ConnectionRefused, or the CoordinationError of a request that belongs to it (the lock of
        the connection, the look at the registration). Nothing received on a former connection is seen on the new one.
        """

    def receive(self, timeout: float) -> Sequence[TaskEvent]:
        """Return the events that arrived, empty after ``timeout`` seconds. Link thread only.

        Bad messages are counted (``events_invalid``), logged and skipped. Raises ConnectionLost.
        """

    def send(self, report: Report) -> None:
        """Put one report on the wire whole. Any thread; blocks for the socket only. Raises ConnectionLost."""

    def ping(self) -> None:
        """Ask the peer for a sign of life. Any thread. Raises ConnectionLost."""

    def silence(self) -> float:
        """Seconds since the peer last gave a sign of life. Any thread."""

    def close(self) -> None:
        """End the connection, wake a blocked ``receive`` or ``send``. Any thread, idempotent, at once."""


# --- what the server offers beside the event stream -----------------------------------------------------------------


class Locks(Protocol):
    """One-owner locks that expire by themselves. Each call blocks up to ``timeout`` seconds. Any thread."""

    def acquire(self, key: str, ttl: float, timeout: float) -> str | None:
        """Return the value that proves ownership, None if somebody else holds the lock. Raises Unavailable, Refused.

        Never retried inside: after a lost answer the lock may be held under an unknown value until ``ttl`` ends.
        """

    def refresh(self, key: str, value: str, ttl: float, timeout: float) -> bool:
        """Extend the lock; False means it is not ours any more. Raises Unavailable."""

    def release(self, key: str, value: str, timeout: float) -> bool:
        """Give the lock back; False means that it was not ours any more, which is no error. Raises Unavailable."""


class TaskReader(Protocol):
    """Reads tasks as the server holds them. Any thread; each call blocks for one request."""

    @property
    def keeps_running(self) -> bool:
        """What the server does with a running task whose lock has ended; never changes.

        True: nothing. A task that was read to be ``running`` stays so until its worker tells otherwise or people end
        it, so the lock protects the claim only. False: it may be offered again, so only the lock protects the run.
        """

    def fetch(self, task_id: str) -> Task:
        """Raises NotFound, Unavailable, Refused."""

    def of_worker(self, worker_id: str, status: Status | None, limit: int) -> Sequence[Task]:
        """Up to ``limit`` tasks assigned to the worker, newest first. Absence proves nothing. Raises as ``fetch``."""


class TaskLogs(Protocol):
    """The log that people read while a task runs. At most one call per task at a time."""

    def append(self, task_id: str, text: str) -> int:
        """Append non-empty text and return the log's new size in bytes. Not idempotent. Raises CoordinationError.

        Where no answer comes, the log may hold the text, or not, or nothing but the text.
        """

    def read(self, task_id: str) -> bytes | None:
        """The whole log; None if there is none, or if the server cannot look. Raises Unavailable, Refused."""

    def replace(self, task_id: str, text: str) -> None:
        """Write a log that is there wholly anew. Idempotent. Raises CoordinationError."""


@dataclass(frozen=True, slots=True)
class Category:
    """Shell texts the server keeps for a category; empty means nothing to do."""

    code: str
    check: str = ""
    setup: str = ""
    teardown: str = ""


class Categories(Protocol):
    def category(self, code: str) -> Category:
        """Raises NotFound, Unavailable, Refused."""


class Approvals(ApprovalDesk, Protocol):
    def pending_approvals(self, task_id: str) -> Sequence[str]:
        """The ids of the task's unanswered approvals, newest first. Raises Unavailable."""


class Coordination(Locks, TaskReader, TaskLogs, Categories, CredentialSource, Approvals, Protocol):
    """All of it: what an adapter for one server offers. Use-cases ask for the part they need."""

    def abandon(self) -> None:
        """The worker ends: calls under way end at once, and they and later ones may raise Unavailable.

        Any thread, idempotent.
        """


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """How a link is kept alive, in seconds: between heartbeats, of silence after one that was not answered until the
    link is given up, and the longest pause between two tries to connect."""

    ping_interval: float = 20.0
    pong_timeout: float = 60.0
    reconnect_cap: float = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """What one transport offers. ``secrets`` are the texts that no task may find in its environment, as of now."""

    transport: Transport
    coordination: Coordination
    times: LinkTimes = LinkTimes()
    secrets: Callable[[], tuple[str, ...]] = tuple


# --- what outlives this process --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """What the journal knows of one task.

    ``phase``: accepted (nothing started), running (a process may exist), finished (``report`` is decided).
    ``lock_value`` proves the task's lock. ``started`` tells that a process may have existed.
    """

    task_id: str
    phase: str
    name: str = ""
    category: str = ""
    lock_value: str = ""
    save_log: bool = False
    started: bool = False
    report: Report | None = None
    pid: int = 0
    pid_start: int = 0
    boot_id: str = ""
    finished_at: float = 0.0  # seconds since 1970; how old an undeliverable entry is


class Journal(Protocol):
    """Tasks on disk from before their process starts until their end is confirmed. Any thread.

    A call returns when the change is durable. Raises JournalError; then nothing was changed.
    """

    def accept(self, entry: Entry) -> None: ...
    def running(self, task_id: str, pid: int, pid_start: int, boot_id: str) -> None: ...
    def started(self, task_id: str) -> None:
        """The server knows that the task runs; its process may exist from now on."""

    def finish(self, task_id: str, report: Report, finished_at: float) -> None: ...
    def forget(self, task_id: str) -> None:
        """The server holds the task's end, or there is nothing to tell: drop the entry."""

    def bury(self, task_id: str, why: str) -> None:
        """Move an undeliverable entry to the dead letters."""

    def entries(self) -> Sequence[Entry]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Part of a log: ``data`` stands at ``offset`` of what this worker has to tell, behind ``base`` bytes of others.

    ``base`` is None until the first confirmation. ``doubtful``: what the server holds may be something else.
    """

    offset: int
    base: int | None
    data: bytes
    doubtful: bool = False


class LogSpool(Protocol):
    """The live log of each task on its way to the server: bounded on disk, in order. Any thread."""

    def open(self, task_id: str) -> None:
        """Begin a log; keeps what a former life left."""

    def write(self, task_id: str, data: bytes) -> None:
        """Append output; never blocks for long, never raises; past the cap the middle is cut and the cut is marked."""

    def finish(self, task_id: str) -> None:
        """No more output will come."""

    def peek(self, task_id: str, limit: int) -> Batch:
        """The first undelivered bytes, up to ``limit``, cut between characters; empty data where there are none."""

    def text(self, task_id: str) -> bytes:
        """All bytes from the first on, delivered or not."""

    def doubt(self, task_id: str) -> None:
        """What the server holds is doubtful until ``trust``: the log is not drained before. After a crash all are."""

    def trust(self, task_id: str) -> None:
        """The server holds what was confirmed, and nothing else of this log."""

    def rebase(self, task_id: str, base: int) -> None:
        """Remember how much log the server had before the first byte of this one.

        Outlives the death of this process, but not always a power cut.
        """

    def advance(self, task_id: str, offset: int) -> None:
        """All bytes before ``offset`` are confirmed at the server.

        Outlives the death of this process, but not always a power cut: then they are sent again.
        """

    def pending(self) -> Sequence[str]:
        """The tasks with undelivered output, and those that are finished and doubtful."""

    def drained(self, task_id: str) -> bool:
        """Finished, delivered to the end and not doubtful; or unknown."""

    def finished(self, task_id: str) -> bool:
        """``finish`` was called."""

    def discard(self, task_id: str) -> None:
        """Forget the log; idempotent."""


# --- watching ---------------------------------------------------------------------------------------------------------


class Metrics(Protocol):
    """Counters by name. Any thread, never raises, never blocks."""

    def count(self, name: str, amount: int = 1) -> None: ...
    def snapshot(self) -> Mapping[str, float]: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How the use-cases behave; all times in seconds.

    ``on_lost_lease`` is what a run does without its lock: ``keep`` on, ``stop``, or ``auto``: as the server keeps
    what runs (``TaskReader.keeps_running``).
    """

    concurrency: int = 100
    grace: float = 10.0
    lease_ttl: float = 60.0
    on_lost_lease: str = "auto"
    acquire_ttl: float = 10.0
    request_timeout: float = 10.0
    ping_interval: float = 20.0
    pong_timeout: float = 60.0
    reconnect_cap: float = 30.0
    drain: float = 60.0
    outbox: int = 1000
    output_limit: int = 60_000
    dead_letter_age: float = 86_400.0


class Remains(Protocol):
    """Ends what a former life of this worker left running."""

    def end(self, entry: Entry) -> None:
        """Kill the process tree of ``entry`` if any of it is alive; blocks for seconds at most, never raises."""

    def sweep(self) -> None:
        """Kill whatever else former lives of this worker left; before this life starts anything. As ``end``."""


class Warden(Protocol):
    """Ends tasks from outside when this process cannot. Any thread; never blocks, never raises."""

    @property
    def lost(self) -> bool:
        """Whether there was one and it is gone: then nobody ends this worker's tasks after it."""

    def hello(self, shutdown: float) -> None:
        """The worker begins; ending it may take ``shutdown`` seconds from the wish on."""

    def close(self) -> None:
        """Idempotent."""

    def beat(self) -> None:
        """This process lives and its loops go round."""

    def lease(self, task_id: str, deadline: float) -> None:
        """The task's processes must be gone a little after ``deadline`` (Runtime.now) unless a later one is told."""

    def ended(self, task_id: str) -> None:
        """The task is over; its lease does not matter any more."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside of the core, handed over once."""

    runtime: Runtime
    transport: Transport
    coordination: Coordination
    journal: Journal
    spool: LogSpool
    metrics: Metrics
    remains: Remains
    warden: Warden


@dataclass(frozen=True, slots=True)
class Node:
    """This worker: who it is and how it behaves."""

    identity: Identity
    limits: Limits
