"""Task locks: claim, keep, lose, release (G13..G18).

A lease counts from the moment its request *left*, so a slow answer can only make it shorter, and it ends ``margin``
seconds before the server's own expiry, so that what must die is dead when somebody else may start.

Where the server keeps what runs (``Claims.keeps_running``), the lock protects the claim and the status protects the
run: ``fence`` gives the lock back before the task starts, and nothing that happens to locks matters from then on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf

from application.ports import Claim, Claims, Host, Limits, Offer
from domain.errors import CoordinationError
from domain.task import Task

log = logging.getLogger("worker.leases")

CLOCKS = timedelta(seconds=60)  # how far the calendars of worker and server may be apart
CHECK = 10.0  # seconds that the server's time-out check may take from its list to its last write
ATTEMPT = 2.0  # seconds: the longest a single renewal may take
IDLE = 4.0  # seconds between two looks while there are no leases; a claim wakes the loops
LEAST = 0.05  # seconds: a renewal that has less is not tried
OVERRUN = 1.0  # seconds: how long one renewal may keep the loop from declaring another lease lost


@dataclass(slots=True)
class Lease:
    task_id: str
    token: str
    ttl: float
    sent: float
    on_lost: Callable[[], None]
    retry_at: float = 0.0
    lost: bool = False
    robbed: bool = False  # gone before its time, so that another may have claimed the task beside us
    tended: bool = False  # one of the loops has it in hand

    @property
    def deadline(self) -> float:
        return self.sent + self.ttl - min(5.0, self.ttl / 4)

    @property
    def due(self) -> float:
        return max(self.sent + self.ttl / 3, self.retry_at)


def lock_hold(task: Task, now: datetime) -> float:
    """Seconds that the claim of a task is still needed once it was read to run (protocol 7.1).

    The server's check for tasks that nobody has started lists them, and later writes an end to each whose lock it
    gets, without reading it again. A task that was read to run before its start deadline is on no such list.
    """
    return CHECK if task.timeout_at is not None and task.timeout_at <= now + CLOCKS else 0.0


class LeaseKeeper:
    """Holds the leases of all tasks in hand and renews them.

    Several identical loops do so, because a server that takes half a second for each answer would lose the locks of two
    hundred tasks to one of them.
    """

    def __init__(self, host: Host, claims: Claims, limits: Limits) -> None:
        self._runtime = host.runtime
        self._claims = claims
        self._watchdog = host.watchdog
        self._limits = limits
        self._metrics = host.metrics
        self._guard = host.runtime.lock()
        self._leases: dict[str, Lease] = {}
        self._fenced: dict[str, str] = {}  # tasks that run here without a lock, because their status protects them
        self._wake = host.runtime.event()

    def claim(self, offer: Offer, on_lost: Callable[[], None]) -> Claim | None:
        """Take the task; None if another worker has it. ``on_lost`` is called on a keeper's loop, once.

        The first lease is short, so that a lost answer blocks the task for seconds only; the first renewal extends it.
        Raises CoordinationError.
        """
        sent, ttl = self._runtime.now(), self._limits.acquire_ttl
        claim = self._claims.claim(offer, self._runtime.token(), ttl, min(self._limits.request_timeout, ttl / 2))
        if claim is None:
            return None
        lease = Lease(offer.task.id, claim.token, ttl if claim.expires else inf, sent, on_lost)
        if not self._keep(lease):
            return None
        log.debug("claimed: it is held for %.0f s", ttl, extra={"task": lease.task_id})
        return claim

    def _keep(self, lease: Lease) -> bool:
        with self._guard:
            if self._runtime.now() >= lease.deadline:
                return False  # this process stood still meanwhile; what is left of the claim ends by itself
            self._leases[lease.task_id] = lease
        if lease.ttl < inf:
            self._watchdog.lease(lease.task_id, lease.deadline)
        self._wake.set()
        return True

    def fence(self, task: Task) -> bool:
        """The server was read to show the task as running here: let the status protect it instead of the lock.

        The lock is given back, or ends by itself where it is still needed (``lock_hold``). That the server still knew
        it as ours proves that nobody else had it since the claim; without an answer our own clock has to do. False: it
        was not ours any more, and somebody else may have the task. Where only the lock protects, it stays and is
        renewed.
        """
        task_id, hold = task.id, lock_hold(task, self._runtime.wall())
        with self._guard:
            lease = self._leases.get(task_id)
            if lease is None or lease.lost:
                return False
            if not self.status_protects:
                return self._runtime.now() < lease.deadline
            del self._leases[task_id]
        try:
            if hold:
                ours = self._claims.extend(lease.task_id, lease.token, hold, ATTEMPT)
            else:
                ours = self._claims.settle(lease.task_id, lease.token, ATTEMPT)
        except CoordinationError as error:
            ours = self._runtime.now() < lease.deadline
            log.info("the lock expires by itself: giving it back failed (%s)", error, extra={"task": task_id})
        if ours:
            log.debug("fenced: the server shows that it runs here, which protects it", extra={"task": task_id})
        with self._guard:
            if ours:
                self._fenced[task_id] = lease.token
                self._watchdog.ended(task_id)
            else:
                lease.lost, lease.robbed = True, self._runtime.now() < lease.deadline
                self._leases[task_id] = lease
        return ours

    @property
    def status_protects(self) -> bool:
        """Whether a task that was read to run here needs no lock."""
        wanted = self._limits.on_lost_lease
        try:
            return wanted == "keep" or (wanted == "auto" and self._claims.keeps_running)
        except CoordinationError:  # a defect of the adapter, which is told
            return False

    def regain(self, task_id: str) -> bool:
        """Take the lock of a task anew of which nothing runs here any more; False while another has it.

        Raises CoordinationError.
        """
        with self._guard:
            former = self._leases.get(task_id)
        sent, ttl = self._runtime.now(), self._limits.acquire_ttl
        if former is not None and self._claims.extend(task_id, former.token, ttl, ATTEMPT):
            return self._keep(Lease(task_id, former.token, ttl, sent, lambda: None))
        return self.claim(Offer(Task(task_id, "")), lambda: None) is not None

    def disown(self, task_id: str) -> None:
        """The server shows that another worker runs the task: nothing protects our run of it any more."""
        with self._guard:
            self._fenced.pop(task_id, None)
            lease = self._leases.get(task_id)
            if lease is not None:
                lease.lost = True

    def adopt(self, task_id: str, token: str) -> None:
        """Remember the claim of a previous run, so that ``release`` gives it back."""
        with self._guard:
            self._leases[task_id] = Lease(task_id, token, 0.0, 0.0, lambda: None, lost=True)

    def owns(self, task_id: str) -> bool:
        """Nobody else can have the task: we hold its lock, or its status protects our run of it."""
        with self._guard:
            if task_id in self._fenced:
                return True
        return self.holds(task_id)

    def robbed(self, task_id: str) -> bool:
        """The claim was gone before its time: the server's lock store has lost it, or somebody took it."""
        with self._guard:
            lease = self._leases.get(task_id)
        return lease is not None and lease.robbed

    def holds(self, task_id: str) -> bool:
        with self._guard:
            lease = self._leases.get(task_id)
        return lease is not None and not lease.lost and self._runtime.now() < lease.deadline

    def proof(self, task_id: str) -> str:
        """The token of the task's claim, also after ``fence``; empty if there is none."""
        with self._guard:
            lease = self._leases.get(task_id)
            return lease.token if lease else self._fenced.get(task_id, "")

    def release(self, task_id: str) -> None:
        """Give the lock back if there still is one. Only after the task's processes are gone and its end is confirmed
        (G18)."""
        with self._guard:
            self._fenced.pop(task_id, None)
            lease = self._leases.pop(task_id, None)
            if lease is None:
                return
            self._watchdog.ended(task_id)
        try:
            self._claims.settle(lease.task_id, lease.token, ATTEMPT)
            log.debug("released: the claim is given back", extra={"task": task_id})
        except CoordinationError as error:
            log.info("the lock expires by itself: releasing it failed (%s)", error, extra={"task": task_id})

    def run(self, closing: Callable[[], bool]) -> None:
        """One of the loops: declare lost what is over, then renew one that is due, the most urgent first.

        One at a time, because a server that answers late would otherwise keep the loop busy with other leases while
        one of them runs out; and never one lease on two loops.
        """
        while not closing():
            self._wake.clear()
            alive = self._expire()
            lease, now = self._take_due(alive)
            if lease is None:
                nearest = min((it.due if it.due > now else it.deadline for it in alive), default=now + IDLE)
                # Not longer with leases at hand: after a sleep of the machine they have to be looked at soon.
                self._wake.wait(min(1.0 if alive else IDLE, max(0.02, nearest - now)))
                continue
            try:
                self._renew(lease, now, alive[0].deadline)
            finally:
                lease.tended = False

    def wake(self) -> None:
        self._wake.set()

    def _expire(self) -> list[Lease]:
        """Declare lost what has ended; returns the others, the next to end first."""
        with self._guard:
            held = sorted((lease for lease in self._leases.values() if not lease.lost), key=lambda it: it.deadline)
        for lease in held:
            if self._runtime.now() >= lease.deadline:
                self._lose(lease, "it could not be renewed in time")
        return [lease for lease in held if not lease.lost]

    def _take_due(self, alive: list[Lease]) -> tuple[Lease | None, float]:
        """The most urgent lease to be renewed, which is this loop's from here on, and the time of that decision."""
        with self._guard:
            now = self._runtime.now()
            for lease in alive:
                if not lease.tended and lease.due <= now and lease.deadline - now >= 2 * LEAST:
                    lease.tended = True
                    return lease, now
        return None, now

    def _renew(self, lease: Lease, now: float, first_end: float) -> None:
        # An attempt never outlives its lease (G14), nor another lease by so much that the guardian has to act.
        attempt = min(ATTEMPT, (lease.deadline - now) / 2, max(OVERRUN, first_end - now))
        try:
            renewed = self._claims.extend(lease.task_id, lease.token, self._limits.lease_ttl, attempt)
        except CoordinationError as error:
            lease.retry_at = self._runtime.now() + min(1.0, max(0.0, lease.deadline - self._runtime.now()) / 4)
            self._metrics.count("lease_renewals_failed")
            log.debug("renewing the lock failed: %s", error, extra={"task": lease.task_id})
            return
        if not renewed:
            lease.robbed = self._runtime.now() < lease.deadline
            self._lose(lease, "the server says it is not ours")
        elif self._runtime.now() >= lease.deadline:
            self._lose(lease, "the renewal came too late")
        else:
            with self._guard:
                lease.sent, lease.ttl, lease.retry_at = now, self._limits.lease_ttl, 0.0
                # Given back meanwhile, it must set the guardian no new deadline.
                if self._leases.get(lease.task_id) is lease:
                    self._watchdog.lease(lease.task_id, lease.deadline)

    def _lose(self, lease: Lease, why: str) -> None:
        with self._guard:
            if lease.lost:
                return
            lease.lost = True
            known = self._leases.get(lease.task_id) is lease
        if known:
            self._metrics.count("leases_lost")
            log.error("lost the task's lock: %s", why, extra={"task": lease.task_id})
            lease.on_lost()
