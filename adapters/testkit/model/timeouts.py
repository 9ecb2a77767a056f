"""The modelled server's check for tasks that nobody started in time (protocol 7.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.testkit.model.replies import DATABASE, REDIS
from adapters.testkit.model.tasks import Row, stamp

if TYPE_CHECKING:
    from adapters.testkit.model.server import ServerModel

EVERY = 30.0  # seconds between two lists
LAG = 2.0  # seconds from a list to its writes, usually
LIMIT = 50
LOCKED = 100.0  # seconds


class TimeoutCheck:
    """Lists what is late, and ends it some time after, from the copy that it had listed: what happened to a task in
    between is overwritten. Only the task's lock keeps it away."""

    def __init__(self, now: float) -> None:
        self._list_at = now + EVERY
        self._write_at = float("inf")
        self._listed: list[Row] = []

    def due(self) -> float:
        return min(self._list_at, self._write_at)

    def tick(self, model: ServerModel) -> None:
        now = model.clock()
        if now >= self._write_at:
            self._write_at = float("inf")
            self._write(model, now)
        if now >= self._list_at:
            self._list_at = now + EVERY
            self._list(model, now)

    def _list(self, model: ServerModel, now: float) -> None:
        if DATABASE in model.away:
            return
        late = [it for it in model.tasks.values() if it["status"] == "pending" and it["timeout_at"] <= stamp(now)]
        self._listed = [dict(row) for row in late[:LIMIT]]
        if self._listed:
            self._write_at = now + model.check_takes

    def _write(self, model: ServerModel, now: float) -> None:
        listed, self._listed = self._listed, []
        if model.away & {DATABASE, REDIS}:
            return
        for copy in listed:
            if copy["id"] in model.tasks and model.locks.acquire(f"task:lock:{copy['id']}", LOCKED):
                end = {"status": "timeout", "time_end": stamp(now), "failure_reason": "timeout"}
                before = model.tasks[copy["id"]]["status"]
                model.tasks[copy["id"]] |= copy | end
                model.note("ended by server", copy["id"], status="timeout", before=before)
