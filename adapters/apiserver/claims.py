"""The Claims port: the API server's locks, and the fresh read that belongs to each claim (protocol 6.1, 7.1)."""

from __future__ import annotations

import logging

from adapters.apiserver.locks import HttpLocks
from adapters.apiserver.tasks import HttpTasks
from application.ports import Claim, Offer
from domain.errors import CoordinationError, Unavailable

log = logging.getLogger("worker.apiserver")

_GIVE_BACK = 1.0  # seconds for the release of a lock whose task could not be read


class HttpClaims:
    """A claim is the task's lock and a read of the task under it. Any thread."""

    keeps_running = True  # nothing on the server sets a running task back, whatever its lock does

    def __init__(self, locks: HttpLocks, tasks: HttpTasks) -> None:
        self._locks = locks
        self._tasks = tasks

    def claim(self, offer: Offer, token: str, ttl: float, timeout: float) -> Claim | None:
        """``token`` has no use: the server makes the lock's value, so that a lost answer cannot be repeated."""
        key = lock_key(offer.task.id)
        value = self._locks.acquire(key, ttl, timeout)
        if value is None:
            return None
        try:
            return Claim(self._tasks.fetch(offer.task.id), value)
        except CoordinationError:
            self._give_back(key, value)
            raise

    def extend(self, task_id: str, token: str, ttl: float, timeout: float) -> bool:
        return self._locks.refresh(lock_key(task_id), token, ttl, timeout)

    def settle(self, task_id: str, token: str, timeout: float) -> bool:
        return self._locks.release(lock_key(task_id), token, timeout)

    def _give_back(self, key: str, value: str) -> None:
        try:
            self._locks.release(key, value, _GIVE_BACK)
        except Unavailable as error:
            log.debug("the lock of a task that could not be read ends by itself: %s", error)


def lock_key(task_id: str) -> str:
    return f"task:lock:{task_id}"
