"""How long to wait before the next try."""

from __future__ import annotations

from application.ports import Runtime

HEALTHY_AFTER = 60.0  # seconds a connection must have lasted before the next failure starts from the beginning


class Backoff:
    """Exponential with full jitter: a herd of workers spreads evenly instead of coming back in waves (G46)."""

    def __init__(self, runtime: Runtime, base: float, cap: float) -> None:
        self._runtime = runtime
        self._base = base
        self._cap = cap
        self._failures = 0

    def next_delay(self, at_least: float | None = None) -> float:
        """Seconds to wait now; never less than what the server asked for."""
        ceiling = min(self._cap, self._base * 2 ** min(self._failures, 30))
        self._failures += 1
        return max(self._runtime.uniform(0, ceiling), at_least or 0.0)

    def reset(self) -> None:
        self._failures = 0
