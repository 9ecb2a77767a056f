"""Results on their way to the server: sent until the server has been *read* to hold an end (G1, G2, G11, G12)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from application.leases import LeaseKeeper
from application.ports import Event, Node, Ports, Report
from application.runs import Phase, Run, RunTable
from domain.errors import CoordinationError, JournalError, NotFound, Refused, TransportError
from domain.status import Status
from domain.task import Task

log = logging.getLogger("worker.delivery")

RESEND = (3.0, 6.0, 15.0, 30.0, 60.0)  # seconds until the same report is sent again while the server does not show it
POLL = (0.005, 0.02, 0.05, 0.15, 0.4, 1.0)  # seconds between looks after a send
LOG_WAIT = 5.0  # seconds a result waits for the end of its log
REMEMBER = 60.0  # seconds an ended task is refused on sight
TOGETHER = 4  # from this many results on, one list request looks for all of them
TROUBLE = 1.0  # seconds without a look, whatever waits, after one that a server in trouble did not answer (G55)


@dataclass(slots=True)
class Parcel:
    """One report under way."""

    report: Report
    log_deadline: float
    added: float
    next_at: float = 0.0
    send_at: float = 0.0
    sends: int = 0
    looks: int = 0
    regained: bool = False  # its lock was taken anew: what was seen before counts no more
    refusals: int = 0


class Delivery:
    """One loop sends, looks, and settles. ``add`` and ``settle`` may be called from any thread."""

    def __init__(self, ports: Ports, node: Node, table: RunTable, leases: LeaseKeeper, link_up: Event) -> None:
        self._ports = ports
        self._node = node
        self._table = table
        self._leases = leases
        self._link_up = link_up
        self._guard = ports.runtime.lock()
        self._parcels: dict[str, Parcel] = {}
        self._ended: dict[str, float] = {}
        self._unkept: set[str] = set()
        self._look_at = 0.0
        self._wake = ports.runtime.event()
        self.empty = ports.runtime.event()
        self.empty.set()

    def keep(self, report: Report) -> None:
        """Write a decided end to the journal; where that fails, again and again while it is delivered from memory."""
        error = self._journal(report)
        if error is not None:
            log.error("its end could not be kept on disk: %s", error, extra={"task": report.task_id})
            with self._guard:
                self._unkept.add(report.task_id)
            return
        log.debug("recorded: its end is in the journal", extra={"task": report.task_id})

    def add(self, run: Run, report: Report) -> None:
        """Take over a decided end; the run leaves its slot."""
        now = self._ports.runtime.now()
        with self._guard:
            self._parcels[report.task_id] = Parcel(report, now + LOG_WAIT, now)
            self.empty.clear()
        self._table.enter(run, Phase.DELIVERING)
        self._wake.set()

    def waiting(self) -> int:
        with self._guard:
            return len(self._parcels)

    def wake(self) -> None:
        """The link is back: look at everything now."""
        with self._guard:
            for parcel in self._parcels.values():
                parcel.next_at = parcel.send_at = 0.0
            self._look_at = 0.0
        self._wake.set()

    def run(self, closing: Callable[[], bool]) -> None:
        """The loop."""
        while not closing():
            self._wake.clear()
            self._round(closing)
            self._wake.wait(self._pause())

    def recently_ended(self, task_id: str) -> bool:
        """The server was read to hold this task's end a moment ago; an event or a list may still show it alive."""
        with self._guard:
            return self._ended.get(task_id, -REMEMBER) + REMEMBER > self._ports.runtime.now()

    def settle(self, task_id: str, ended: bool = False) -> None:
        """The server holds an end, or nothing is to be told: forget the task, then give its lock back."""
        now = self._ports.runtime.now()
        if ended:
            with self._guard:
                self._ended[task_id] = now
                while len(self._ended) > 1 and next(iter(self._ended.values())) + REMEMBER < now:
                    del self._ended[next(iter(self._ended))]
        try:
            self._ports.journal.forget(task_id)
        except JournalError as error:
            log.error("a confirmed result stays in the journal: %s", error, extra={"task": task_id})
        self._leases.release(task_id)
        self._ports.metrics.count("tasks_settled")
        self._table.remove(task_id)
        with self._guard:
            self._unkept.discard(task_id)
            self._parcels.pop(task_id, None)
            if not self._parcels:
                self.empty.set()

    def _pause(self) -> float:
        with self._guard:
            nearest = min((it.next_at for it in self._parcels.values()), default=None)
        if nearest is None:
            return 1.0
        return min(1.0, max(0.002, max(nearest, self._look_at) - self._ports.runtime.now()))

    def _round(self, closing: Callable[[], bool]) -> None:
        now = self._ports.runtime.now()
        with self._guard:
            due = [parcel for parcel in self._parcels.values() if parcel.next_at <= now]
        due = [parcel for parcel in due if self._log_is_there(parcel, now)]
        if not due:
            return
        seen = self._list(due) if now >= self._look_at else {}
        # New ones need no answer. Of the others who waits longest is next, so that one whose look always fails keeps
        # nobody from being looked for.
        for parcel in sorted(due, key=lambda it: (not self._untold(it), it.next_at)):
            if closing():
                return
            if parcel.report.task_id in self._unkept and self._journal(parcel.report) is None:
                self._forget_unkept(parcel.report.task_id)
            task = None
            # The first look comes after the first send: nothing can have been stored before.
            if not self._untold(parcel):
                if self._ports.runtime.now() < self._look_at:
                    return
                task = self._look(parcel, seen)
            if task is not None and self._is_settled(parcel, task):
                continue
            if now >= parcel.send_at and self._may_send(parcel):
                self._send(parcel, now)
            soon = self._ports.runtime.now() + POLL[min(parcel.looks, len(POLL) - 1)]
            parcel.next_at = max(parcel.next_at, soon)  # later where the server does not take it
            parcel.looks += 1

    def _journal(self, report: Report) -> JournalError | None:
        try:
            self._ports.journal.finish(report.task_id, report, self._ports.runtime.wall().timestamp())
        except JournalError as error:
            return error
        return None

    def _forget_unkept(self, task_id: str) -> None:
        with self._guard:
            self._unkept.discard(task_id)

    def _untold(self, parcel: Parcel) -> bool:
        """Never sent, and nobody else can have spoken for the task (G16)."""
        return parcel.sends == 0 and not parcel.regained and self._leases.owns(parcel.report.task_id)

    def _may_send(self, parcel: Parcel) -> bool:
        """Where neither lock nor status protects a task, what was seen a moment ago may have changed: its lock is taken
        anew, and it is looked for again. It is always handed back under its lock: sent twice without, it would be set
        back under its next worker."""
        task_id = parcel.report.task_id
        protected = self._leases.status_protects and parcel.report.status is not Status.PENDING
        if protected or self._leases.holds(task_id) or not self._link_up.is_set():
            return True
        try:
            parcel.regained = self._leases.regain(task_id)
        except CoordinationError as error:
            log.debug("its lock could not be taken anew: %s", error, extra={"task": task_id})
        return False

    def _log_is_there(self, parcel: Parcel, now: float) -> bool:
        if now >= parcel.log_deadline or self._ports.spool.drained(parcel.report.task_id):
            return True
        parcel.next_at = now + 0.02
        return False

    def _send(self, parcel: Parcel, now: float) -> None:
        if not self._link_up.is_set():
            parcel.send_at = 0.0
            parcel.looks = len(POLL)
            return
        try:
            self._ports.transport.send(parcel.report)
        except TransportError:
            parcel.looks = len(POLL)
            return
        log.debug("sent: %s", parcel.report.status or "progress", extra={"task": parcel.report.task_id})
        parcel.send_at = now + RESEND[min(parcel.sends, len(RESEND) - 1)]
        parcel.sends += 1
        parcel.looks = 0 if parcel.sends == 1 else len(POLL)

    def _list(self, due: list[Parcel]) -> dict[str, Task]:
        """Look for many with one request. What the list lacks is looked for singly: absence proves nothing."""
        if sum(parcel.sends > 0 for parcel in due) < TOGETHER:
            return {}
        try:
            tasks = self._ports.coordination.of_worker(self._node.identity.id, None, 500)
        except CoordinationError:
            return {}
        return {task.id: task for task in tasks}

    def _look(self, parcel: Parcel, seen: dict[str, Task]) -> Task | None:
        task_id = parcel.report.task_id
        if task_id in seen:
            return seen[task_id]
        try:
            return self._ports.coordination.fetch(task_id)
        except (NotFound, Refused) as error:
            self._undeliverable(parcel, str(error))
        except CoordinationError as error:
            log.debug("looking for a result failed: %s", error, extra={"task": task_id})
            parcel.looks = len(POLL)
            self._look_at = self._ports.runtime.now() + TROUBLE
        # Without having looked, nothing may be sent unless nobody else can have the task.
        if not self._leases.owns(task_id):
            parcel.send_at = max(parcel.send_at, self._ports.runtime.now() + 0.5)
        return None

    def _is_settled(self, parcel: Parcel, task: Task) -> bool:
        report = parcel.report
        if task.ended or task.status.is_final:
            if report.status is not None and task.status is not report.status:
                log.warning("superseded: the server already holds %s", task.status, extra=_label(task))
                self._ports.metrics.count("results_superseded")
            log.debug("confirmed: the server holds the end", extra=_label(task))
            self.settle(task.id, ended=True)
            return True
        mine = task.worker_id == self._node.identity.id and task.status is Status.RUNNING
        if report.status is Status.PENDING:
            settled = not mine
        elif report.status is None:
            settled = task.output == report.output
        else:
            # Without the lock only a task that still counts as running here may be spoken for (G16).
            settled = not mine and not self._leases.holds(task.id)
            if settled:
                log.warning("%s is not told: the server shows it %s", report.status, _whose(task), extra=_label(task))
        if settled:
            log.debug("confirmed: the server shows it", extra=_label(task))
            self.settle(task.id)
        return settled

    def _undeliverable(self, parcel: Parcel, why: str) -> None:
        parcel.looks = len(POLL)
        # The first no may be a failing database's (protocol 1.2), so that the pause only grows with more of them.
        parcel.next_at = self._ports.runtime.now() + RESEND[min(parcel.refusals, len(RESEND) - 1)]
        parcel.refusals += 1
        task_id = parcel.report.task_id
        if parcel.refusals == 1:
            log.warning("the server does not take this result: %s", why, extra={"task": task_id})
        if self._ports.runtime.now() - parcel.added < self._node.limits.dead_letter_age:
            return
        log.error("given up after %.0f s: %s", self._node.limits.dead_letter_age, why, extra={"task": task_id})
        try:
            self._ports.journal.bury(task_id, why)
        except JournalError as error:
            log.error("could not be moved to the dead letters: %s", error, extra={"task": task_id})
            return
        self._ports.metrics.count("results_buried")
        self.settle(task_id)


def _whose(task: Task) -> str:
    return "running at another worker" if task.status is Status.RUNNING else str(task.status)


def _label(task: Task) -> dict[str, str]:
    return {"task": task.id, "task_name": task.name}
