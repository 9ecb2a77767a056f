"""Runners of others: from entry points and from the settings. One that cannot be loaded leaves the others alone."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable, Mapping
from typing import Any

from adapters.plugin import RUNNERS, load_object
from domain.runner import Runner, RunnerRegistry


def load_runners(registry: RunnerRegistry, configured: Mapping[str, str]) -> list[str]:
    """Register all runners of others; returns one text for each that could not be loaded, the rest goes on."""
    problems: list[str] = []
    for point in importlib.metadata.entry_points(group=RUNNERS):
        _register(registry, point.name, f"entry point {point.value}", point.load, problems)
    for category, target in configured.items():
        _register(registry, category, f"runners.plugins {target}", functools.partial(load_object, target), problems)
    return problems


def _register(
    registry: RunnerRegistry, category: str, origin: str, load: Callable[[], Any], problems: list[str]
) -> None:
    try:
        factory = load()
        if not isinstance(factory(), Runner):
            raise TypeError("what it makes is not a Runner: see docs/writing-a-runner.md")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - anything may go wrong in somebody else's module
        problems.append(f"the runner for {category!r} ({origin}) cannot be loaded: {type(error).__name__}: {error}")
        return
    registry.register(category, factory)
