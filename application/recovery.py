"""What a previous run left behind, and what the server believes to run here and does not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from application.approvals import LEFT_RUNNING, withdraw
from application.delivery import Delivery
from application.leases import LeaseKeeper
from application.ports import Disk, Entry, Event, Host, ReadBack, Report, Server, Verb
from application.reporting import Reporter
from application.runs import Phase, RunTable
from domain.errors import CoordinationError, JournalError, NotFound
from domain.result import EndReason
from domain.runner import CancelRequest, Urgency
from domain.status import Status
from domain.task import Task

log = logging.getLogger("worker.recovery")


@dataclass(frozen=True, slots=True)
class Ends:
    """What is needed to tell the end of a task of this worker."""

    delivery: Delivery
    reporter: Reporter
    worker_id: str


class Recovery:
    def __init__(
        self, host: Host, disk: Disk, server: Server, table: RunTable, leases: LeaseKeeper, ends: Ends
    ) -> None:
        self._host = host
        self._disk = disk
        self._server = server
        self._table = table
        self._leases = leases
        self._delivery = ends.delivery
        self._reporter = ends.reporter
        self._worker_id = ends.worker_id
        self._guard = host.runtime.lock()
        self._suspects: set[str] = set()
        self._reconcile = True
        self._wake = host.runtime.event()

    def load(self) -> None:
        """Take the journal's entries in hand. Called once, before any loop runs; raises JournalError."""
        for entry in self._disk.journal.entries():
            self._host.orphans.end(entry)
            self._adopt(entry)
        self._host.orphans.sweep()

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
        """The loop: suspects at once, everything at each reconnect and every ``interval`` seconds.

        A server that cannot be read knows by its own means what runs where.
        """
        due = 0.0
        while not closing():
            self._wake.wait(1.0)
            self._wake.clear()
            reader = self._server.read_back
            if closing() or not link_up.is_set() or reader is None:
                continue
            self._look_at_suspects(reader, closing)
            now = self._host.runtime.now()
            if self._reconcile or now >= due:
                self._reconcile = False
                due = now + interval
                self._compare(reader, closing)

    def _adopt(self, entry: Entry) -> None:
        run = self._table.adopt(Task(entry.task_id, entry.category, name=entry.name))
        if run is None:
            return
        self._host.metrics.count("tasks_adopted")
        if entry.token:
            self._leases.adopt(entry.task_id, entry.token)
        if entry.save_log:
            self._disk.spool.open(entry.task_id)
            self._disk.spool.finish(entry.task_id)
        report = entry.report
        if report is None:
            report = self._lost(entry) if entry.started else Report(entry.task_id, Verb.HANDED_BACK)
            self._delivery.keep(report)
        log.warning("recovered from the previous run: %s", report.status or report.verb, extra=run.label)
        self._delivery.add(run, report)

    def _lost(self, entry: Entry) -> Report:
        return self._reporter.without_run(
            entry.task_id,
            EndReason.WORKER_LOST,
            "worker_lost: the worker ended while this task ran; its end is unknown",
        )

    def _look_at_suspects(self, reader: ReadBack, closing: Callable[[], bool]) -> None:
        with self._guard:
            suspects = [task_id for task_id in self._suspects if self._table.find(task_id) is None]
        for task_id in suspects:
            if closing():
                return
            try:
                task = self._asked_no_more(reader, task_id)
                self._orphaned(task, EndReason.STOPPED, "stopped: nothing of it was running here")
            except NotFound:
                pass
            except CoordinationError as error:
                log.debug("looking for a task that was to be stopped failed: %s", error, extra={"task": task_id})
                return
            with self._guard:
                self._suspects.discard(task_id)

    def _asked_no_more(self, reader: ReadBack, task_id: str) -> Task:
        """The task as the server holds it, after the withdrawal of what it has asked people (A2)."""
        task = reader.fetch(task_id)
        if self._is_open(task) and withdraw(self._server.approvals, task):
            log.info("its approval was withdrawn: it was to be stopped", extra={"task": task_id})
            task = reader.fetch(task_id)
        return task

    def _compare(self, reader: ReadBack, closing: Callable[[], bool]) -> None:
        """The server's view of what runs here against ours, both ways (G3, G5, G6)."""
        active = {run.task.id: run.phase for run in self._table.active()}
        try:
            listed = reader.of_worker(self._worker_id, Status.RUNNING, 500)
            for task in listed:
                if task.category not in LEFT_RUNNING:
                    self._orphaned(task, EndReason.WORKER_LOST, "worker_lost: this task was not running here any more")
            missing = set(active) - {task.id for task in listed}
            for task_id in missing:
                if closing():
                    return
                self._look_at_missing(reader, task_id, active[task_id] is Phase.RUNNING)
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
        self._host.metrics.count("tasks_adopted")
        log.warning("orphaned: %s", why, extra=run.label)
        report = self._reporter.without_run(task.id, reason, why)
        entry = Entry(task.id, "finished", task.name, task.category, started=True, report=report)
        try:
            self._disk.journal.accept(entry)
        except JournalError as error:
            log.error("could not be journalled: %s", error, extra=run.label)
        self._delivery.add(run, report)

    def _is_open(self, task: Task) -> bool:
        return task.status is Status.RUNNING and not task.ended and task.worker_id == self._worker_id

    def _look_at_missing(self, reader: ReadBack, task_id: str, started: bool) -> None:
        """End the run of a task for which the server shows an end, or, where it had ``started`` before that was asked,
        another worker. Nothing else that the server shows ends it."""
        run = self._table.find(task_id)
        if run is None:
            return
        try:
            task = reader.fetch(task_id)
        except NotFound:  # deleted: that ends no run, and must not keep the others from being looked at
            return
        if task.ended or task.status.is_final:
            log.warning("ended here because the server holds %s", task.status, extra=run.label)
            note = f"the server ended this task as {task.status}"
            run.token.cancel(CancelRequest(EndReason.SUPERSEDED, Urgency.POLITE, note))
        elif started and task.status is Status.RUNNING and task.worker_id not in ("", self._worker_id):
            log.error("ended here because the server shows it running at another worker", extra=run.label)
            self._leases.disown(task_id)
            note = "the server shows this task running at another worker"
            run.token.cancel(CancelRequest(EndReason.SUPERSEDED, Urgency.NOW, note))
