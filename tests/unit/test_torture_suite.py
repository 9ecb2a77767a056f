"""The rows that long tests give to the table of ``make torture``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import torture_suite

ROOT = Path(__file__).parent.parent.parent
TESTS = """
import pytest

@pytest.mark.torture("G1 results arrive")
@pytest.mark.parametrize("number", [1, 2])
def test_one(number):
    assert number == 1, "a result is lost"

@pytest.mark.torture
def test_without_a_text():
    pass

@pytest.mark.torture("G3 ends stay")
@pytest.mark.skipif(True, reason="strace is not installed: make peers")
def test_two():
    pass
"""


SUPPORT = [f"tests.support.{name}" for name in ("torture", "mutants", "world", "demo")]


@pytest.mark.parametrize("module", [*SUPPORT, "adapters.testkit.apiserver"])
def test_who_asks_for_help_starts_nothing(module: str) -> None:
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout[:6]) == (0, "usage:")


def test_each_guarantee_is_a_row_with_its_tries_and_violations(tmp_path: Path) -> None:
    (tmp_path / "test_long.py").write_text(TESTS)
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.support.torture_suite"]
    command += [f"--junitxml={report}", "-c", "/dev/null", f"--rootdir={tmp_path}", "test_long.py"]
    subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    rows = torture_suite.read(report)
    assert {name: (row.tries, len(row.broken), row.skipped) for name, row in rows.items()} == {
        "G1 results arrive": (2, 1, []),
        "test_without_a_text": (1, 0, []),
        "G3 ends stay": (0, 0, ["strace is not installed: make peers"]),
    }
    (broken,) = rows["G1 results arrive"].broken
    assert "a result is lost" in broken
