"""How contract suites fail: a sentence that names the broken promise, and what came instead."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

import pytest

LIMIT = 5.0  # seconds for one call, and for what has to come true


def broken(promise: str, came: str) -> NoReturn:
    """Fail the test."""
    pytest.fail(f"broken promise: {promise}; but {came}")


def kept(holds: bool, promise: str, came: str) -> None:
    """Fail the test unless ``holds``."""
    if not holds:
        broken(promise, came)


def eventually(check: Callable[[], bool], what: str = "it did not come true", within: float = LIMIT) -> None:
    """Wait until ``check`` holds. Fails the test after ``within`` seconds."""
    until = time.monotonic() + within
    while not check():
        if time.monotonic() > until:
            pytest.fail(what)
        time.sleep(0.005)


def comes(check: Callable[[], object], promise: str, within: float = LIMIT) -> None:
    """Wait until ``check`` gives None; what it gives at the end of ``within`` seconds is what came instead."""
    until = time.monotonic() + within
    while (wrong := check()) is not None:
        if time.monotonic() > until:
            broken(promise, f"after {within:g} s {wrong}")
        time.sleep(0.005)
