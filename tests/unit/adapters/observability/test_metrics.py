"""Counters in memory."""

from __future__ import annotations

import threading

from adapters.observability.metrics import MemoryMetrics


def test_counters_begin_at_nothing_and_take_any_amount() -> None:
    metrics = MemoryMetrics()
    assert metrics.snapshot() == {}
    metrics.count("a")
    metrics.count("a", 4)
    metrics.count("b", 0)
    assert metrics.snapshot() == {"a": 5, "b": 0}


def test_a_snapshot_does_not_change_any_more() -> None:
    metrics = MemoryMetrics()
    metrics.count("a")
    before = metrics.snapshot()
    metrics.count("a")
    assert before == {"a": 1}


def test_no_count_of_many_threads_is_lost() -> None:
    metrics = MemoryMetrics()

    def count() -> None:
        for _ in range(2000):
            metrics.count("a")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.snapshot() == {"a": 8000}
