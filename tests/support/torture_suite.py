"""The tests marked ``torture``, run for the table of ``make torture``.

``@pytest.mark.torture("G8 a file whose sync failed is never trusted again")`` names a row of the table; without a text
the test's own name is the row. As a plug-in (``-p tests.support.torture_suite``) this file hands those texts to the
report that ``run`` reads.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ROW = "torture"


@dataclass(slots=True)
class Row:
    """One line of the table. ``skipped`` holds reasons, ``broken`` what the failed tests say."""

    tries: int = 0
    skipped: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    for item in items:
        mark = item.get_closest_marker(ROW)
        if mark is not None:
            item.user_properties.append((ROW, mark.args[0] if mark.args else item.name.partition("[")[0]))


def run(seconds: float) -> dict[str, Row]:
    """Run them all, at most that long; what had no turn by then is a row of its own."""
    with tempfile.TemporaryDirectory(prefix="torture-") as directory:
        report = Path(directory) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "torture", "--timeout=600", f"--junitxml={report}"]
        command += ["-n", "2", "-p", "no:cacheprovider", "-p", "tests.support.torture_suite"]
        with subprocess.Popen(
            [*command, "tests"], cwd=ROOT, env={"HYPOTHESIS_PROFILE": "explore", **os.environ}, stdout=sys.stderr
        ) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)  # pytest ends the test at hand and writes its report
            status = process.wait()
        rows = read(report) if report.exists() else {}
    if status not in (0, 1, 2):  # all passed, some failed, interrupted
        rows["the torture tests run"] = Row(1, [], [f"pytest ended with {status}"])
    if status == 2:
        rows["(out of time: some tests had no turn)"] = Row(skipped=["MINUTES was too short"])
    return rows


def read(report: Path) -> dict[str, Row]:
    """The rows of a JUnit report that was written with this plug-in."""
    rows: dict[str, Row] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        named = [it.get("value", "") for it in case.iter("property") if it.get("name") == ROW]
        if not named:
            continue
        row = rows.setdefault(named[0], Row())
        skipped = case.find("skipped")
        if skipped is not None:
            row.skipped.append(skipped.get("message", ""))
            continue
        row.tries += 1
        for failure in (*case.iter("failure"), *case.iter("error")):
            row.broken.append(f"{named[0].split()[0]} {case.get('name')}: {failure.get('message', '')[:500]}")
    return rows
