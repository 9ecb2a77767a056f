"""Loop threads: each lives as long as the worker; one that dies stops the worker with an error, never silently."""

from __future__ import annotations

import logging
from collections.abc import Callable

from application.ports import Event, Runtime, Thread

log = logging.getLogger("worker.loops")


class Loops:
    """Starts the loop threads and hears of their death. ``failed`` holds the first defect, for the exit status."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._threads: list[tuple[str, Thread]] = []
        self.closing: Event = runtime.event()
        self.broken: Event = runtime.event()
        self.failed: Exception | None = None

    def start(self, name: str, body: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                body()
            except Exception as error:
                self.failed = self.failed or error
                log.critical("the %s loop died; the worker stops", name, exc_info=error)
                self.broken.set()

        self._threads.append((name, self._runtime.start(name, guarded)))

    def join(self, deadline: float) -> list[str]:
        """Wait for all loops until ``deadline``; returns the names of those still alive."""
        for _, thread in self._threads:
            thread.join(max(0.0, deadline - self._runtime.now()))
        return [name for name, thread in self._threads if thread.is_alive()]
