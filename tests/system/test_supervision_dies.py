"""The program whose supervision of processes dies by a defect: it says so, ends, and is started anew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

# The defect comes in with a plug-in, so that nothing in the program waits for a test to switch it on.
DYING = """
import pathlib
from adapters.process.timers import Timers
from adapters.runners.command import CommandRunner as Runner

flag, pause = pathlib.Path("died-once"), Timers.pause

def pause_once(self):
    if len(self) and not flag.exists():
        flag.touch()
        raise OverflowError("timeout is too large")
    return pause(self)

Timers.pause = pause_once
"""


def test_a_worker_that_cannot_supervise_processes_starts_anew(tmp_path: Path) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    (tmp_path / "config_worker.json").write_text('{"runners": {"plugins": {"other": "dying:Runner"}}}')
    (tmp_path / "schedule.json").write_text(
        json.dumps({"jobs": [{"name": "m", "time": "* * * * * *", "command": "echo hi", "timeout": 2_592_000}]})
    )
    known = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "bootstrap.py")], cwd=tmp_path, env=known, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(json.loads(line))
        if sum("connected as" in line["message"] for line in lines) == 2:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    fatal = next(line for line in lines if line["level"] == "FATAL")
    assert "the supervision of processes died" in fatal["message"]
    assert "OverflowError" in fatal["traceback"]
    assert any("the worker ended with exit status 70" in line["message"] for line in lines)
    assert process.returncode == 0
