"""The guardian, with a stand-in worker that misbehaves: real processes, /proc as the oracle (G5, G6, G15, G24)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from adapters.process import guardian, guardian_link

ROOT = Path(__file__).parent.parent.parent

GUARD = """
import sys
sys.path.insert(0, {root!r})
from adapters.process import guardian
guardian.LATE = 0.2
guardian.HANG = {hang}
guardian.BACKOFF = (0.05,)
sys.exit(guardian.Guardian([sys.executable, "-c", sys.argv[1], *sys.argv[2:]]).run())
"""

# The worker notes each of its lives, starts a nasty tree, and then does what the test wants.
WORKER = """
import os, subprocess, sys, time
sys.path.insert(0, {root!r})
from adapters.process import guardian, guardian_link, killing
link = guardian_link.link_from_environment()
guardian.become_subreaper()
notes, mark, deed = sys.argv[1:4]
with open(notes, "a") as file:
    file.write("life %d\\n" % os.getpid())
lives = open(notes).read().count("life")
link.hello(2.0)
if lives == 1 or deed.startswith("always"):
    tree = "(setsid sleep 1000." + mark + " &) ; nohup sleep 1000." + mark + " & sleep 1000." + mark
    child = subprocess.Popen(["bash", "-c", tree], process_group=0)
    while subprocess.run(["pgrep", "-cf", "^sleep 1000." + mark], capture_output=True, text=True).stdout.strip() != "3":
        time.sleep(0.01)
    link.started("t1", child.pid, killing.stat_of(child.pid).start)
    with open(notes, "a") as file:
        file.write("tree\\n")
    {deed}
else:
    sys.exit(0)
"""

DEEDS = {
    "exit": "sys.exit(5)",
    "kill": "os.kill(os.getpid(), 9)",
    "lease": "link.lease('t1', guardian.boottime()); time.sleep(1000)",
    "wait": "time.sleep(1000)",
    "busy": "link.lease('t1', guardian.boottime())\n    while True: pass",
    "freeze": "os.kill(os.getpid(), 19)",
    "stop": "link.lease('t1', guardian.boottime()); os.kill(os.getpid(), 19)",
}


def wait_for(what: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def alive(mark: str) -> int:
    """Processes of the tree that are not zombies."""
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                line = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            count += f"1000.{mark}".encode() in line and b"sleep" in line.split(b"\0")[0]
    return count


class Guarded:
    def __init__(self, tmp_path: Path, deed: str) -> None:
        self.mark = str(uuid.uuid4().int)[:12]
        self.notes = tmp_path / "notes"
        self.notes.touch()
        worker = WORKER.format(root=str(ROOT), deed=DEEDS[deed])
        code = GUARD.format(root=str(ROOT), hang=1.0 if deed == "freeze" else 60.0)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, worker, str(self.notes), self.mark, deed], stderr=subprocess.PIPE, text=True
        )
        wait_for(lambda: "tree" in self.notes.read_text())

    @property
    def lives(self) -> int:
        return self.notes.read_text().count("life")

    def worker_pid(self) -> int:
        return int(self.notes.read_text().split()[1])

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=15)
        return self.process.returncode, errors


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Callable[[str], Guarded]]:
    started: list[Guarded] = []

    def start(deed: str) -> Guarded:
        started.append(Guarded(tmp_path, deed))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        for name in subprocess.run(
            ["pgrep", "-f", one.mark], capture_output=True, text=True, check=False
        ).stdout.split():
            try:
                os.kill(int(name), signal.SIGKILL)
            except ProcessLookupError:
                pass
        one.process.communicate()  # survivors would keep its pipe open


@pytest.mark.parametrize("deed", ["exit", "kill"])
def test_a_dead_worker_leaves_nothing_and_is_started_again(guarded: Callable[[str], Guarded], deed: str) -> None:
    one = guarded(deed)
    code, errors = one.end()
    assert (code, one.lives, alive(one.mark)) == (0, 2, 0)
    assert "its tasks are ended" in errors


@pytest.mark.parametrize("deed", ["lease", "busy", "stop"])
def test_past_the_lease_deadline_the_tree_is_killed_while_the_worker_is_stuck(
    guarded: Callable[[str], Guarded], deed: str
) -> None:
    one = guarded(deed)
    # What left the tree (setsid) was adopted by the worker: it dies with it or with its lease holder's sweep.
    wait_for(lambda: alive(one.mark) <= 1)
    os.kill(one.worker_pid(), signal.SIGKILL)
    one.end()
    assert alive(one.mark) == 0


def test_a_frozen_worker_whose_tasks_need_no_lock_is_ended_with_them(guarded: Callable[[str], Guarded]) -> None:
    one = guarded("freeze")
    code, errors = one.end()
    assert (code, one.lives, alive(one.mark)) == (0, 2, 0)
    assert "no sign of life from the worker" in errors


def test_a_signal_is_forwarded_and_a_worker_that_ignores_it_is_killed(guarded: Callable[[str], Guarded]) -> None:
    one = guarded("wait")
    one.process.send_signal(signal.SIGTERM)
    one.end()
    assert (one.lives, alive(one.mark)) == (1, 0)


def test_a_killed_worker_is_not_a_zombie(guarded: Callable[[str], Guarded]) -> None:  # G24
    one = guarded("wait")
    pid = one.worker_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    one.end()


class NotKilled:
    """In the place of the worker's process."""

    killed = False

    def kill(self) -> None:
        self.killed = True


@pytest.mark.parametrize(
    ("looks", "killed"),
    [
        pytest.param([1000.0], False, id="the machine slept"),
        pytest.param([1000.0, *range(1001, 1060)], False, id="not long enough after it woke up"),
        pytest.param([1000.0, *range(1001, 1062)], True, id="silent after it woke up"),
        pytest.param(range(1, 62), True, id="silent"),
    ],
)
def test_sleep_of_the_machine_is_no_silence_of_the_worker(
    monkeypatch: pytest.MonkeyPatch, looks: Iterable[float], killed: bool
) -> None:  # G59, G62
    one, worker = guardian.Guardian([]), NotKilled()
    monkeypatch.setattr(one, "_worker", worker)
    monkeypatch.setattr(one, "_beat", 0.0)
    for moment in looks:
        monkeypatch.setattr(guardian, "boottime", lambda moment=moment: moment)
        one._check_worker()
    one._selector.close()
    assert worker.killed is killed


def test_nobody_waits_for_a_guardian_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:  # G13, G15
    """It may be stopped (Ctrl-Z): whoever renews leases must go on, and what it missed must follow."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.settimeout(5.0)  # sends that wait end the test, not hang it
    link = guardian_link.GuardianLink(theirs.detach())
    for number in range(2000):
        link.lease("t1", float(number))
        link.beat()
    assert not link.lost
    one = guardian.Guardian([])
    one._socket = ours
    ours.setblocking(False)
    while one._leases.get("t1") != 1999.0:
        before = dict(one._leases)
        link.beat()
        one._listen()
        assert one._leases != before, "something came"
    monkeypatch.setattr(guardian_link, "UNREAD", 500)
    for number in range(2000):
        link.lease("t1", float(number))
    assert link.lost, "it has not read for too long"
    one._selector.close()
    ours.close()
    link.close()
