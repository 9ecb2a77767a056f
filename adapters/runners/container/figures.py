"""What a container uses of processor and memory, from what the engines tell of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from adapters.runners.container.request import ContainerFailed

APART = 0.5  # seconds between two samples, where the engine does not take two by itself


def figures(sample: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of the output; blocks for one or two samples. Raises ContainerFailed where there are none."""
    seen = _taken(sample)
    cpu = cpu_percent(seen)
    runs = (seen.get("memory_stats") or {}).get("usage")
    if runs and not (seen.get("precpu_stats") or {}).get("system_cpu_usage"):
        # Podman tells no earlier sample: what it counts since the start of the container is no load of now.
        time.sleep(APART)
        cpu = between(seen, _taken(sample))
    memory = seen.get("memory_stats") or {}
    usage = memory.get("usage", 0)
    cache = (memory.get("stats") or {}).get("inactive_file", 0)
    used, limit = max(0, usage - cache), memory.get("limit", 0)
    percent = round(used / limit * 100, 2) if limit else 0.0
    return {"cpu_percent": cpu, "memory_percent": percent, "memory_usage": used, "memory_limit": limit}


def cpu_percent(sample: Mapping[str, Any]) -> float:
    """Of one core; cgroup v2 has no list per core, and counters may go backwards after a restart (K8)."""
    now, before = sample.get("cpu_stats") or {}, sample.get("precpu_stats") or {}
    usage = now.get("cpu_usage", {}).get("total_usage", 0) - before.get("cpu_usage", {}).get("total_usage", 0)
    system = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    cores = now.get("online_cpus") or len(now.get("cpu_usage", {}).get("percpu_usage") or []) or 1
    return round(usage / system * cores * 100, 2) if usage > 0 and system > 0 else 0.0


def between(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """Of one core, by the engine's own clock."""
    usage = _used(second) - _used(first)
    seconds = (datetime.fromisoformat(second["read"]) - datetime.fromisoformat(first["read"])).total_seconds()
    return round(usage / 1e9 / seconds * 100, 2) if usage > 0 and seconds > 0 else 0.0


def _used(sample: Mapping[str, Any]) -> int:
    used: int = (sample.get("cpu_stats") or {}).get("cpu_usage", {}).get("total_usage", 0)
    return used


def _taken(sample: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    try:
        return sample()
    except json.JSONDecodeError:  # Podman answers nothing at all, and calls it success
        raise ContainerFailed("the engine has no figures of the container: it does not run") from None
