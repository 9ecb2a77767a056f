"""One worker's end of a transport in a contract suite: what the core does with it, step by step."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from adapters.testkit.promises import broken
from adapters.testkit.transport.calls import Calls, judged
from adapters.testkit.transport.site import Site
from application.ports import Claim, Identity, Offer, Report, Server, Stop, Verb
from domain.errors import ConnectionLost
from domain.result import EndReason
from domain.status import Status

CATEGORIES = ("command", "default")
TTL = 30.0
ANSWER = 2.0
ROOM = 100

Found = TypeVar("Found", Offer, Stop)


def someone(name: str = "w1") -> Identity:
    return Identity(str(uuid.uuid4()), name, tasks=CATEGORIES)


def token() -> str:
    return uuid.uuid4().hex


@dataclass
class WorkerLink:
    """A worker, as far as a transport sees one. ``server`` judges each call that is made of it."""

    site: Site
    opened: Server
    limit: float
    identity: Identity = field(default_factory=someone)

    def __post_init__(self) -> None:
        self.calls = Calls(self.limit)
        self.server = judged(self.opened, self.calls)

    def end(self) -> None:
        """The test is over."""
        self.opened.stream.close()
        self.calls.end()

    def connect(self) -> None:
        self.server.stream.connect(self.identity)

    def reconnect(self) -> None:
        """As the core does after the end of a connection."""
        self.server.stream.close()
        self.connect()

    def loses(self, why: str) -> None:
        """Receive until the transport tells that its connection is gone."""
        until = time.monotonic() + self.limit
        while time.monotonic() < until:
            try:
                self.server.stream.receive(ROOM, 0.2)
            except ConnectionLost:
                return
        broken("Stream.receive raises ConnectionLost once the connection is gone", f"it went on {why}")

    # -- what comes ----------------------------------------------------------------------------------------------------

    def offers(self, *task_ids: str) -> list[Offer]:
        """Receive until each of these is offered; in the order in which they came. Repeats are left out."""
        return self._until(Offer, lambda offer: offer.task.id, task_ids, "offers each task that waits")

    def offer(self, task_id: str) -> Offer:
        return next(offer for offer in self.offers(task_id) if offer.task.id == task_id)

    def stop_of(self, task_id: str) -> Stop:
        """Receive until the task's stop comes."""
        found = self._until(Stop, lambda stop: stop.task_id, (task_id,), "tells the stop of a task that runs here")
        return next(stop for stop in found if stop.task_id == task_id)

    def nothing_more(self, seconds: float = 0.2) -> list[Offer | Stop]:
        """What comes within ``seconds`` (of silence)."""
        return list(self.server.stream.receive(ROOM, seconds))

    def _until(
        self, kind: type[Found], name: Callable[[Found], str], wanted: tuple[str, ...], promise: str
    ) -> list[Found]:
        found: dict[str, Found] = {}
        until = time.monotonic() + self.limit
        while missing := [task_id for task_id in wanted if task_id not in found]:
            if time.monotonic() > until:
                count = f"{len(missing)} of {len(wanted)} never came: {', '.join(missing)}"
                broken(f"Stream.receive {promise}", f"within {self.limit:g} s {count}")
            came = self.server.stream.receive(ROOM, 0.2)
            for event in came:
                if isinstance(event, kind):
                    found.setdefault(name(event), event)
            if not came:
                self.site.hurry()
        return list(found.values())

    # -- what the core does --------------------------------------------------------------------------------------------

    def claim(self, offer: Offer, proof: str = "", ttl: float = TTL) -> Claim:
        """Claim what must be free."""
        claim = self.server.claims.claim(offer, proof or token(), ttl, ANSWER)
        if claim is None:
            broken("Claims.claim gives a task that nobody has", f"it gave None for {offer.task.id}")
        return claim

    def run(self, command: str = "true") -> Claim:
        """Plan a task and carry it until the server knows that it runs here."""
        claim = self.claim(self.offer(self.site.add(command)))
        self.server.outcomes.running(claim.task.id, claim.token)
        self.sees(claim.task.id, Status.RUNNING, "Outcomes.running makes it known that the task runs here")
        return claim

    def sees(self, task_id: str, status: Status, promise: str) -> None:
        """Wait until the server holds the task with ``status``."""
        until = time.monotonic() + self.limit
        while (held := self.site.task(task_id)).status is not status:
            if time.monotonic() > until:
                broken(promise, f"after {self.limit:g} s the server shows it {held.status}")
            time.sleep(0.005)

    def barrier(self) -> None:
        """Return when all that was told before has been processed: what is told keeps its order."""
        self.run()


def ended(task_id: str, status: Status = Status.SUCCESS, output: str = '{"exit_code": 0}') -> Report:
    """A report of a task's end."""
    reason = EndReason.COMPLETED if status is Status.SUCCESS else EndReason.EXIT_CODE
    return Report(task_id, Verb.ENDED, status, reason, output, ended_at="2026-11-24T03:00:01.234+01:00")
