"""Counters in memory."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping


class MemoryMetrics:
    """The Metrics port. Any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._counts: Counter[str] = Counter()

    def count(self, name: str, amount: int = 1) -> None:
        with self._guard:
            self._counts[name] += amount

    def snapshot(self) -> Mapping[str, float]:
        with self._guard:
            return dict(self._counts)
