"""How soon a stream of output is read again: at once as a rule, for who prints must not wait for who reads.

There are two reasons to let it rest. A trickle of lines would wake the reader for each of them, so that some are let
come together, far from enough to fill the pipe. And what prints without end may not take more than a part of a core in
the long run (G37); what prints a lot and ends is not slowed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SHARE = 0.15  # of one core
CREDIT = 0.5  # seconds of CPU that reading may take before its share counts, after a quiet time
TRICKLE = 0.005  # seconds
LEAST = 0.001  # seconds; a shorter rest is none, as the system counts waits in milliseconds
ROOM = 0.5  # the part of a pipe that may fill during a rest
FADES = 0.1  # seconds after which what came fast before counts for half


class Flow:
    """How fast one stream comes, in bytes a second."""

    __slots__ = ("rate", "seen")

    def __init__(self, now: float) -> None:
        self.rate, self.seen = 0.0, now

    def take(self, size: int, now: float) -> None:
        quiet = max(1e-6, now - self.seen)
        self.rate = max(size / quiet, self.rate * 0.5 ** (quiet / FADES))
        self.seen = now


class Pace:
    """For all streams of one thread together."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._debt, self._since = -CREDIT, clock()

    def flow(self) -> Flow:
        return Flow(self._clock())

    def rest(self, flow: Flow, size: int, pipe: int, cost: float) -> float:
        """Seconds until a stream is read again that has just given ``size`` bytes.

        ``pipe`` is what its pipe holds, ``cost`` the seconds of CPU that reading it took.
        """
        now = self._clock()
        self._debt = max(-CREDIT, self._debt - SHARE * (now - self._since)) + cost
        self._since = now
        flow.take(size, now)
        # More than its room means that the writer had to wait, and the rate is not what it would be.
        together = min(TRICKLE, ROOM * pipe / flow.rate) if 0 < size <= ROOM * pipe else 0.0
        rest = max(together, self._debt / SHARE)
        return rest if rest >= LEAST else 0.0
