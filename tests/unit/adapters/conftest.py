"""Fixtures for the unit tests of adapters."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator

import pytest

from tests.support import sleepers


@pytest.fixture(autouse=True)
def lines_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """``caplog`` hears the worker's loggers, whatever an earlier test has set up for them."""
    monkeypatch.setattr(logging.getLogger("worker"), "propagate", True)


@pytest.fixture
def sleeper() -> Iterator[sleepers.Sleeper]:
    with sleepers.sleepers() as start:
        yield start


@pytest.fixture
def family() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with sleepers.family() as made:
        yield made
