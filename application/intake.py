"""What arrives: an offer is admitted, kept for the next slot, or declined; a stop reaches its run. Never blocks."""

from __future__ import annotations

import logging
from collections import OrderedDict
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
        self._waiting: OrderedDict[str, tuple[Offer, float]] = OrderedDict()
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
            self._count("duplicate")
        elif why := self._gate.full():
            log.warning("not taken: %s", why, extra={"task": event.task.id})
            self._refuse(event, "refused", why)
        else:
            self._admit(event)

    def fill(self) -> None:
        """A slot is free: begin what waits for one. Any thread."""
        while self._table.room() and (offer := self._next()) is not None:
            self._admit(offer)

    def close(self) -> None:
        """Nothing is begun any more: give back what waits."""
        while (offer := self._next()) is not None:
            self._refuse(offer, "refused", "the worker takes no more")

    def _admit(self, offer: Offer) -> None:
        admission, run = self._table.admit(offer)
        if run is not None:
            self._begin(run)
        elif admission is Admission.DUPLICATE:
            self._count("duplicate")
        elif admission is Admission.FULL:
            self._keep(offer)
        else:
            self._refuse(offer, "refused", self._table.closed_for or str(admission))

    def _begin(self, run: Run) -> None:
        try:
            self._runtime.start(f"task-{run.task.id[:8]}", lambda: self._carry(run))
        except NoRoom as error:
            log.error("not taken: %s", error, extra=run.label)
            self._table.remove(run.task.id)
            self._refuse(run.offer, "refused", str(error))

    def _keep(self, offer: Offer) -> None:
        """Remember an offer for which there is no slot now. The oldest goes where there are too many."""
        surplus = None
        with self._guard:
            known = self._waiting.get(offer.task.id)
            self._waiting[offer.task.id] = (offer, self._runtime.now())  # it keeps its place
            if len(self._waiting) > self._table.slots:
                _, (surplus, _) = self._waiting.popitem(last=False)
        if known is not None:
            self._count("duplicate")
        if surplus is not None:
            self._refuse(surplus, "refused", "no free slot")
        self.fill()  # one may have become free meanwhile

    def _next(self) -> Offer | None:
        """The longest waiting offer that is not too old to be believed."""
        while True:
            with self._guard:
                if not self._waiting:
                    return None
                _, (offer, since) = self._waiting.popitem(last=False)
            if self._runtime.now() - since <= PATIENCE:
                return offer
            self._refuse(offer, "refused", "no slot became free in time")

    def _refuse(self, offer: Offer, fate: str, why: str) -> None:
        self._count(fate)
        log.debug("not taken: %s", why, extra={"task": offer.task.id})
        try:
            self._stream.decline(offer, why, AGAIN)
        except TransportError:
            pass  # then it comes again by itself

    def _stop(self, stop: Stop) -> None:
        run = self._table.find(stop.task_id)
        with self._guard:
            waiting = self._waiting.pop(stop.task_id, None)
        if waiting is not None:
            self._count("refused")
        if run is None or run.task.category in LEFT_RUNNING:  # such a run may have no ears any more
            self._orphan(stop.task_id)
        if run is not None:
            log.info("%s", ENDINGS[stop.action].note, extra=run.label)
            run.token.cancel(ENDINGS[stop.action])

    def _count(self, fate: str) -> None:
        self._metrics.count(f"events_{fate}")
