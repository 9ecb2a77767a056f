"""What is to be done at a later moment, on one heap. One thread only."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterator

LONGEST = 60.0  # seconds that ``pause`` returns at most: no system call takes a wait of a month
SPARE = 64  # cancelled timers that are not worth tidying up


class Timer:
    """One call to come. ``cancel`` lets go at once of what the call holds; idempotent."""

    __slots__ = ("_function", "_owner")

    def __init__(self, owner: Timers, function: Callable[[], None]) -> None:
        self._owner = owner
        self._function: Callable[[], None] | None = function

    @property
    def pending(self) -> bool:
        return self._function is not None

    def take(self) -> Callable[[], None] | None:
        """The call, which is no longer this timer's."""
        function, self._function = self._function, None
        return function

    def cancel(self) -> None:
        if self.take() is not None:
            self._owner.count_cancelled()


class Timers:
    """``clock`` gives seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._cancelled = 0

    def __len__(self) -> int:
        """How many places are taken, cancelled ones that are not tidied up yet included."""
        return len(self._heap)

    def at(self, delay: float, function: Callable[[], None]) -> Timer:
        """Have ``function`` called in ``delay`` seconds, however many they are."""
        timer = Timer(self, function)
        heapq.heappush(self._heap, (self._clock() + delay, next(self._numbers), timer))
        return timer

    def pause(self) -> float:
        """Seconds until the first is due, LONGEST at most."""
        return min(LONGEST, max(0.0, self._heap[0][0] - self._clock())) if self._heap else LONGEST

    def due(self) -> Iterator[Callable[[], None]]:
        """The calls whose time had come when this was asked, in their order."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            function = heapq.heappop(self._heap)[2].take()
            if function is None:
                self._cancelled -= 1
            else:
                yield function

    def clear(self) -> None:
        self._heap.clear()
        self._cancelled = 0

    def count_cancelled(self) -> None:
        """Where most are cancelled their places go too: the deadline of a task is a day away, its end a moment."""
        self._cancelled += 1
        if self._cancelled > SPARE + len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].pending]
            heapq.heapify(self._heap)
            self._cancelled = 0
