"""One task, from its admission to its end on the way to the server. Read ``carry`` from top to bottom."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from application.announce import Announced, Announcer
from application.delivery import Delivery
from application.execution import DEFECTS, Execution, ended
from application.intake import decline
from application.leases import LeaseKeeper
from application.ports import Disk, Entry, Host, Report, Stream, Verb
from application.reporting import Reporter
from application.runs import Phase, Run, RunTable
from domain.errors import CoordinationError, JournalError, NotFound
from domain.result import EndReason, Result
from domain.runner import CancelRequest, Urgency
from domain.status import Status
from domain.task import Task

log = logging.getLogger("worker.task")

DECIDED = (EndReason.STOPPED, EndReason.KILLED, EndReason.TIMEOUT)  # ends also of what had not started


@dataclass(frozen=True, slots=True)
class Steps:
    """Who does what on the way of a task."""

    stream: Stream
    leases: LeaseKeeper
    announcer: Announcer
    execution: Execution
    reporter: Reporter
    delivery: Delivery


class RunTask:
    """Carries admitted tasks, each on its own thread; exactly one end for every way through."""

    def __init__(self, host: Host, disk: Disk, table: RunTable, steps: Steps, takes: Callable[[Task], bool]) -> None:
        self._host = host
        self._disk = disk
        self._table = table
        self._steps = steps
        self._takes = takes

    def carry(self, run: Run) -> None:
        """The whole way. Task thread; never raises."""
        try:
            if not (self._claim(run) and self._accept(run) and self._announce(run) and self._start(run)):
                return
            result = self._execute(run)
            report = self._record(run, result)
        except DEFECTS as error:
            log.exception("a defect of the worker ended this task", extra=run.label)
            self._tell(run, "not_started")
            result = ended(EndReason.INTERNAL, f"{type(error).__name__}: {error}")
            report = self._record(run, result)
        self._deliver(run, result, report)

    # -- before it starts ---------------------------------------------------------------------------------------------

    def _claim(self, run: Run) -> bool:
        """Take the task as the server holds it now: the offer is a snapshot and often stale (G20)."""

        def lost() -> None:
            run.token.cancel(CancelRequest(EndReason.LEASE_LOST, Urgency.NOW, "the task's lock was lost"))

        try:
            claim = self._steps.leases.claim(run.offer, lost)
        except NotFound:
            return self._drop(run, "stale", "the server does not know it any more")
        except CoordinationError as error:
            return self._drop(run, "not_claimed", f"claiming failed ({error})", logging.INFO)
        if claim is None:
            return self._drop(run, "not_claimed", "another worker has it")
        run.proof, run.task = claim.token, claim.task
        task = run.task
        if task.status is not Status.PENDING or task.ended or not self._takes(task):
            return self._drop(run, "stale", f"the server shows it {task.status}")
        if task.is_late(self._host.runtime.wall()):
            return self._drop(run, "stale", "its start deadline is past")
        return True

    def _accept(self, run: Run) -> bool:
        """Journal the task before anything is told or started (G7)."""
        task = run.task
        try:
            self._disk.journal.accept(Entry(task.id, "accepted", task.name, task.category, run.proof, task.save_log))
        except JournalError as error:
            return self._drop(run, "refused", f"its end could not be kept ({error})", logging.ERROR)
        log.debug("accepted: it is in the journal", extra=run.label)
        return True

    def _announce(self, run: Run) -> bool:
        """Tell the server that it runs here, and be sure that the server knows (G4)."""
        announced = self._steps.announcer.running(run) if not run.token.requested else Announced.CANCELLED
        if announced in (Announced.LEASE_LOST, Announced.LATE):
            self._hand_back(run, announced)
        elif announced not in (Announced.CONFIRMED, Announced.CANCELLED):
            log.info("not started: %s", announced, extra=run.label)
            self._forget(run)
        elif run.token.requested:
            self._end_unstarted(run)
        else:
            return True
        return False

    def _start(self, run: Run) -> bool:
        """From here on a process may exist."""
        self._table.enter(run, Phase.RUNNING)
        try:
            self._disk.journal.started(run.task.id)
        except JournalError as error:
            self._hand_back(run, f"its start could not be kept ({error})", logging.ERROR)
            return False
        if not self._steps.leases.fence(run.task):
            self._hand_back(run, Announced.LEASE_LOST)
            return False
        self._tell(run, "executed")
        log.info("started: %s", run.task.category, extra=run.label)
        return True

    # -- its run and its end ------------------------------------------------------------------------------------------

    def _execute(self, run: Run) -> Result:
        """Block for the whole run."""
        write = self._log_writer(run)
        result = self._steps.execution.run(run, write, self._steps.leases.owns)
        if result.status is not Status.SUCCESS and result.error:
            write(f"\n-------\n{result.error}\n".encode())
        return result

    def _record(self, run: Run, result: Result) -> Report:
        """The end goes to disk; from here on a crash or a dead link cannot lose it."""
        self._disk.spool.finish(run.task.id)
        report = self._steps.reporter.final(run.task.id, result)
        self._steps.delivery.keep(report)
        return report

    def _deliver(self, run: Run, result: Result, report: Report) -> None:
        """Hand it over to be sent, seen confirmed, and settled."""

        def tell() -> None:
            good = result.status in (Status.SUCCESS, Status.RUNNING)
            why = result.error.strip()
            log.log(
                logging.INFO if good else logging.WARNING,
                "ended: %s after %s%s",
                result.end_reason.value,
                _duration(result.duration),
                f" ({why.splitlines()[0][:200]})" if why else "",
                extra=run.label,
            )

        self._steps.delivery.add(run, report, tell)

    def _log_writer(self, run: Run) -> Callable[[bytes], None]:
        if not run.task.save_log:
            return lambda _: None
        spool, task_id = self._disk.spool, run.task.id
        spool.open(task_id)
        return lambda data: spool.write(task_id, data)

    # -- other ends ---------------------------------------------------------------------------------------------------

    def _end_unstarted(self, run: Run) -> None:
        request = run.token.first
        assert request is not None
        if request.reason in DECIDED:
            self._tell(run, "not_started")
            result = ended(request.reason, f"{request.reason.value} before it started")
            self._deliver(run, result, self._record(run, result))
        elif request.reason is EndReason.SUPERSEDED:
            self._forget(run)
        else:
            self._hand_back(run, request.note or request.reason)

    def _hand_back(self, run: Run, why: str, level: int = logging.INFO) -> None:
        """Give an unstarted task back to the server, for this or another worker.

        Not where its claim was gone before its time: another may have claimed and started it meanwhile, and what we
        have told the server may hide that. It is left as it is then, and recovery ends it if it stays in our name.
        """
        if self._steps.leases.robbed(run.task.id):
            log.error("left alone: its lock was gone before its time", extra=run.label)
            self._forget(run)
            return
        self._tell(run, "handed_back")
        log.log(level, "handed back: %s", why, extra=run.label)
        report = Report(run.task.id, Verb.HANDED_BACK)
        self._steps.delivery.keep(report)
        self._steps.delivery.add(run, report)

    def _forget(self, run: Run) -> None:
        """Nothing was started and nothing is to be told."""
        self._tell(run, "not_started")
        self._steps.delivery.settle(run.task.id)

    def _drop(self, run: Run, outcome: str, why: str, level: int = logging.DEBUG) -> bool:
        """Not taken in hand; what was claimed is free again, and offered again unless it is stale."""
        log.log(level, "not taken: %s", why, extra=run.label)
        self._host.metrics.count(f"events_{outcome}")
        if outcome != "stale":
            decline(self._steps.stream, run.offer, why)
        self._steps.leases.release(run.task.id)
        self._table.remove(run.task.id)
        return False

    def _tell(self, run: Run, outcome: str) -> None:
        """Count what became of a task in hand, once."""
        if not run.outcome:
            run.outcome = outcome
            self._host.metrics.count(f"events_{outcome}")


def _duration(milliseconds: int) -> str:
    return f"{milliseconds} ms" if milliseconds < 10_000 else f"{milliseconds / 1000:.1f} s"
