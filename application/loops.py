"""Loop threads: each lives as long as the worker; one that dies or hangs stops it with an error, never silently."""

from __future__ import annotations

import logging
from collections.abc import Callable

from application.ports import Event, Runtime, Thread

log = logging.getLogger("worker.loops")

HANG = 150.0  # seconds without a turn after which a loop is taken for hanging
FROZEN = 10.0  # seconds between two looks after which the whole process must have been asleep

Closing = Callable[[], bool]


class LoopHangs(Exception):
    """A loop has not come round for too long."""


class Loops:
    """Starts the loop threads and hears of their death. ``failed`` holds the first defect, for the exit status."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._threads: list[tuple[str, Thread]] = []
        self._turned: dict[str, float] = {}
        self._looked = runtime.now()
        self.closing: Event = runtime.event()
        self.broken: Event = runtime.event()
        self.failed: BaseException | None = None

    def start(self, name: str, body: Callable[[Closing], None], watched: bool = True) -> None:
        """Run ``body`` on a thread of its own. It asks at each turn whether the worker is closing.

        A ``watched`` one that has not asked for HANG seconds is found by ``find_hanging``.
        """

        def closing() -> bool:
            if watched:
                self._turned[name] = self._runtime.now()
            return self.closing.is_set()

        def guarded() -> None:
            try:
                body(closing)
            except Exception as error:
                log.critical("the %s loop died; the worker stops", name, exc_info=error)
                self.fail(error)
            finally:
                self._turned.pop(name, None)

        self._threads.append((name, self._runtime.start(name, guarded)))

    def find_hanging(self) -> list[str]:
        """The loops that hang; then the worker is broken (G62). Called every second or so, from one thread.

        Time in which the whole process was stopped or the machine was asleep does not count.
        """
        now = self._runtime.now()
        if now - self._looked > FROZEN:
            self._turned |= dict.fromkeys(list(self._turned), now)
        self._looked = now
        hanging = [name for name, turned in list(self._turned.items()) if now - turned > HANG]
        if hanging:
            self.fail(LoopHangs(", ".join(hanging)))
        return hanging

    def join(self, deadline: float) -> list[str]:
        """Wait for all loops until ``deadline``; returns the names of those still alive."""
        for _, thread in self._threads:
            thread.join(max(0.0, deadline - self._runtime.now()))
        return [name for name, thread in self._threads if thread.is_alive()]

    def fail(self, error: BaseException) -> None:
        """Something that the worker cannot live without has died: it stops. Any thread."""
        self.failed = self.failed or error
        self.broken.set()
