"""A program of one's own, with another adapter behind a port: the lines that people copy, run for real."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.program import wait_until

ROOT = Path(__file__).parent.parent.parent
FIRST = ("WorkerContainer", re.compile(r"```python\n(.*?)```", re.DOTALL))


def lines_of(document: str) -> str:
    (found,) = (text for text in FIRST[1].findall((ROOT / document).read_text()) if FIRST[0] in text)
    return str(found)


class Team:
    """The program of a team in ``directory``, and the statsd that it tells."""

    def __init__(self, directory: Path, statsd: socket.socket) -> None:
        self.file = directory / "our_worker.py"
        self.file.write_text(lines_of("README.md").replace("8125", str(statsd.getsockname()[1])))
        (directory / "config_worker.json").write_text('{"execution": {"drain": 5}}')
        jobs = [{"name": "tick", "time": "* * * * * *", "command": "echo tock"}]
        (directory / "schedule.json").write_text(json.dumps({"jobs": jobs}))
        self._environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        self._directory = directory
        self._statsd = statsd
        self.said = ""

    def run(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", str(self.file), *words]
        with open(self._directory / "log", "a") as log:
            return subprocess.Popen(
                command, cwd=self._directory, env=self._environment, stdout=subprocess.PIPE, stderr=log, text=True
            )

    def hear(self, name: str) -> None:
        """Return when the counter was sent."""
        while not self.said.endswith(f"worker.{name}:1|c\n"):
            self.said += self._statsd.recv(1000).decode() + "\n"


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(30)
        yield Team(tmp_path, statsd)


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def worker_of(guardian: int) -> int:
    children = Path(f"/proc/{guardian}/task/{guardian}/children")
    wait_until(children.read_text, "no worker")
    return int(children.read_text().split()[0])


def command_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]


def test_it_works_under_a_guardian_that_starts_it_again_and_ends_with_it(team: Team) -> None:
    with ended(team.run("run")) as process:
        team.hear("events_executed")
        assert command_of(process.pid)[2].endswith("adapters/guardian/entry.py"), "small, whatever the program imports"
        worker = worker_of(process.pid)
        assert command_of(worker)[1:] == ["-P", str(team.file), "run"]
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{worker}").exists(), "the dead worker is not collected")
        team.said = ""
        team.hear("events_executed")
        worker = worker_of(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert not Path(f"/proc/{worker}").exists()


def test_it_has_the_command_line_of_the_worker(team: Team) -> None:
    with ended(team.run("exec", "command", "echo up")) as process:
        assert process.communicate(timeout=30)[0] == "up\n"
        assert process.returncode == 0
    with ended(team.run("--set", "nmae=x", "run")) as process:
        assert process.wait(30) == 78


def test_all_languages_show_the_same_lines() -> None:
    assert lines_of("README.zh-CN.md") == lines_of("README.md")
    assert len([line for line in lines_of("README.md").splitlines() if line]) <= 16
