"""The worker: start, wait, shut down, in that order."""

from __future__ import annotations

import logging
from collections.abc import Callable

from application.announce import Announcer
from application.border import guarded
from application.categories import CategoryKeeper
from application.counters import summary, unaccounted
from application.delivery import Delivery
from application.execution import Execution
from application.intake import Gate, Hands, Intake
from application.leases import LeaseKeeper
from application.link import Link, Listener
from application.log_delivery import LogDelivery
from application.loops import Closing, Loops
from application.ports import Disk, Host, Node, Server
from application.recovery import Ends, Recovery
from application.reporting import Reporter
from application.roll import Roll, Uplink
from application.run_task import RunTask, Steps
from application.runs import RunTable
from domain.result import EndReason
from domain.runner import CancelRequest, Urgency

log = logging.getLogger("worker")

RENEWERS = 4
KILL_WAIT = 5.0  # seconds a killed task gets to be gone
FIRST_LOOK = 10.0  # seconds that registering waits for the categories' scripts; later it is done anew
FLUSH_WAIT = 10.0  # seconds results and logs get to be confirmed at the end


class Worker:
    """The whole core over its ports. Made once, started once, shut down once."""

    def __init__(
        self, host: Host, disk: Disk, server: Server, node: Node, execution: Execution, redact: Callable[[str], str]
    ) -> None:
        """``redact`` takes secrets out of whatever is told or shown."""
        server = guarded(server, redact)
        runtime, self._limits, self._host, self._server = host.runtime, node.limits, host, server
        reporter = Reporter(redact, node.limits.output_limit)
        self.table = RunTable(runtime, node.limits.concurrency)
        self.link = Link(host, server.stream, server.times, lambda: self.categories.identity)
        self.categories = CategoryKeeper(runtime, server.scripts, node, execution, self.link.announce)
        self.leases = LeaseKeeper(host, server.claims, node.limits)
        reader, worker_id = server.read_back, node.identity.id
        roll = Roll(runtime, reader, worker_id) if reader is not None else None
        uplink = Uplink(self.link, server.outcomes, roll, worker_id)
        self.delivery = Delivery(host, disk, uplink, self.table, self.leases, node.limits)
        self.logs = LogDelivery(host, disk, server.logs)
        ends = Ends(self.delivery, reporter, worker_id)
        self.recovery = Recovery(host, disk, server, self.table, self.leases, ends)
        steps = Steps(self.leases, Announcer(runtime, uplink, self.leases), execution, reporter, self.delivery)
        run_task = RunTask(host, disk, self.table, steps, self.categories.takes)
        gate = Gate(self.categories.takes, self.delivery.recently_ended, self.delivery.full)
        hands = Hands(run_task.carry, self.recovery.suspect)
        self.intake = Intake(host, server.stream, self.table, gate, hands)
        self.loops = Loops(runtime)

    def start(self) -> None:
        """Load what a previous run left, then start every loop. Raises JournalError."""
        self.recovery.load()
        for number in range(RENEWERS):
            self.loops.start(f"leases-{number}", self.leases.run)
        self.loops.start("delivery", self.delivery.run)
        self.loops.start("logs", self.logs.run)
        self.loops.start("logs-helper", lambda closing: self.logs.run(closing, 1.0))
        self.loops.start("heartbeat", self.link.heartbeat)
        self.loops.start("recovery", lambda closing: self.recovery.run(closing, self.link.up))
        self.loops.start("categories", self.categories.run, watched=False)  # its scripts have a limit of their own
        self.loops.start("link", self._run_link)

    def pause(self, why: str) -> None:
        """Take no new tasks until ``resume``; those in hand, heartbeats and deliveries go on. Idempotent.

        Not after ``shutdown``, and from one thread only.
        """
        if self.table.closed_for != why:
            self.table.close(why)
            log.warning("no new tasks are taken: %s; those in hand go on", why)

    def resume(self) -> None:
        """Take new tasks again; nothing happens where ``pause`` was not called."""
        if self.table.closed_for:
            self.table.reopen()
            self.intake.fill()
            log.info("new tasks are taken again")

    def shutdown(self, force: Callable[[], bool]) -> bool:
        """No new work, wait, stop, kill, flush, close, join; True if nothing was left behind.

        Waits up to ``drain`` seconds for running tasks unless ``force`` says so meanwhile. Heartbeats and leases go on
        until the results are flushed (G35).
        """
        runtime, limits = self._host.runtime, self._limits
        self.table.close("the worker shuts down")
        self.intake.close()
        self.categories.end()
        running = len(self.table.active())
        if running:
            log.info("shutting down: %d tasks are running; waiting up to %.0f s for them", running, limits.drain)
        self._wait_idle(runtime.now() + limits.drain, force)
        if not self.table.idle.is_set():
            note = "ended because the worker shuts down"
            log.warning("stopping %d tasks", len(self.table.active()))
            self.table.cancel_all(CancelRequest(EndReason.SHUTDOWN, Urgency.POLITE, note))
            self.table.idle.wait(limits.grace + 2.0)
            self.table.cancel_all(CancelRequest(EndReason.SHUTDOWN, Urgency.NOW, note))
            self.table.idle.wait(KILL_WAIT)
        if not force():
            self.categories.tear_down()
        flushed = self.delivery.empty.wait(FLUSH_WAIT)
        if not flushed:
            log.warning("%d results stay in the journal for the next start", self.delivery.waiting())
        self.loops.closing.set()
        self.link.close()
        self._server.abandon()
        self.table.idle.wait(KILL_WAIT)  # a task that was still asking the server ends unstarted now
        for wake in (self.leases.wake, self.delivery.wake, self.recovery.wake, self.categories.wake):
            wake()
        left = self.loops.join(runtime.now() + KILL_WAIT)
        if left:
            log.error("these loops did not end: %s", ", ".join(left))
        self._tell_counters()
        log.info("ended")
        return self.table.idle.is_set() and not left

    def _tell_counters(self) -> None:
        seen, waiting = self._host.metrics.snapshot(), self.delivery.waiting()
        log.info("%s", summary(seen, waiting))
        for text in unaccounted(seen, waiting) if self.table.idle.is_set() else ():
            log.error("a defect of the worker: %s", text)

    def _wait_idle(self, deadline: float, force: Callable[[], bool]) -> None:
        while not force() and self._host.runtime.now() < deadline:
            if self.table.idle.wait(0.1):
                return

    def _run_link(self, closing: Closing) -> None:
        self.categories.decided.wait(FIRST_LOOK)
        self.link.run(closing, Listener(self.table.room, self.intake.handle, self._on_up))

    def _on_up(self) -> None:
        self.delivery.wake()
        self.recovery.wake()
        self.categories.wake()
