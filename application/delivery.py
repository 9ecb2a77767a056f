"""Results on their way to the server: sent until the server is known to hold an end (G1, G2, G11, G12).

Where the server confirms what it is told, that is its receipt; where it does not, it is read back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from application.leases import LeaseKeeper
from application.ports import Disk, Host, Limits, Receipt, Report, Verb
from application.roll import Roll, Uplink, Watch
from application.runs import Phase, Run, RunTable
from domain.errors import CoordinationError, JournalError, NotFound, Refused, TransportError
from domain.status import Status
from domain.task import Task

log = logging.getLogger("worker.delivery")

RESEND = (3.0, 6.0, 15.0, 30.0, 60.0)  # seconds until the same report is sent again while the server does not show it
LOG_WAIT = 5.0  # seconds a result waits for the end of its log
REMEMBER = 60.0  # seconds an ended task is refused on sight
TROUBLE = 1.0  # seconds without a look, whatever waits, after one that a server in trouble did not answer (G55)


@dataclass(slots=True)
class Pending:
    """One report under way."""

    report: Report
    watch: Watch
    log_deadline: float
    added: float
    next_at: float = 0.0
    send_at: float = 0.0
    sends: int = 0
    regained: bool = False  # its lock was taken anew: what was seen before counts no more
    refusals: int = 0


class Delivery:
    """One loop sends, looks, and settles. ``add`` and ``settle`` may be called from any thread."""

    def __init__(
        self,
        host: Host,
        disk: Disk,
        uplink: Uplink,
        table: RunTable,
        leases: LeaseKeeper,
        limits: Limits,
    ) -> None:
        self._host = host
        self._disk = disk
        self._uplink = uplink
        self._roll = uplink.roll
        self._table = table
        self._leases = leases
        self._limits = limits
        self._guard = host.runtime.lock()
        self._reports: dict[str, Pending] = {}
        self._ended: dict[str, float] = {}
        self._unwritten: set[str] = set()
        self._look_at = 0.0
        self._wake = host.runtime.event()
        self.empty = host.runtime.event()
        self.empty.set()

    def keep(self, report: Report) -> None:
        """Write a decided end to the journal; where that fails, again and again while it is delivered from memory."""
        error = self._journal(report)
        if error is not None:
            log.error("result not written to the journal: %s", error, extra={"task": report.task_id})
            with self._guard:
                self._unwritten.add(report.task_id)
            return
        log.debug("recorded: its end is in the journal", extra={"task": report.task_id})

    def add(self, run: Run, report: Report) -> None:
        """Take over a decided end; the run leaves its slot."""
        now = self._host.runtime.now()
        with self._guard:
            self._reports[report.task_id] = Pending(report, Watch(report.task_id, now), now + LOG_WAIT, now)
            self.empty.clear()
        self._table.enter(run, Phase.DELIVERING)
        self._wake.set()

    def full(self) -> str:
        """Why no more ends can be kept, empty where they can."""
        return "too many results wait for delivery" if self.waiting() >= self._limits.outbox else ""

    def waiting(self) -> int:
        with self._guard:
            return len(self._reports)

    def wake(self) -> None:
        """The link is back: look at everything now."""
        with self._guard:
            for pending in self._reports.values():
                pending.next_at = pending.send_at = 0.0
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
            return self._ended.get(task_id, -REMEMBER) + REMEMBER > self._host.runtime.now()

    def settle(self, task_id: str, ended: bool = False) -> None:
        """The server holds an end, or nothing is to be told: forget the task, then give its lock back."""
        now = self._host.runtime.now()
        if ended:
            with self._guard:
                self._ended[task_id] = now
                while len(self._ended) > 1 and next(iter(self._ended.values())) + REMEMBER < now:
                    del self._ended[next(iter(self._ended))]
        try:
            self._disk.journal.forget(task_id)
        except JournalError as error:
            log.error("a confirmed result stays in the journal: %s", error, extra={"task": task_id})
        self._leases.release(task_id)
        self._host.metrics.count("tasks_settled")
        self._table.remove(task_id)
        with self._guard:
            self._unwritten.discard(task_id)
            self._reports.pop(task_id, None)
            if not self._reports:
                self.empty.set()

    def _pause(self) -> float:
        with self._guard:
            nearest = min((it.next_at for it in self._reports.values()), default=None)
        if nearest is None:
            return 1.0
        return min(1.0, max(0.002, max(nearest, self._look_at) - self._host.runtime.now()))

    def _round(self, closing: Callable[[], bool]) -> None:
        now = self._host.runtime.now()
        with self._guard:
            due = [pending for pending in self._reports.values() if pending.next_at <= now]
        due = [pending for pending in due if self._log_is_there(pending, now)]
        if not due:
            return
        with self._roll.waiting(sum(it.sends > 0 for it in due)) if self._roll is not None else nullcontext():
            self._attend(due, now, closing)

    def _attend(self, due: list[Pending], now: float, closing: Callable[[], bool]) -> None:
        # New ones need no answer. Of the others who waits longest is next, so that one whose look always fails keeps
        # nobody from being looked for.
        for pending in sorted(due, key=lambda it: (not self._never_sent(it), it.next_at)):
            if closing():
                return
            if pending.report.task_id in self._unwritten and self._journal(pending.report) is None:
                self._forget_unwritten(pending.report.task_id)
            task = None
            # The first look comes after the first send: nothing can have been stored before.
            if self._roll is not None and not self._never_sent(pending):
                if self._host.runtime.now() < self._look_at:
                    return
                task = self._look(self._roll, pending)
            if task is not None and self._is_settled(pending, task):
                continue
            if now >= pending.send_at and self._may_send(pending) and self._send(pending, now):
                continue
            # Later where the server does not take it.
            pending.next_at = max(pending.next_at, self._host.runtime.now() + pending.watch.pause())

    def _journal(self, report: Report) -> JournalError | None:
        try:
            self._disk.journal.finish(report.task_id, report, self._host.runtime.wall().timestamp())
        except JournalError as error:
            return error
        return None

    def _forget_unwritten(self, task_id: str) -> None:
        with self._guard:
            self._unwritten.discard(task_id)

    def _never_sent(self, pending: Pending) -> bool:
        """Never sent, and nobody else can have spoken for the task (G16)."""
        return pending.sends == 0 and not pending.regained and self._leases.owns(pending.report.task_id)

    def _may_send(self, pending: Pending) -> bool:
        """Where neither lock nor status protects a task, what was seen a moment ago may have changed: its lock is taken
        anew, and it is looked for again. It is always handed back under its lock: sent twice without, it would be set
        back under its next worker."""
        task_id = pending.report.task_id
        protected = self._leases.status_protects and pending.report.verb is not Verb.HANDED_BACK
        if self._roll is None or protected or self._leases.holds(task_id) or not self._uplink.link.up.is_set():
            return True
        try:
            pending.regained = self._leases.regain(task_id)
        except CoordinationError as error:
            log.debug("its lock could not be taken anew: %s", error, extra={"task": task_id})
        return False

    def _log_is_there(self, pending: Pending, now: float) -> bool:
        if now >= pending.log_deadline or self._disk.spool.drained(pending.report.task_id):
            return True
        pending.next_at = now + 0.02
        return False

    def _send(self, pending: Pending, now: float) -> bool:
        """True where the server says that it holds the end: then the task is settled."""
        if not self._uplink.link.up.is_set():
            pending.send_at = 0.0
            pending.watch.rest()
            return False
        report = pending.report
        tell = {
            Verb.ENDED: self._uplink.outcomes.publish,
            Verb.PROGRESS: self._uplink.outcomes.progress,
            Verb.HANDED_BACK: self._uplink.outcomes.hand_back,
        }[report.verb]
        try:
            receipt = tell(report, self._leases.proof(report.task_id))
        except TransportError:
            pending.watch.rest()
            return False
        log.debug("sent: %s", report.status or report.verb, extra={"task": report.task_id})
        pending.send_at = now + RESEND[min(pending.sends, len(RESEND) - 1)]
        pending.sends += 1
        if receipt is Receipt.SENT:
            pending.watch.sent(now) if pending.sends == 1 else pending.watch.rest()
            return False
        if receipt is Receipt.SUPERSEDED:
            self._superseded(report.task_id, "an end")
        log.debug("confirmed: the server says that it holds it", extra={"task": report.task_id})
        self.settle(report.task_id, ended=receipt is Receipt.SUPERSEDED or report.verb is Verb.ENDED)
        return True

    def _look(self, roll: Roll, pending: Pending) -> Task | None:
        task_id = pending.report.task_id
        try:
            return roll.look(pending.watch)
        except (NotFound, Refused) as error:
            self._undeliverable(pending, str(error))
        except CoordinationError as error:
            log.debug("looking for a result failed: %s", error, extra={"task": task_id})
            pending.watch.rest()
            self._look_at = self._host.runtime.now() + TROUBLE
        # Without having looked, nothing may be sent unless nobody else can have the task.
        if not self._leases.owns(task_id):
            pending.send_at = max(pending.send_at, self._host.runtime.now() + 0.5)
        return None

    def _superseded(self, task_id: str, what: object) -> None:
        log.warning("superseded: the server already holds %s", what, extra={"task": task_id})
        self._host.metrics.count("results_superseded")

    def _is_settled(self, pending: Pending, task: Task) -> bool:
        report = pending.report
        if task.ended or task.status.is_final:
            if report.verb is not Verb.PROGRESS and task.status is not report.status:
                self._superseded(task.id, task.status)
            log.debug("confirmed: the server holds the end", extra=_label(task))
            self.settle(task.id, ended=True)
            return True
        mine = task.worker_id == self._uplink.worker_id and task.status is Status.RUNNING
        if report.verb is Verb.HANDED_BACK:
            settled = not mine
        elif report.verb is Verb.PROGRESS:
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

    def _undeliverable(self, pending: Pending, why: str) -> None:
        pending.watch.rest()
        # The first no may be a failing database's (protocol 1.2), so that the pause only grows with more of them.
        pending.next_at = self._host.runtime.now() + RESEND[min(pending.refusals, len(RESEND) - 1)]
        pending.refusals += 1
        task_id = pending.report.task_id
        if pending.refusals == 1:
            log.warning("the server does not take this result: %s", why, extra={"task": task_id})
        if self._host.runtime.now() - pending.added < self._limits.dead_letter_age:
            return
        log.error("given up after %.0f s: %s", self._limits.dead_letter_age, why, extra={"task": task_id})
        try:
            self._disk.journal.dead_letter(task_id, why)
        except JournalError as error:
            log.error("could not be moved to the dead letters: %s", error, extra={"task": task_id})
            return
        self._host.metrics.count("results_dead_lettered")
        self.settle(task_id)


def _whose(task: Task) -> str:
    return "running at another worker" if task.status is Status.RUNNING else str(task.status)


def _label(task: Task) -> dict[str, str]:
    return {"task": task.id, "task_name": task.name}
