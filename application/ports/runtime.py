"""Time, threads and chance: the only way to them, so that a simulated one can run the core under a seed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol


class Event(Protocol):
    """A flag to wait on, as threading.Event. Any thread."""

    def set(self) -> None: ...
    def clear(self) -> None: ...
    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool:
        """Block until set or until ``timeout`` seconds passed; returns whether it is set."""


class Thread(Protocol):
    def join(self, timeout: float | None = None) -> None:
        """Block until it has ended or until ``timeout`` seconds passed."""

    def is_alive(self) -> bool: ...


class Runtime(Protocol):
    """Any thread may call all of it; nothing but the waits of what it gives blocks."""

    def now(self) -> float:
        """Seconds on a clock that never jumps and counts suspend (CLOCK_BOOTTIME)."""

    def wall(self) -> datetime:
        """The calendar time with an offset; for people and for deadlines that the server gave as such."""

    def uniform(self, low: float, high: float) -> float:
        """A random number between the two."""

    def token(self) -> str:
        """A text that nobody has had before and nobody can guess: 32 hexadecimal digits."""

    def event(self) -> Event: ...
    def lock(self) -> AbstractContextManager[Any]:
        """A mutual exclusion lock, not reentrant; hold it for memory operations only."""

    def start(self, name: str, target: Callable[[], None]) -> Thread:
        """Run ``target`` on a new daemon thread. An exception that leaves it is the target's own defect.

        Raises NoRoom where the system has no thread to give.
        """
