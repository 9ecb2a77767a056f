"""Repositories, and copies of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.process.supervisor import Supervisor
from tests.support.git_peers import Origin
from tests.support.git_runs import Copy


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path / "origin")


@pytest.fixture
def copy(processes: Supervisor, tmp_path: Path) -> Copy:
    return Copy(processes, Origin(tmp_path / "origin"), tmp_path / "d")
