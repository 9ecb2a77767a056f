"""Ends the container of a run that is over, however long its engine takes (G77)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from adapters.runners.container.request import ContainerFailed
from domain.errors import WorkerError
from domain.result import EndReason
from domain.runner import CancelRequest, CancelToken, Urgency

log = logging.getLogger("worker.container")

LOOKS = 3  # an engine may still make what was asked of it, when nobody waits for its answer any more
PAUSES = (0.0, 0.5, 2.0, 10.0, 30.0, 120.0, 600.0)  # seconds before each removal; a busy engine needs time, not haste
SETTLING = 0.9  # seconds for the removal, while the task waits: with the grace time below grace + 1 s


class Departure(Protocol):
    """How the container of one run leaves. Both raise ContainerFailed where that failed, at once on a cancel."""

    @property
    def name(self) -> str:
        """What a person knows it by."""

    def stop(self, seconds: float, token: CancelToken) -> None:
        """Ask it to end within ``seconds``; the engine's own kill comes no sooner. Blocks that long at most."""

    def remove(self, token: CancelToken) -> bool:
        """End it by force and remove it; returns whether anything was there."""


class Ending:
    """One container on its way out: asked for ``grace`` seconds, then removed by force. A thread of its own."""

    def __init__(self, departure: Departure, grace: float) -> None:
        self._departure = departure
        self._until = time.monotonic() + grace
        self._hurried, self._closed, self._settled = threading.Event(), threading.Event(), threading.Event()
        self._told = threading.Event()  # what a waiting task listens to: hurried or settled
        self._polite, self._forced = CancelToken(), CancelToken()
        self.thread = threading.Thread(target=self._work, name="container-ending", daemon=True)

    def wait(self) -> bool:
        """Block until the container is gone, for the grace time and 0.9 s at most; returns whether it is."""
        self._told.wait(self._until - time.monotonic() + SETTLING)
        return self._settled.wait(SETTLING if self._hurried.is_set() else 0.0)

    def hurry(self) -> None:
        """No grace any more. Idempotent, any thread, never blocks."""
        self._hurried.set()
        self._polite.cancel(CancelRequest(EndReason.KILLED, Urgency.NOW))
        self._told.set()

    def close(self) -> None:
        """Leave it to the next start. Idempotent, any thread, never blocks."""
        self._closed.set()
        self.hurry()
        self._forced.cancel(CancelRequest(EndReason.SHUTDOWN, Urgency.NOW))

    def _work(self) -> None:
        left = self._until - time.monotonic()
        if left > 0 and not self._hurried.is_set():
            self._heard(lambda: self._departure.stop(left, self._polite))
        looks = 0
        for pause in PAUSES:
            if self._closed.wait(pause):
                return
            found = self._heard(lambda: self._departure.remove(self._forced))
            if found is None:
                continue
            looks += 1
            self._settled.set()
            self._told.set()
            if found or looks == LOOKS:
                return
        log.warning("%s may still be there; the next start of the worker removes it", self._departure.name)

    def _heard(self, ask: Callable[[], bool | None]) -> bool | None:
        """The engine's answer; None where there is none."""
        try:
            return ask()
        except (ContainerFailed, WorkerError) as error:
            if not self._closed.is_set():
                log.info("%s is not removed yet: %s", self._departure.name, error)
            return None


class Endings:
    """Those of one worker that are not done yet. Any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._open: set[Ending] = set()

    def begin(self, ending: Ending) -> None:
        with self._guard:
            self._open = {it for it in self._open if it.thread.is_alive()} | {ending}
            ending.thread.start()

    def close(self) -> None:
        """Leave to the next start what is not done; waits for a second at most. Idempotent."""
        with self._guard:
            opened, self._open = self._open, set()
        for ending in opened:
            ending.close()
        until = time.monotonic() + 1.0
        for ending in opened:
            ending.thread.join(max(0.0, until - time.monotonic()))
