"""A wall clock that jumps under a running program, by libfaketime (H9).

Only the wall clock: CLOCK_MONOTONIC is left alone by request, and CLOCK_BOOTTIME because libfaketime 0.9.10 does not
know it; ``missing`` probes both. The same version breaks absolute sleeps on CLOCK_MONOTONIC, which is how Python 3.11
sleeps (wolfcw/libfaketime#426), so that ``time.sleep`` is replaced in the program. The preload reaches the program's
children through their environment: a task that is to be a witness of time takes it out with ``env -u LD_PRELOAD``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"
DAY = 86_400.0
YEAR = 365 * DAY
ROOT = Path(__file__).resolve().parent.parent.parent
SLEEP = "import select, time; time.sleep = lambda seconds: select.select([], [], [], seconds)[3:] or None\n"
PROBE = """
import json, time
print(json.dumps([time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)]))
"""


class ClockJump:
    """The wall clock of every Python program that is started with ``environment``. Keeps its files in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "offset"
        self._start = directory / "start"
        self._start.mkdir()
        (self._start / "sitecustomize.py").write_text(SLEEP)
        self.to(0.0)

    @property
    def environment(self) -> dict[str, str]:
        (library,) = _libraries()
        return {
            "LD_PRELOAD": str(library),
            "PYTHONPATH": f"{self._start}:{ROOT}",
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def to(self, offset: float) -> None:
        """Jump to ``offset`` seconds from the true time, at once and for all."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{offset:+.0f}\n")
        os.replace(fresh, self._file)


def _libraries() -> list[Path]:
    return sorted(Path("/").glob(LIBRARY.removeprefix("/")))[:1]


@cache
def missing() -> str:
    """Why no clock can be made to jump here, and what would help; empty if one can."""
    if not _libraries():
        return "libfaketime is not installed: make peers"
    with tempfile.TemporaryDirectory() as directory:
        clock = ClockJump(Path(directory))
        clock.to(YEAR)
        command = [sys.executable, "-c", PROBE]
        jumped, true = (
            json.loads(subprocess.run(command, env=added, capture_output=True, text=True, check=True).stdout)
            for added in (clock.environment, {})
        )
    shifts = [one - other for one, other in zip(jumped, true, strict=True)]
    if abs(shifts[0] - YEAR) > DAY or max(map(abs, shifts[1:])) > 60:
        return f"this libfaketime shifts wall, monotonic and boot time by {shifts}: 0.9.10 of Debian 12 is needed"
    return ""
