"""What a container uses, from what the engines tell (K8)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from adapters.runners.container import figures as module
from adapters.runners.container.figures import between, cpu_percent, figures
from adapters.runners.container.request import ContainerFailed


def sample(
    used: int, system: int = 0, *, before: tuple[int, int] = (0, 0), cores: int = 0, **more: Any
) -> dict[str, Any]:
    now: dict[str, Any] = {"cpu_usage": {"total_usage": used}, "system_cpu_usage": system}
    return {
        "cpu_stats": now | ({"online_cpus": cores} if cores else {}),
        "precpu_stats": {"cpu_usage": {"total_usage": before[0]}, "system_cpu_usage": before[1]},
    } | more


@pytest.mark.parametrize(
    ("seen", "percent"),
    [
        (sample(30, 300, before=(10, 100), cores=4), 40.0),
        (sample(30, 300, before=(10, 100)), 10.0),  # nobody tells how many cores
        (sample(10, 300, before=(30, 100), cores=4), 0.0),  # counters of another life of the container
        (sample(30, 100, before=(10, 100)), 0.0),
        ({"cpu_stats": None, "precpu_stats": None}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_load_is_that_since_the_earlier_sample(seen: Mapping[str, Any], percent: float) -> None:
    assert cpu_percent(seen) == percent


def test_memory_that_the_system_can_take_back_is_not_used() -> None:
    memory = {"usage": 60, "limit": 200, "stats": {"inactive_file": 10}}
    told = figures(lambda: sample(30, 300, before=(10, 100), cores=1, memory_stats=memory))
    assert told == {"cpu_percent": 10.0, "memory_percent": 25.0, "memory_usage": 50, "memory_limit": 200}


def test_without_an_earlier_sample_a_second_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "APART", 0.0)
    memory = {"usage": 60, "limit": 200}
    samples = iter([
        sample(10**9, memory_stats=memory, read="2024-01-01T00:00:00Z"),
        sample(2 * 10**9, memory_stats=memory, read="2024-01-01T00:00:02Z"),
    ])  # fmt: skip
    assert figures(lambda: next(samples))["cpu_percent"] == 50.0


def test_what_does_not_run_has_zeros_and_is_asked_once() -> None:
    samples = iter([sample(0)])
    assert figures(lambda: next(samples)) == {
        "cpu_percent": 0.0, "memory_percent": 0.0, "memory_usage": 0, "memory_limit": 0,
    }  # fmt: skip


def test_an_answer_that_is_empty_says_that_nothing_runs() -> None:
    with pytest.raises(ContainerFailed, match="does not run"):
        figures(lambda: json.loads(""))


@pytest.mark.parametrize(("used", "read"), [(5, "2024-01-01T00:00:00Z"), (20, "2024-01-01T00:00:01Z")])
def test_a_clock_or_a_counter_that_does_not_move_on_is_no_load(used: int, read: str) -> None:
    first = sample(20, read="2024-01-01T00:00:01Z")
    assert between(first, sample(used, read=read)) == 0.0
