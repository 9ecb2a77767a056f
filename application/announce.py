"""Tell the server that a task runs here, and go on only when the server has been read to know it (G4)."""

from __future__ import annotations

import logging
from enum import StrEnum

from application.leases import LeaseKeeper
from application.ports import Event, Node, Ports, Report
from application.runs import Run
from domain.errors import CoordinationError, NotFound, TransportError
from domain.status import Status
from domain.task import Task

log = logging.getLogger("worker.task")

RESEND = 3.0  # seconds without the server showing the update before it is sent again
POLL = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class Announced(StrEnum):
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"  # a stop, a lost lease, a shutdown came first
    LEASE_LOST = "lease lost"  # somebody else may have the task
    ENDED = "ended"  # the server holds an end for the task
    FOREIGN = "foreign"  # another worker runs it
    GONE = "gone"  # the server does not know the task any more


class Announcer:
    def __init__(self, ports: Ports, node: Node, leases: LeaseKeeper, link_up: Event) -> None:
        self._ports = ports
        self._leases = leases
        self._worker_id = node.identity.id
        self._link_up = link_up

    def running(self, run: Run) -> Announced:
        """Send ``running`` and read it back; blocks until the server shows it or the run is cancelled. Task thread."""
        runtime = self._ports.runtime
        woken = runtime.event()
        run.token.subscribe(lambda _: woken.set())
        send_at, polls = 0.0, 0
        while not run.token.requested:
            if not self._link_up.wait(0.5):
                continue
            if not self._leases.holds(run.task.id):
                # This process may have been frozen, and somebody else may have the task by now.
                return Announced.LEASE_LOST
            if runtime.now() >= send_at:
                send_at, polls = (runtime.now() + RESEND, 0) if self._send(run) else (0.0, 0)
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
        return True

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
