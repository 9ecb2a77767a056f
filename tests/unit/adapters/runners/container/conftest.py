"""Engines that are none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.containers import NERDCTL
from tests.support.dockerapi import FakeDocker


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeDocker]:
    with FakeDocker(tmp_path) as docker:
        yield docker


@pytest.fixture
def nerdctl(tmp_path: Path) -> tuple[dict[str, str], Path]:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/nerdctl"
    program.write_text(NERDCTL)
    program.chmod(0o755)
    record = tmp_path / "record"
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "RECORD": str(record)}, record
