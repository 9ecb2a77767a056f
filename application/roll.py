"""What the server shows of this worker's tasks, for a server that confirms nothing: the one read-back (G2, G4).

Announcing and delivering wait for the same thing: that the server shows what it was told. Where many wait, one list
answers for all of them; where few do, each task is read singly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from application.link import Link
from application.ports import Outcomes, ReadBack, Runtime
from domain.errors import CoordinationError
from domain.task import Task

POLL = (0.005, 0.02, 0.05, 0.15, 0.4, 1.0)  # seconds between two looks for what was just sent
TOGETHER = 4  # from this many that wait on, one list looks for all of them
MISSES = 3  # lists without the task until it is read singly: absence from a list proves nothing
LIST = 500  # tasks in one list
FRESH = 1.0  # seconds that a list is shown to others than who asked for it


@dataclass(slots=True)
class Watch:
    """One task that somebody looks for; what was asked before ``since`` (Runtime.now) shows nothing."""

    task_id: str
    since: float
    looks: int = 0
    misses: int = 0

    def pause(self) -> float:
        """Seconds until the next look."""
        return POLL[min(self.looks, len(POLL) - 1)]

    def sent(self, now: float) -> None:
        """It was told anew: look often again."""
        self.since, self.looks, self.misses = now, 0, 0

    def rest(self) -> None:
        """Nothing will be seen soon."""
        self.looks = len(POLL)


class Roll:
    """Looks for tasks on behalf of all that wait. Any thread."""

    def __init__(self, runtime: Runtime, reader: ReadBack, worker_id: str) -> None:
        self._runtime = runtime
        self._reader = reader
        self._worker_id = worker_id
        self._guard = runtime.lock()
        self._waiting = 0
        self._asking = False
        self._asked_at = float("-inf")
        self._listed: dict[str, Task] = {}

    @contextlib.contextmanager
    def waiting(self, amount: int = 1) -> Iterator[None]:
        """Count the caller among those that wait, ``amount`` times."""
        with self._guard:
            self._waiting += amount
        try:
            yield
        finally:
            with self._guard:
                self._waiting -= amount

    def look(self, watch: Watch) -> Task | None:
        """The task as the server shows it now; None where that is not known yet: look again after ``watch.pause``.

        Blocks for two requests at most. Raises NotFound, Refused, Unavailable.
        """
        if self._waiting < TOGETHER or watch.misses >= MISSES:
            watch.looks += 1
            return self._reader.fetch(watch.task_id)
        with self._guard:
            now = self._runtime.now()
            if self._asked_at > max(watch.since, now - FRESH):
                return self._found(watch)
            if self._asking:
                return None
            self._asking = True
        asked_at, listed = now, None
        try:
            listed = {task.id: task for task in self._reader.of_worker(self._worker_id, None, LIST)}
        except CoordinationError:  # says nothing about this task, which is read singly from here on
            watch.looks, watch.misses = watch.looks + 1, MISSES
            return self._reader.fetch(watch.task_id)
        finally:
            with self._guard:
                self._asking = False
                if listed is not None:
                    self._asked_at, self._listed = asked_at, listed
        with self._guard:
            return self._found(watch)

    def _found(self, watch: Watch) -> Task | None:
        task = self._listed.get(watch.task_id)
        watch.looks += 1
        watch.since = self._asked_at  # the next look wants a newer list
        if task is None:
            watch.misses += 1
        return task


@dataclass(frozen=True, slots=True)
class Uplink:
    """How the server is told something, and how it is known that it knows: ``roll`` reads back what a server does not
    confirm, and is None for one that does."""

    link: Link
    outcomes: Outcomes
    roll: Roll | None
    worker_id: str
