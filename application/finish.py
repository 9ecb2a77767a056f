"""What happens to an accepted run: it executes, and its end goes to the journal and on to delivery."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from application.announce import Announced, lock_hold
from application.delivery import Delivery
from application.execution import Execution
from application.leases import LeaseKeeper
from application.ports import Entry, Node, Ports, Report
from application.reporting import Reporter
from application.runs import Run
from domain.errors import JournalError
from domain.result import EndReason, Result
from domain.status import Status

log = logging.getLogger("worker.task")

LOG_LAG = 20  # hundredths of a second
KILLED = 128 + 9  # the exit code of what SIGKILL ended


class Finish:
    """Keeps the promises about an accepted run: kept before started, kept before told."""

    def __init__(
        self,
        ports: Ports,
        node: Node,
        leases: LeaseKeeper,
        execution: Execution,
        reporter: Reporter,
        delivery: Delivery,
    ) -> None:
        self._ports = ports
        self._node = node
        self._leases = leases
        self._execution = execution
        self._reporter = reporter
        self._delivery = delivery

    def recently_ended(self, task_id: str) -> bool:
        return self._delivery.recently_ended(task_id)

    def full(self) -> bool:
        return self._delivery.waiting() >= self._node.limits.outbox

    def accept(self, run: Run) -> bool:
        """Journal the task before anything is told or started; False where that is impossible (G7)."""
        task = run.task
        entry = Entry(
            task.id, "accepted", task.name, task.category, self._leases.value(task.id), save_log=task.save_log
        )
        try:
            self._ports.journal.accept(entry)
        except JournalError as error:
            log.error("not taken: its end could not be kept (%s)", error, extra=run.label)
            return False
        return True

    def execute(self, run: Run) -> None:
        """Run the task and hand its end on. Task thread; blocks for the whole run."""
        ports, task = self._ports, run.task
        try:
            ports.journal.started(task.id)
        except JournalError as error:
            self.hand_back(run, f"its start could not be kept ({error})", logging.ERROR)
            return
        if not self._leases.fence(task.id, lock_hold(task, ports.runtime.wall())):
            self.hand_back(run, Announced.LEASE_LOST)
            return
        self.tell(run, "executed")
        log.info("started: %s", task.category, extra=run.label)
        write = self._log_writer(run)
        result = self._true_cause(run, self._execution.run(run, write))
        if result.status is not Status.SUCCESS and result.error:
            write(f"\n-------\n{result.error}\n".encode())
        self.with_result(run, result)

    def _true_cause(self, run: Run, result: Result) -> Result:
        """What is killed though nobody here asked, after its lease has ended, was killed by the guardian (G29)."""
        killed = result.end_reason is EndReason.SIGNAL and result.exit_code == KILLED
        if not killed or self._leases.owns(run.task.id):
            return result
        reason = EndReason.LEASE_LOST
        return replace(result, status=reason.status, end_reason=reason, error="the task's lock was lost")

    def with_result(self, run: Run, result: Result) -> None:
        """Keep the decided end, then let delivery take it from here."""
        self._ports.spool.finish(run.task.id)
        report = self._reporter.final(run.task.id, result)
        self._delivery.keep(report)
        self._await_log(run)
        level = logging.INFO if result.status in (Status.SUCCESS, Status.RUNNING) else logging.WARNING
        log.log(
            level,
            "ended: %s after %.1f s%s",
            result.end_reason.value,
            result.duration / 1000,
            f" ({result.error.strip().splitlines()[0][:200]})" if result.error.strip() else "",
            extra=run.label,
        )
        self._delivery.add(run, report)

    def tell(self, run: Run, fate: str) -> None:
        """Count what became of an accepted task, once."""
        if not run.fate:
            run.fate = fate
            self._ports.metrics.count(f"events_{fate}")

    def hand_back(self, run: Run, why: str, level: int = logging.INFO) -> None:
        """Give an unstarted task back to the server, for this or another worker.

        Not where its lock was gone before its time: another may have claimed and started it meanwhile, and what we
        have told the server may hide that. It is left as it is then, and recovery ends it if it stays in our name.
        """
        if self._leases.robbed(run.task.id):
            log.error("left alone: its lock was gone before its time", extra=run.label)
            self.forget(run)
            return
        self.tell(run, "handed_back")
        log.log(level, "handed back: %s", why, extra=run.label)
        self._ports.spool.finish(run.task.id)
        report = Report(run.task.id, Status.PENDING)
        self._delivery.keep(report)
        self._delivery.add(run, report)

    def forget(self, run: Run) -> None:
        """Nothing was started and nothing is to be told."""
        self.tell(run, "not_started")
        self._delivery.settle(run.task.id)

    def _await_log(self, run: Run) -> None:
        """Let the task's last lines out first where that is quick: who reads along then reads its end as the end."""
        pause, rounds = self._ports.runtime.event(), LOG_LAG if run.task.save_log else 0
        while rounds and not self._ports.spool.drained(run.task.id):
            rounds -= 1
            pause.wait(0.01)

    def _log_writer(self, run: Run) -> Callable[[bytes], None]:
        if not run.task.save_log:
            return lambda _: None
        spool, task_id = self._ports.spool, run.task.id
        spool.open(task_id)
        return lambda data: spool.write(task_id, data)
