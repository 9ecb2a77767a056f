"""Tell the server that a task runs here, and go on only when the server has been read to know it (G4)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum

from application.leases import LeaseKeeper
from application.ports import Event, Node, Ports, Report, TaskReader
from application.runs import Run
from domain.errors import CoordinationError, NotFound, TransportError
from domain.status import Status
from domain.task import Task

log = logging.getLogger("worker.task")

TOGETHER = 4  # from this many announcements at a time on, one list request looks for all of them
LOOKS = 3  # how often the list is asked before a task is read singly, for absence from a list proves nothing
RESEND = 3.0  # seconds without the server showing the update before it is sent again
POLL = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
MOMENT = timedelta(seconds=5)  # past its start deadline, in which a task is still started; the lock lets nobody else
CLOCKS = timedelta(seconds=60)  # how far the calendars of worker and server may be apart
CHECK = 10.0  # seconds that the server's time-out check may take from its list to its last write


class Announced(StrEnum):
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"  # a stop, a lost lease, a shutdown came first
    LEASE_LOST = "lease lost"  # somebody else may have the task
    LATE = "too late"  # its start deadline passed meanwhile
    ENDED = "ended"  # the server holds an end for the task
    FOREIGN = "foreign"  # another worker runs it
    GONE = "gone"  # the server does not know the task any more


def is_late(task: Task, now: datetime) -> bool:
    """Whether the task is not to be started any more."""
    return task.timeout_at is not None and task.timeout_at + MOMENT <= now


def lock_hold(task: Task, now: datetime) -> float:
    """Seconds that the lock of a task is still needed once it was read to run (protocol 7.1).

    The server's check for tasks that nobody has started lists them, and later writes an end to each whose lock it
    gets, without reading it again. A task that was read to run before its start deadline is on no such list.
    """
    return CHECK if task.timeout_at is not None and task.timeout_at <= now + CLOCKS else 0.0


class Roll:
    """What the server lists as running here; one of the announcing threads asks on behalf of all. Any thread."""

    def __init__(self, ports: Ports, worker_id: str) -> None:
        self._runtime = ports.runtime
        self._tasks: TaskReader = ports.coordination
        self._worker_id = worker_id
        self._guard = ports.runtime.lock()
        self._announcing = 0
        self._asking = False
        self._asked_at = float("-inf")
        self._listed: frozenset[str] = frozenset()

    @property
    def crowded(self) -> bool:
        return self._announcing >= TOGETHER

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Count the caller among those that announce."""
        with self._guard:
            self._announcing += 1
        try:
            yield
        finally:
            with self._guard:
                self._announcing -= 1

    def shows(self, task_id: str, since: float) -> bool | None:
        """Whether a list that was asked for after ``since`` holds the task; None while another thread asks.

        Raises CoordinationError.
        """
        with self._guard:
            if self._asked_at > since:
                return task_id in self._listed
            if self._asking:
                return None
            self._asking = True
        asked_at, listed = self._runtime.now(), None
        try:
            tasks = self._tasks.of_worker(self._worker_id, Status.RUNNING, 500)
            listed = frozenset(task.id for task in tasks if task.worker_id == self._worker_id and not task.ended)
        finally:
            with self._guard:
                self._asking = False
                if listed is not None:
                    self._asked_at, self._listed = asked_at, listed
        return task_id in listed


class Announcer:
    def __init__(self, ports: Ports, node: Node, leases: LeaseKeeper, link_up: Event) -> None:
        self._ports = ports
        self._leases = leases
        self._worker_id = node.identity.id
        self._link_up = link_up
        self._roll = Roll(ports, node.identity.id)

    def running(self, run: Run) -> Announced:
        """Send ``running`` and read it back; blocks until the server shows it or the run is cancelled. Task thread."""
        with self._roll.joined():
            found = self._running(run)
        log.debug("announcement %s", found, extra=run.label)
        return found

    def _running(self, run: Run) -> Announced:
        runtime = self._ports.runtime
        woken = runtime.event()
        run.token.subscribe(lambda _: woken.set())
        send_at, polls, looks, since = 0.0, 0, 0, runtime.now()
        while not run.token.requested:
            if runtime.now() >= send_at and is_late(run.task, runtime.wall()):
                return Announced.LATE
            if not self._link_up.wait(0.5):
                continue
            if not self._leases.holds(run.task.id):
                # This process may have been frozen, and somebody else may have the task by now.
                return Announced.LEASE_LOST
            if runtime.now() >= send_at:
                send_at, polls = (runtime.now() + RESEND, 0) if self._send(run) else (0.0, 0)
            if self._roll.crowded and looks < LOOKS:
                listed = self._listed(run, since)
                if listed:
                    return Announced.CONFIRMED
                if listed is None:
                    woken.wait(POLL[1])
                    continue
                looks, since = looks + 1, runtime.now()
            else:
                verdict = self._read_back(run)
                if verdict is not None:
                    return verdict
            woken.wait(POLL[min(polls, len(POLL) - 1)])
            polls += 1
        return Announced.CANCELLED

    def _send(self, run: Run) -> bool:
        try:
            self._ports.transport.send(Report(run.task.id, Status.RUNNING))
        except TransportError:
            return False
        log.debug("announced: the server was told that it runs here", extra=run.label)
        return True

    def _listed(self, run: Run, since: float) -> bool | None:
        try:
            return self._roll.shows(run.task.id, since)
        except CoordinationError as error:
            log.debug("listing what runs here failed: %s", error, extra=run.label)
            return False

    def _read_back(self, run: Run) -> Announced | None:
        try:
            return self._verdict(self._ports.coordination.fetch(run.task.id))
        except NotFound:
            return Announced.GONE
        except CoordinationError as error:
            log.debug("reading the task back failed: %s", error, extra=run.label)
            return None

    def _verdict(self, task: Task) -> Announced | None:
        if task.ended or task.status.is_final:
            return Announced.ENDED
        if task.status is Status.RUNNING:
            return Announced.CONFIRMED if task.worker_id == self._worker_id else Announced.FOREIGN
        return None
