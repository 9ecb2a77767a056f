"""Fixtures for the unit tests of adapters."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def lines_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """``caplog`` hears the worker's loggers, whatever an earlier test has set up for them."""
    monkeypatch.setattr(logging.getLogger("worker"), "propagate", True)
