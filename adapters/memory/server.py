"""A server in this process: the smallest whole transport, for programs and tests that embed a worker.

It is the scripted transport of tests as well: ``add``, ``stop`` and ``change`` are what comes in, ``reports``, ``task``
and ``log`` what was told. ``adapters.testkit.whole_worker.memory_worker`` is a whole worker over it.

Every task and every report passes the JSON of the wire on its way, so that what works here works on a wire. It confirms
what it is told, so nothing is read back.
"""

from __future__ import annotations

import json
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.wire.messages import decode_event, decode_task
from adapters.wire.report_json import decode_report, encode_report
from application.ports import Claim, Identity, LogPiece, Offer, Receipt, Report, Runtime, Server, Stop, Taken, Verb
from domain.errors import ConnectionLost, NotFound
from domain.status import Status
from domain.task import Action, Task

NEVER = float("inf")
FULL = 0.02  # seconds until a worker without room is asked again how much it has


@dataclass(slots=True)
class Row:
    """A task as this server holds it."""

    task: dict[str, Any]
    reports: list[Report] = field(default_factory=list)
    log: bytes = b""
    token: str = ""
    claimed_until: float = 0.0
    offer_at: float = 0.0  # NEVER once it is offered, until it is declined or handed back
    offers: int = 0

    @property
    def status(self) -> Status:
        return Status(self.task["status"])


