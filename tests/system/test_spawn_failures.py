"""The supervisor when the system has no room for a process, a thread or a descriptor (G36, G60)."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from pathlib import Path

import pytest

from tests.support import crashpoint, trees
from tests.support.crashpoint import HANDSHAKE, CrashPoints, Point, few

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.skipif(bool(crashpoint.missing()), reason=crashpoint.missing() or "strace works")

# Each command notes its start, leaves an orphan, and ends with 7.
SCRIPT = """
import os, sys
sys.path.insert(0, sys.argv[1])
from adapters.process.ports import Command
from adapters.process.supervisor import Supervisor
from domain.runner import CancelToken

text = f"echo start >>{sys.argv[2]}.$1; ( setsid sleep 1000.{sys.argv[3]} >/dev/null 2>&1 & ); exit 7"
processes = Supervisor()
"""
WORK = """
for number in range(int(sys.argv[4])):
    command = Command(["bash", "-c", text, "bash", str(number)], None, dict(os.environ))
    ended = processes.run(command, CancelToken())
    os.write(1, f"{ended.reason} {ended.exit_code} {ended.error}\\n".encode())
processes.close()
"""
COMMANDS = 2
FORKS = ("clone", "clone3", "vfork", "fork")
DESCRIPTORS = ("openat", "pipe2", "pidfd_open", "eventfd2", "epoll_create1")


class Lab:
    def __init__(self, tmp_path: Path, calls: tuple[str, ...]) -> None:
        self._starts = tmp_path / "starts"
        self._mark = str(uuid.uuid4().int)[:12]
        argv = [
            sys.executable,
            "-B",
            "-c",
            SCRIPT + HANDSHAKE + WORK,
            str(ROOT),
            str(self._starts),
            self._mark,
            str(COMMANDS),
        ]
        self._program = CrashPoints(argv, calls, tmp_path, {"PATH": os.environ["PATH"]})
        self.points = self._program.points()

    def wrong(self, point: Point, error: str, expected: str = "exit_code 7 exit status 7") -> str:
        """What is wrong when the call at ``point`` fails; empty if nothing is."""
        for file in self._starts.parent.glob("starts.*"):
            file.unlink()
        tried = self._program.fail(point, error)
        left = trees.alive(self._mark)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        starts = [len(file.read_text().splitlines()) for file in self._starts.parent.glob("starts.*")]
        if tried.status != 0 or not all(line.startswith(expected) for line in tried.lines):
            return f"{point}: status {tried.status}, {tried.lines} {tried.errors[-1000:]}"
        if len(tried.lines) != COMMANDS or left or any(count != 1 for count in starts):
            return f"{point}: {tried.lines}, started {starts}, left {left} {tried.errors[-1000:]}"
        return ""


@pytest.mark.parametrize(("calls", "error"), [(FORKS, "EAGAIN"), (DESCRIPTORS, "EMFILE")], ids=["fork", "descriptor"])
def test_a_start_that_finds_no_room_is_tried_again_and_happens_once(
    tmp_path: Path, calls: tuple[str, ...], error: str
) -> None:  # G36, G60
    lab = Lab(tmp_path, calls)
    assert [wrong for point in few(lab.points, 4) if (wrong := lab.wrong(point, error))] == []


@pytest.mark.torture("G36 G60 a start that finds no room happens once all the same")
@pytest.mark.parametrize(("calls", "error"), [(FORKS, "EAGAIN"), (DESCRIPTORS, "EMFILE")], ids=["fork", "descriptor"])
def test_a_start_that_finds_no_room_is_tried_again_and_happens_once_at_each(
    tmp_path: Path, calls: tuple[str, ...], error: str
) -> None:  # G36, G60
    lab = Lab(tmp_path, calls)
    print(len(lab.points), "points")
    assert [wrong for point in lab.points if (wrong := lab.wrong(point, error))] == []


@pytest.mark.parametrize(("call", "error"), [("vfork,clone", "EAGAIN"), ("clone3", "EAGAIN"), ("pipe2", "EMFILE")])
def test_a_start_that_never_finds_room_is_reported(tmp_path: Path, call: str, error: str) -> None:  # G30, G36, G60
    assert (
        Lab(tmp_path, tuple(call.split(","))).wrong(Point(call, 1, on=True), error, "spawn_failed -1 cannot start")
        == ""
    )
