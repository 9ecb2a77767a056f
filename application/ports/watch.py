"""Who watches the worker, and what it leaves to be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from application.ports.state import Entry


class Metrics(Protocol):
    """Counters by name. Any thread, never raises, never blocks."""

    def count(self, name: str, amount: int = 1) -> None: ...
    def snapshot(self) -> Mapping[str, float]: ...


class OrphanProcesses(Protocol):
    """Ends what a previous run of this worker left running. Called before this one starts anything; never raises."""

    def end(self, entry: Entry) -> None:
        """Kill the process tree of ``entry`` if any of it is alive; blocks for seconds at most. Idempotent."""

    def sweep(self) -> None:
        """Kill whatever else previous runs left; blocks for seconds at most. Idempotent."""


class Watchdog(Protocol):
    """Ends tasks from outside when this process cannot. Any thread; never blocks, never raises."""

    @property
    def lost(self) -> bool:
        """Whether there was one and it is gone: then nobody ends this worker's tasks after it."""

    def hello(self, shutdown: float) -> None:
        """The worker begins; ending it may take ``shutdown`` seconds from the wish on."""

    def beat(self) -> None:
        """This process lives and its loops go round."""

    def lease(self, task_id: str, deadline: float) -> None:
        """The task's processes must be gone a little after ``deadline`` (Runtime.now) unless a later one is told."""

    def ended(self, task_id: str) -> None:
        """The task's lease does not matter any more. Idempotent."""

    def close(self) -> None:
        """Idempotent."""
