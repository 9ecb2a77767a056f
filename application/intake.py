"""What arrives: an offer is admitted, kept for the next slot, or declined; a stop reaches its run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from application.approvals import LEFT_RUNNING
from application.ports import Host, Offer, Stop, Stream
from application.runs import Admission, Run, RunTable
from domain.errors import NoRoom, TransportError
from domain.result import EndReason
from domain.runner import CancelRequest, Urgency
from domain.task import Action, Task

log = logging.getLogger("worker.intake")

ENDINGS = {
    Action.STOP: CancelRequest(EndReason.STOPPED, Urgency.POLITE, "stopped on request"),
    Action.KILL: CancelRequest(EndReason.KILLED, Urgency.NOW, "killed on request"),
    Action.TIMEOUT: CancelRequest(EndReason.TIMEOUT, Urgency.POLITE, "the server says that its time is over"),
}
AGAIN = 3.0  # seconds after which a declined offer may come again
WAITING = 1000  # offers that wait for a slot at most
PATIENCE = 10.0  # seconds that an offer waits for a slot; a server that still means it has offered it again by then


@dataclass(frozen=True, slots=True)
class Gate:
    """Who decides about offers. ``takes``: is it for this worker. ``ended``: did it end here a moment ago. ``full``:
    why nothing new can be kept; empty where it can."""

    takes: Callable[[Task], bool]
    ended: Callable[[str], bool]
    full: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Hands:
    """Who goes on with what arrived. ``carry`` takes an admitted run to its end, on a thread of its own. ``orphan`` is
    told of stops for tasks that are not in hand, which may be left from a previous run, and for those whose run leaves
    them running."""

    carry: Callable[[Run], None]
    orphan: Callable[[str], None]


class Intake:
    """What arrives on the link, and what waits for a slot."""

    def __init__(self, host: Host, stream: Stream, table: RunTable, gate: Gate, hands: Hands) -> None:
        self._runtime = host.runtime
        self._stream = stream
        self._metrics = host.metrics
        self._table = table
        self._gate = gate
        self._carry = hands.carry
        self._orphan = hands.orphan
        self._guard = host.runtime.lock()
        self._waiting: dict[str, tuple[Offer, float]] = {}  # in the order in which they arrived, and since when
        table.on_free = self.fill

    def handle(self, event: Offer | Stop) -> None:
        """Link thread."""
        if isinstance(event, Stop):
            self._stop(event)
            return
        self._count("received")
        log.debug("offered: %s", event.task.category, extra={"task": event.task.id, "task_name": event.task.name})
        if not self._gate.takes(event.task):
            self._refuse(event, "not_mine", "it is for others")
        elif self._gate.ended(event.task.id):
            self._refuse(event, "duplicate", "it ended here a moment ago")
        elif why := self._gate.full():
            log.warning("not taken: %s", why, extra={"task": event.task.id})
            self._refuse(event, "refused", why)
        else:
            self._follow(event, *self._table.admit(event))

    def room(self) -> int:
        """How many more offers there is a slot for."""
        self.fill()
        return 0 if self._gate.full() else max(0, self._table.room() - len(self._waiting))

    def fill(self) -> None:
        """A slot may be free, or none will be: begin or give back what waits for one. Any thread."""
        if not self._waiting:
            return
        for offer in self._expired():
            self._refuse(offer, "refused", "no slot became free in time")
        while (taken := self._take()) is not None:
            self._follow(*taken)

    def _expired(self) -> list[Offer]:
        """Those too old to be believed, which wait no more."""
        oldest = self._runtime.now() - PATIENCE
        with self._guard:
            found = [offer for offer, since in self._waiting.values() if since < oldest]
            for offer in found:
                del self._waiting[offer.task.id]
        return found

    def _take(self) -> tuple[Offer, Admission, Run | None] | None:
        """Admit the longest waiting offer. In one step, so that a stop finds it either here or in the table."""
        if self._gate.full() and not self._table.closed_for:
            return None
        with self._guard:
            if not self._waiting:
                return None
            offer, _ = next(iter(self._waiting.values()))
            admission, run = self._table.admit(offer)
            if admission is Admission.FULL:
                return None
            del self._waiting[offer.task.id]
            return offer, admission, run

    def _follow(self, offer: Offer, admission: Admission, run: Run | None) -> None:
        if run is not None:
            self._begin(run)
        elif admission is Admission.DUPLICATE:  # given back as well: it may be on its way back to the server
            self._refuse(offer, "duplicate", "it is in hand already")
        elif admission is Admission.FULL:
            self._keep(offer)
        else:
            self._refuse(offer, "refused", self._table.closed_for or str(admission))

    def _begin(self, run: Run) -> None:
        try:
            self._runtime.start(f"task-{run.task.id[:8]}", lambda: self._carry(run))
        except NoRoom as error:
            log.error("not taken: %s", error, extra=run.label)
            self._table.remove(run.task.id, told=False)
            self._refuse(run.offer, "refused", str(error))

    def _keep(self, offer: Offer) -> None:
        """Remember an offer for which there is no slot now; one that comes again keeps its place."""
        with self._guard:
            known = offer.task.id in self._waiting
            kept = known or len(self._waiting) < WAITING
            if kept:
                self._waiting[offer.task.id] = (offer, self._runtime.now())
        if known:
            self._count("duplicate")
        if not kept:
            self._refuse(offer, "refused", "no free slot")
        self.fill()  # one may have become free meanwhile

    def _refuse(self, offer: Offer, outcome: str, why: str) -> None:
        self._count(outcome)
        log.debug("not taken: %s", why, extra={"task": offer.task.id})
        decline(self._stream, offer, why)

    def _stop(self, stop: Stop) -> None:
        """What waits for a slot is taken in hand for it: it needs none to be told stopped."""
        taken = None
        with self._guard:
            waiting, _ = self._waiting.pop(stop.task_id, (None, 0.0))
            if waiting is not None:
                taken = self._table.admit(waiting, beyond=True)
        run = self._table.find(stop.task_id)
        if run is None or taken is not None or run.task.category in LEFT_RUNNING:  # the last may have no ears any more
            self._orphan(stop.task_id)
        if run is not None:
            log.info("%s", ENDINGS[stop.action].note, extra=run.label)
            run.token.cancel(ENDINGS[stop.action])
        if waiting is not None and taken is not None:
            self._follow(waiting, *taken)

    def _count(self, outcome: str) -> None:
        self._metrics.count(f"events_{outcome}")


def decline(stream: Stream, offer: Offer, why: str) -> None:
    """Let the offer be made again. Blocks for one exchange at most."""
    try:
        stream.decline(offer, why, AGAIN)
    except TransportError:
        pass  # then it comes again by itself
