"""Tests that must not run beside each other are kept on one worker of pytest-xdist."""

from __future__ import annotations

import os

import pytest


@pytest.mark.xdist_group("together")
def test_a_group_is_known_to_what_spreads_the_tests(request: pytest.FixtureRequest) -> None:
    grouped = request.node.nodeid.endswith("@together")
    assert grouped == ("PYTEST_XDIST_WORKER" in os.environ)
