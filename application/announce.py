"""Tell the server that a task runs here, and go on only when the server has been read to know it (G4)."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from enum import StrEnum

from application.leases import LeaseKeeper
from application.ports import Receipt, Runtime
from application.roll import Uplink, Watch
from application.runs import Run
from domain.errors import CoordinationError, NotFound, TransportError
from domain.status import Status

log = logging.getLogger("worker.task")

RESEND = 3.0  # seconds without the server showing the update before it is sent again


class Announced(StrEnum):
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"  # a stop, a lost lease, a shutdown came first
    LEASE_LOST = "lease lost"  # somebody else may have the task
    LATE = "too late"  # its start deadline passed meanwhile
    ENDED = "ended"  # the server holds an end for the task
    FOREIGN = "foreign"  # another worker runs it
    GONE = "gone"  # the server does not know the task any more


class Announcer:
    def __init__(self, runtime: Runtime, uplink: Uplink, leases: LeaseKeeper) -> None:
        self._runtime = runtime
        self._uplink = uplink
        self._roll = uplink.roll
        self._leases = leases

    def running(self, run: Run) -> Announced:
        """Tell that the task runs here; blocks until the server is known to hold it, or the run is cancelled.

        Task thread.
        """
        with self._roll.waiting() if self._roll is not None else nullcontext():
            found = self._running(run)
        log.debug("announcement %s", found, extra=run.label)
        return found

    def _running(self, run: Run) -> Announced:
        runtime = self._runtime
        woken, send_at, watch = runtime.event(), 0.0, Watch(run.task.id, runtime.now())
        run.token.subscribe(lambda _: woken.set())
        while not run.token.requested:
            if runtime.now() >= send_at and run.task.is_late(runtime.wall()):
                return Announced.LATE
            if not self._uplink.link.up.wait(0.5):
                continue
            if not self._leases.holds(run.task.id):
                # This process may have been frozen, and somebody else may have the task by now.
                return Announced.LEASE_LOST
            if runtime.now() >= send_at:
                told = self._send(run)
                if told is Receipt.CONFIRMED:
                    return Announced.CONFIRMED
                if told is Receipt.SUPERSEDED:
                    return Announced.ENDED
                send_at = runtime.now() + RESEND if told is Receipt.SENT else 0.0
                watch.looks = 0 if told is Receipt.SENT else watch.looks + 1
            verdict = self._look(run, watch)
            if verdict is not None:
                return verdict
            woken.wait(watch.pause())
        return Announced.CANCELLED

    def _send(self, run: Run) -> Receipt | None:
        try:
            receipt = self._uplink.outcomes.running(run.task.id, run.proof)
        except TransportError:
            return None
        log.debug("announced: the server was told that it runs here", extra=run.label)
        return receipt

    def _look(self, run: Run, watch: Watch) -> Announced | None:
        try:
            task = self._roll.look(watch) if self._roll is not None else None
        except NotFound:
            return Announced.GONE
        except CoordinationError as error:
            log.debug("reading the task back failed: %s", error, extra=run.label)
            return None
        if task is None:
            return None
        if task.ended or task.status.is_final:
            return Announced.ENDED
        if task.status is Status.RUNNING:
            return Announced.CONFIRMED if task.worker_id == self._uplink.worker_id else Announced.FOREIGN
        return None
