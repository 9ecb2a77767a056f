"""One task from its event to a decided, durable result; exactly one ending for every way through."""

from __future__ import annotations

import logging
from collections.abc import Callable

from application.announce import Announced, Announcer, is_late
from application.execution import DEFECTS, ended
from application.finish import Finish
from application.leases import LeaseKeeper
from application.ports import Ports
from application.runs import Admission, Phase, Run, RunTable
from domain.errors import CoordinationError, NoRoom, NotFound
from domain.result import EndReason
from domain.runner import CancelRequest, Urgency
from domain.status import Status
from domain.task import Task

log = logging.getLogger("worker.task")


class RunTask:
    """Submits tasks; each admitted one gets a thread that carries it to its end."""

    def __init__(
        self,
        ports: Ports,
        takes: Callable[[Task], bool],
        table: RunTable,
        leases: LeaseKeeper,
        announcer: Announcer,
        finish: Finish,
    ) -> None:
        self._ports = ports
        self._takes = takes
        self._table = table
        self._leases = leases
        self._announcer = announcer
        self._finish = finish

    def submit(self, task: Task) -> None:
        """Admit the task and start it, or count why not. Link thread; returns at once."""
        log.debug("offered: %s", task.category, extra={"task": task.id, "task_name": task.name})
        if self._finish.recently_ended(task.id):
            self._count("duplicate")
            return
        if self._finish.full():
            self._count("refused")
            log.warning("not taken: too many results wait for delivery", extra={"task": task.id})
            return
        admission, run = self._table.admit(task)
        if run is None:
            log.debug("not taken: %s", self._table.closed_for or admission, extra={"task": task.id})
            self._count("duplicate" if admission is Admission.DUPLICATE else "refused")
            return
        try:
            self._ports.runtime.start(f"task-{task.id[:8]}", lambda: self._carry(run))
        except NoRoom as error:
            self._table.remove(task.id)
            self._count("refused")
            log.error("not taken: %s", error, extra=run.label)

    def _carry(self, run: Run) -> None:
        try:
            self._steps(run)
        except DEFECTS as error:
            log.exception("a defect of the worker ended this task", extra=run.label)
            self._finish.tell(run, "not_started")
            self._finish.with_result(run, ended(EndReason.INTERNAL, f"{type(error).__name__}: {error}"))

    def _steps(self, run: Run) -> None:
        if not self._claim(run) or not self._still_wanted(run):
            return
        if not self._finish.accept(run):
            self._drop(run, "refused")
            return
        if not run.token.requested:
            announced = self._announcer.running(run)
            if announced in (Announced.LEASE_LOST, Announced.LATE):
                self._finish.hand_back(run, announced)
                return
            if announced not in (Announced.CONFIRMED, Announced.CANCELLED):
                log.info("not started: %s", announced, extra=run.label)
                self._finish.forget(run)
                return
        if run.token.requested:
            self._end_unstarted(run)
            return
        self._table.enter(run, Phase.RUNNING)
        self._finish.execute(run)

    def _claim(self, run: Run) -> bool:
        def lost() -> None:
            run.token.cancel(CancelRequest(EndReason.LEASE_LOST, Urgency.NOW, "the task's lock was lost"))

        try:
            lease = self._leases.claim(run.task.id, lost)
        except CoordinationError as error:
            log.info("not taken: claiming failed (%s)", error, extra=run.label)
            lease = None
        if lease is None:
            self._drop(run, "not_claimed")
        return lease is not None

    def _still_wanted(self, run: Run) -> bool:
        """Read the task anew: the event is a snapshot and often stale (G20)."""
        try:
            fresh = self._ports.coordination.fetch(run.task.id)
        except NotFound:
            self._drop(run, "stale")
            return False
        except CoordinationError as error:
            log.info("not taken: reading it failed (%s)", error, extra=run.label)
            self._drop(run, "not_claimed")
            return False
        late = is_late(fresh, self._ports.runtime.wall())
        if fresh.status is not Status.PENDING or fresh.ended or late or not self._takes(fresh):
            log.debug("not taken: it is %s now, not offered to this worker, or too late", fresh.status, extra=run.label)
            self._drop(run, "stale")
            return False
        log.debug("read anew: it is still to be run", extra=run.label)
        run.task = fresh
        return True

    def _end_unstarted(self, run: Run) -> None:
        request = run.token.first
        assert request is not None
        if request.reason in (EndReason.STOPPED, EndReason.KILLED, EndReason.TIMEOUT):
            self._finish.tell(run, "not_started")
            self._finish.with_result(run, ended(request.reason, f"{request.reason.value} before it started"))
        elif request.reason is EndReason.SUPERSEDED:
            self._finish.forget(run)
        else:
            self._finish.hand_back(run, request.note or request.reason)

    def _drop(self, run: Run, why: str) -> None:
        self._count(why)
        self._leases.release(run.task.id)
        self._table.remove(run.task.id)

    def _count(self, what: str) -> None:
        self._ports.metrics.count(f"events_{what}")
