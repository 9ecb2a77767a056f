"""The type checker sees a part that is put in the wrong place of the composition root, which no import would show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("mypy")  # one process asks it, once, and its cache has one writer

ROOT = Path(__file__).parent.parent.parent
SWAPS = {
    "journal": ("journal=c.journal()", "journal=c.spool()"),
    "spool": ("spool=c.spool()", "spool=c.journal()"),
    "observers": ("Observers(c.journal(), c.watcher())", "Observers(c.watcher(), c.journal())"),
    "host": ("orphans=c.orphans(), watchdog=c.watcher()", "orphans=c.watcher(), watchdog=c.orphans()"),
    "contexts": ("c.credentials(), ask", "ask, c.credentials()"),
    "provider": ("ThreadSafeSingleton(open_journal, __self__)", "ThreadSafeSingleton(open_spool, __self__)"),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What mypy says of the root as it is and of one copy for each mistake, all looked at together."""
    right = (ROOT / "bootstrap.py").read_text()
    place = tmp_path_factory.mktemp("planted")
    (place / "planted_nothing.py").write_text(right)
    for name, (old, new) in SWAPS.items():
        assert right.count(old) == 1, name
        (place / f"planted_{name}.py").write_text(right.replace(old, new))
    command = [sys.executable, "-m", "mypy", "--no-error-summary", *map(str, sorted(place.glob("*.py")))]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def errors(told: str, name: str) -> list[str]:
    return [line for line in told.splitlines() if f"planted_{name}.py:" in line and ": error: " in line]


@pytest.mark.parametrize("name", SWAPS)
def test_a_swapped_part_is_an_error_of_the_type_checker(told: str, name: str) -> None:
    assert any("[arg-type]" in line or "[assignment]" in line for line in errors(told, name)), told


def test_the_root_as_it_is_has_none(told: str) -> None:
    assert errors(told, "nothing") == [], told
