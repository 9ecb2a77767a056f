"""What a former life left behind, and what the server believes to run here and does not."""

from __future__ import annotations

import logging
from collections.abc import Callable

from application.approvals import LEFT_RUNNING, withdraw
from application.delivery import Delivery
from application.leases import LeaseKeeper
from application.ports import Entry, Event, Node, Ports, Report
from application.reporting import Reporter
from application.runs import Phase, RunTable
from domain.errors import CoordinationError, JournalError, NotFound
from domain.result import EndReason
from domain.runner import CancelRequest, Urgency
from domain.status import Status
from domain.task import Task

log = logging.getLogger("worker.recovery")


class Recovery:
    def __init__(
        self, ports: Ports, node: Node, table: RunTable, leases: LeaseKeeper, delivery: Delivery, reporter: Reporter
    ) -> None:
        self._ports = ports
        self._node = node
        self._table = table
        self._leases = leases
        self._delivery = delivery
        self._reporter = reporter
        self._guard = ports.runtime.lock()
        self._suspects: set[str] = set()
        self._reconcile = True
        self._wake = ports.runtime.event()

    def load(self) -> None:
        """Take the journal's entries in hand. Called once, before any loop runs; raises JournalError."""
        for entry in self._ports.journal.entries():
            self._ports.remains.end(entry)
            self._adopt(entry)
        self._ports.remains.sweep()

    def suspect(self, task_id: str) -> None:
        """A task was to be stopped: once it is not in hand any more, look whether it is ours and orphaned. Any thread,
        at once."""
        with self._guard:
            self._suspects.add(task_id)
        self._wake.set()

    def wake(self) -> None:
        """The link is up again: reconcile."""
        self._reconcile = True
        self._wake.set()

    def run(self, closing: Callable[[], bool], link_up: Event, interval: float = 30.0) -> None:
        """The loop: suspects at once, everything at each reconnect and every ``interval`` seconds."""
        due = 0.0
        while not closing():
            self._wake.wait(1.0)
            self._wake.clear()
            if closing() or not link_up.is_set():
                continue
            self._look_at_suspects(closing)
            now = self._ports.runtime.now()
            if self._reconcile or now >= due:
                self._reconcile = False
                due = now + interval
                self._compare(closing)

    def _adopt(self, entry: Entry) -> None:
        run = self._table.adopt(Task(entry.task_id, entry.category, name=entry.name))
        if run is None:
            return
        self._ports.metrics.count("tasks_adopted")
        if entry.lock_value:
            self._leases.adopt(entry.task_id, entry.lock_value)
        if entry.save_log:
            self._ports.spool.open(entry.task_id)
            self._ports.spool.finish(entry.task_id)
        report = entry.report
        if report is None:
            report = self._lost(entry) if entry.started else Report(entry.task_id, Status.PENDING)
            self._delivery.keep(report)
        log.warning("left from a former life: %s", report.status or "progress", extra=run.label)
        self._delivery.add(run, report)

    def _lost(self, entry: Entry) -> Report:
        return self._reporter.without_run(
            entry.task_id,
            EndReason.WORKER_LOST,
            "worker_lost: the worker ended while this task ran; its end is unknown",
        )

    def _look_at_suspects(self, closing: Callable[[], bool]) -> None:
        with self._guard:
            suspects = [task_id for task_id in self._suspects if self._table.find(task_id) is None]
        for task_id in suspects:
            if closing():
                return
            try:
                self._orphaned(
                    self._asked_no_more(task_id), EndReason.STOPPED, "stopped: nothing of it was running here"
                )
            except NotFound:
                pass
            except CoordinationError as error:
                log.debug("looking for a task that was to be stopped failed: %s", error, extra={"task": task_id})
                return
            with self._guard:
                self._suspects.discard(task_id)

    def _asked_no_more(self, task_id: str) -> Task:
        """The task as the server holds it, after the withdrawal of what it has asked people (A2)."""
        coordination = self._ports.coordination
        task = coordination.fetch(task_id)
        if self._is_open(task) and withdraw(coordination, task):
            log.info("its approval was withdrawn: it was to be stopped", extra={"task": task_id})
            task = coordination.fetch(task_id)
        return task

    def _compare(self, closing: Callable[[], bool]) -> None:
        """The server's view of what runs here against ours, both ways (G3, G5, G6)."""
        active = {run.task.id: run.phase for run in self._table.active()}
        try:
            listed = self._ports.coordination.of_worker(self._node.identity.id, Status.RUNNING, 500)
            for task in listed:
                if task.category not in LEFT_RUNNING:
                    self._orphaned(task, EndReason.WORKER_LOST, "worker_lost: this task was not running here any more")
            missing = set(active) - {task.id for task in listed}
            for task_id in missing:
                if closing():
                    return
                self._look_at_missing(task_id, active[task_id] is Phase.RUNNING)
        except CoordinationError as error:
            log.debug("comparing with the server failed: %s", error)

    def _orphaned(self, task: Task, reason: EndReason, why: str) -> None:
        if not self._is_open(task):
            return
        if self._delivery.recently_ended(task.id):
            return
        run = self._table.adopt(task)
        if run is None:
            return
        self._ports.metrics.count("tasks_adopted")
        log.warning("orphaned: %s", why, extra=run.label)
        report = self._reporter.without_run(task.id, reason, why)
        entry = Entry(task.id, "finished", task.name, task.category, started=True, report=report)
        try:
            self._ports.journal.accept(entry)
        except JournalError as error:
            log.error("could not be journalled: %s", error, extra=run.label)
        self._delivery.add(run, report)

    def _is_open(self, task: Task) -> bool:
        return task.status is Status.RUNNING and not task.ended and task.worker_id == self._node.identity.id

    def _look_at_missing(self, task_id: str, started: bool) -> None:
        """End the run of a task for which the server shows an end, or, where it had ``started`` before that was asked,
        another worker. Nothing else that the server shows ends it."""
        run = self._table.find(task_id)
        if run is None:
            return
        try:
            task = self._ports.coordination.fetch(task_id)
        except NotFound:  # deleted: that ends no run, and must not keep the others from being looked at
            return
        if task.ended or task.status.is_final:
            log.warning("ended here because the server holds %s", task.status, extra=run.label)
            note = f"the server ended this task as {task.status}"
            run.token.cancel(CancelRequest(EndReason.SUPERSEDED, Urgency.POLITE, note))
        elif started and task.status is Status.RUNNING and task.worker_id not in ("", self._node.identity.id):
            log.error("ended here because the server shows it running at another worker", extra=run.label)
            self._leases.disown(task_id)
            note = "the server shows this task running at another worker"
            run.token.cancel(CancelRequest(EndReason.SUPERSEDED, Urgency.NOW, note))