class MemoryServer:
    """Stream, claims, outcomes and logs of one worker on one object. Any thread."""

    keeps_running = True

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._guard = runtime.lock()
        self._arrived = runtime.event()
        self._rows: dict[str, Row] = {}
        self._stops: deque[bytes] = deque()
        self._identity: Identity | None = None
        self.identities: list[Identity] = []

    # -- what people do -----------------------------------------------------------------------------------------------

    def add(self, command: str = "true", **fields: Any) -> str:
        """Plan a task; returns its id. ``fields`` as on the wire: category, args, timeout, metadata, save_log, ..."""
        task_id = str(fields.setdefault("id", str(uuid.uuid4())))
        task = {"category": "command", "name": "", "save_log": True} | fields
        with self._guard:
            self._rows[task_id] = Row(task | {"command": command, "status": Status.PENDING.value})
        self._arrived.set()
        return task_id

    def stop(self, task_id: str, action: Action = Action.STOP) -> None:
        """Ask for a task's end."""
        with self._guard:
            self._stops.append(json.dumps({"action": action.value, "tasks": [{"id": task_id}]}).encode())
        self._arrived.set()

    def change(self, task_id: str, **fields: Any) -> None:
        """Edit a task, or end it (``status="canceled"``); ``fields`` as on the wire."""
        with self._guard:
            self._rows[task_id].task |= fields

    def status(self, task_id: str) -> Status:
        with self._guard:
            return self._rows[task_id].status

    def task(self, task_id: str) -> Task:
        """The task as it is now."""
        with self._guard:
            return decode_task(json.loads(json.dumps(self._rows[task_id].task)))

    def reports(self, task_id: str) -> list[Report]:
        """What was told of a task, in order."""
        with self._guard:
            return list(self._rows[task_id].reports)

    def log(self, task_id: str) -> str:
        with self._guard:
            return self._rows[task_id].log.decode("utf-8", "replace")

    def wait_for(self, task_id: str, *statuses: Status, timeout: float = 30.0) -> Status:
        """Block until the task has one of ``statuses``. Raises TimeoutError."""
        deadline, pause = self._runtime.now() + timeout, self._runtime.event()
        while (now := self.status(task_id)) not in statuses:
            if self._runtime.now() > deadline:
                raise TimeoutError(f"task {task_id} is {now}, not {' or '.join(statuses)}")
            pause.wait(0.005)
        return now

    def cut(self) -> None:
        """End the connection, as a network does."""
        self.close()

    def server(self) -> Server:
        """The ports of the one worker that this server has."""
        return Server("memory", self, self, self, logs=self)

    # -- stream --------------------------------------------------------------------------------------------------------

    def connect(self, identity: Identity) -> None:
        with self._guard:
            self._identity = identity
            self.identities.append(identity)
            for row in self._rows.values():  # what a former connection lost is offered again
                row.offer_at = 0.0
        self._arrived.set()

    def receive(self, room: int, timeout: float) -> Sequence[Offer | Stop]:
        found = self._take(room)
        if not found:
            self._arrived.wait(min(timeout, self._next_offer() if room > 0 else FULL))
            self._arrived.clear()
            found = self._take(room)
        return found

    def decline(self, offer: Offer, why: str, after: float) -> None:
        with self._guard:
            self._live()
            if row := self._rows.get(offer.task.id):
                row.offer_at = self._runtime.now() + after

    def announce(self, identity: Identity) -> None:
        with self._guard:
            self._identity = identity
            self.identities.append(identity)

    def ping(self) -> None:
        with self._guard:
            self._live()

    def silence(self) -> float:
        return 0.0

    def close(self) -> None:
        with self._guard:
            self._identity = None
        self._arrived.set()

    # -- claims --------------------------------------------------------------------------------------------------------

    def claim(self, offer: Offer, token: str, ttl: float, timeout: float) -> Claim | None:
        with self._guard:
            row, now = self._row(offer.task.id), self._runtime.now()
            if row.token not in ("", token) and row.claimed_until > now:
                return None
            row.token, row.claimed_until = token, now + ttl
            return Claim(decode_task(json.loads(json.dumps(row.task))), token)

    def extend(self, task_id: str, token: str, ttl: float, timeout: float) -> bool:
        with self._guard:
            row, now = self._rows.get(task_id), self._runtime.now()
            if row is None or row.token != token or row.claimed_until <= now:
                return False
            row.claimed_until = now + ttl
            return True

    def settle(self, task_id: str, token: str, timeout: float) -> bool:
        with self._guard:
            row = self._rows.get(task_id)
            if row is None or row.token != token:
                return False
            row.token, row.claimed_until = "", 0.0
            return True

    # -- outcomes ------------------------------------------------------------------------------------------------------

    def running(self, task_id: str, token: str) -> Receipt:
        with self._guard:
            identity, row = self._live(), self._rows.get(task_id)
            if row is None or row.status.is_final:
                return Receipt.SUPERSEDED
            if row.status is not Status.PENDING and row.task.get("worker_id") != identity.id:
                return Receipt.SUPERSEDED
            row.task |= {"status": Status.RUNNING.value, "worker_id": identity.id}
            return Receipt.CONFIRMED

    def publish(self, report: Report, token: str) -> Receipt:
        assert report.status is not None
        return self._told(
            report, {"status": report.status.value, "output": report.output or "", "time_end": report.ended_at}
        )

    def progress(self, report: Report, token: str) -> Receipt:
        return self._told(report, {"output": report.output or ""})

    def hand_back(self, report: Report, token: str) -> Receipt:
        receipt = self._told(report, {"status": Status.PENDING.value, "worker_id": ""})
        with self._guard:
            if receipt is Receipt.CONFIRMED:
                self._row(report.task_id).offer_at = 0.0
        self._arrived.set()
        return receipt

    # -- logs ----------------------------------------------------------------------------------------------------------

    def append(self, piece: LogPiece) -> Taken:
        with self._guard:
            row = self._row(piece.task_id)
            if piece.offset <= len(row.log) < piece.end:  # what is there already stays
                row.log = row.log[: piece.offset] + piece.data
            return Taken(len(row.log))

    # -- inside; the guard is held -------------------------------------------------------------------------------------

    def _live(self) -> Identity:
        if self._identity is None:
            raise ConnectionLost("not connected")
        return self._identity

    def _row(self, task_id: str) -> Row:
        if task_id not in self._rows:
            raise NotFound(f"there is no task {task_id}")
        return self._rows[task_id]

    def _told(self, report: Report, changes: dict[str, Any]) -> Receipt:
        """Store what a report says, once; the first end stays."""
        sent = decode_report(json.loads(json.dumps(encode_report(report))))
        with self._guard:
            self._live()
            row = self._rows.get(report.task_id)
            if row is None:
                return Receipt.SUPERSEDED
            row.reports.append(sent)
            if row.status.is_final:
                same = report.verb is Verb.ENDED and row.status is report.status
                return Receipt.CONFIRMED if same else Receipt.SUPERSEDED
            row.task |= changes
            return Receipt.CONFIRMED

    def _take(self, room: int) -> list[Offer | Stop]:
        found: list[Offer | Stop] = []
        with self._guard:
            self._live()
            while self._stops:
                found += decode_event(self._stops.popleft())[0]
            now = self._runtime.now()
            for row in self._rows.values():
                if room > 0 and row.status is Status.PENDING and row.offer_at <= now:
                    row.offer_at, room = NEVER, room - 1
                    row.offers += 1
                    (offer,) = decode_event(json.dumps({"action": "run", "tasks": [row.task]}).encode())[0]
                    assert isinstance(offer, Offer)
                    found.append(replace(offer, delivery=f"{offer.task.id}.{row.offers}", attempt=row.offers))
        return found

    def _next_offer(self) -> float:
        """Seconds until a declined task is due."""
        with self._guard:
            due = [row.offer_at for row in self._rows.values() if row.status is Status.PENDING and row.offer_at < NEVER]
        return max(0.001, min(due, default=NEVER) - self._runtime.now())
