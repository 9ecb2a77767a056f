"""Claims on runs of the schedule, in memory: the state directory has one worker only."""

from __future__ import annotations

import threading

from application.ports import Claim, Offer, ReadBack, Runtime


class LocalClaims:
    """The Claims port. Any thread."""

    keeps_running = True  # what runs is on disk, and only its worker changes that

    def __init__(self, runtime: Runtime, reader: ReadBack) -> None:
        self._runtime = runtime
        self._reader = reader
        self._guard = threading.Lock()
        self._held: dict[str, tuple[str, float]] = {}

    def claim(self, offer: Offer, token: str, ttl: float, timeout: float) -> Claim | None:
        with self._guard:
            if self._holder(offer.task.id) not in ("", token):
                return None
            self._held[offer.task.id] = (token, self._runtime.now() + ttl)
        return Claim(self._reader.fetch(offer.task.id), token)

    def extend(self, task_id: str, token: str, ttl: float, timeout: float) -> bool:
        with self._guard:
            if self._holder(task_id) != token:
                return False
            self._held[task_id] = (token, self._runtime.now() + ttl)
            return True

    def settle(self, task_id: str, token: str, timeout: float) -> bool:
        with self._guard:
            if self._holder(task_id) != token:
                return False
            del self._held[task_id]
            return True

    def _holder(self, task_id: str) -> str:
        token, until = self._held.get(task_id, ("", 0.0))
        return token if until > self._runtime.now() else ""
