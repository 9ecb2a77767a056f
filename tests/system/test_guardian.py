"""The guardian, with a stand-in worker that misbehaves: real processes, /proc as the oracle (G5, G6, G15, G24)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from adapters.guardian import guardian
from adapters.guardian import link as guardian_link
from tests.support import trees

ROOT = Path(__file__).parent.parent.parent

GUARD = """
import sys
sys.path.insert(0, {root!r})
from adapters.guardian import guardian
guardian.LATE = 0.2
guardian.HANG = {hang}
guardian.BACKOFF = (0.05,)
sys.exit(guardian.Guardian([sys.executable, "-c", sys.argv[1], *sys.argv[2:]]).run())
"""


def guard(hang: float = 60.0) -> str:
    return GUARD.format(root=str(ROOT), hang=hang)


# The worker notes each of its lives, starts a nasty tree, and then does what the test wants.
WORKER = """
import os, subprocess, sys, time
sys.path.insert(0, {root!r})
from adapters.guardian import guardian, link as guardian_link
from adapters.process import killing
from tests.support import trees
link = guardian_link.find_watcher()
guardian.become_subreaper()
notes, mark, deed = sys.argv[1:4]
with open(notes, "a") as file:
    file.write("life %d\\n" % os.getpid())
lives = open(notes).read().count("life")
link.hello(2.0)
if lives == 1 or deed.startswith("always"):
    tree = "(setsid sleep 1000." + mark + " &) ; nohup sleep 1000." + mark + " & sleep 1000." + mark
    child = subprocess.Popen(["bash", "-c", tree], process_group=0)
    while len(trees.sleepers(mark)) != 3:
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


class Guarded:
    def __init__(self, tmp_path: Path, deed: str) -> None:
        self.mark = str(uuid.uuid4().int)[:12]
        self.notes = tmp_path / "notes"
        self.notes.touch()
        worker = WORKER.format(root=str(ROOT), deed=DEEDS[deed])
        code = guard(hang=1.0 if deed == "freeze" else 60.0)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, worker, str(self.notes), self.mark, deed], stderr=subprocess.PIPE, text=True
        )

    def wait(self) -> None:
        """Return when its tree stands."""
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
        started[-1].wait()
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        for pid in trees.named(one.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        one.process.communicate()  # survivors would keep its pipe open


@pytest.mark.parametrize("deed", ["exit", "kill"])
def test_a_dead_worker_leaves_nothing_and_is_started_again(guarded: Callable[[str], Guarded], deed: str) -> None:
    one = guarded(deed)
    code, errors = one.end()
    assert (code, one.lives, trees.sleepers(one.mark)) == (0, 2, [])
    assert "its tasks are ended" in errors


@pytest.mark.parametrize("deed", ["lease", "busy", "stop"])
def test_past_the_lease_deadline_the_tree_is_killed_while_the_worker_is_stuck(
    guarded: Callable[[str], Guarded], deed: str
) -> None:
    one = guarded(deed)
    # What left the tree (setsid) was adopted by the worker: it dies with it or with its lease holder's sweep.
    wait_for(lambda: len(trees.sleepers(one.mark)) <= 1)
    os.kill(one.worker_pid(), signal.SIGKILL)
    one.end()
    assert trees.sleepers(one.mark) == []


def test_a_frozen_worker_whose_tasks_need_no_lock_is_ended_with_them(guarded: Callable[[str], Guarded]) -> None:
    one = guarded("freeze")
    code, errors = one.end()
    assert (code, one.lives, trees.sleepers(one.mark)) == (0, 2, [])
    assert "no sign of life from the worker" in errors


def test_a_signal_is_forwarded_and_a_worker_that_ignores_it_is_killed(guarded: Callable[[str], Guarded]) -> None:
    one = guarded("wait")
    one.process.send_signal(signal.SIGTERM)
    one.end()
    assert (one.lives, trees.sleepers(one.mark)) == (1, [])


def test_a_killed_worker_is_not_a_zombie(guarded: Callable[[str], Guarded]) -> None:  # G24
    one = guarded("wait")
    pid = one.worker_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    one.end()


# The worker notes each of its lives, and ends before or after it is ready.
FAILING = """
import os, sys
sys.path.insert(0, {root!r})
from adapters.guardian import link as guardian_link
link = guardian_link.find_watcher()
notes = sys.argv[1]
with open(notes, "a") as file:
    file.write("life\\n")
lives = open(notes).read().count("life")
{deed}
"""


def failing(tmp_path: Path, deed: str) -> tuple[int, int, str]:
    """(exit status of the guardian, how often it started the worker, what it said)"""
    notes = tmp_path / "notes"
    done = subprocess.run(
        [sys.executable, "-c", guard(), FAILING.format(root=str(ROOT), deed=deed), str(notes)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, notes.read_text().count("life"), done.stderr


@pytest.mark.parametrize(
    ("deed", "status", "why"),
    [
        ("import no_such_package", 78, "exit status 1"),
        ("link.failed(OSError('no\\nroom')); sys.exit(1)", 78, "exit status 1: OSError: no room"),
        ("sys.exit(75)", 75, "exit status 75"),
        ("os.kill(os.getpid(), 9)", 75, "SIGKILL"),
        ("os._exit(127)", 78, "exit status 127"),
    ],
)
def test_a_worker_that_never_gets_ready_is_given_up_with_the_reason(
    tmp_path: Path, deed: str, status: int, why: str
) -> None:
    code, lives, said = failing(tmp_path, deed)
    assert (code, lives) == (status, guardian.STARTS)
    last = json.loads(said.splitlines()[-1])["message"]
    assert last == (
        f"given up with exit status {status}: {guardian.STARTS} starts in a row ended before the worker was ready, "
        f"the last one with {why}"
    )


def test_only_starts_in_a_row_count(tmp_path: Path) -> None:
    """One that gets ready between them shows that it can."""
    deed = "lives == 4 and link.hello(1.0); sys.exit(0 if lives == 8 else 1)"
    assert failing(tmp_path, deed)[:2] == (0, 8)


def test_a_worker_that_was_ready_is_started_again_for_ever(tmp_path: Path) -> None:  # G5
    deed = f"link.hello(1.0); sys.exit(0 if lives == {2 * guardian.STARTS} else 1)"
    assert failing(tmp_path, deed)[:2] == (0, 2 * guardian.STARTS)


def test_what_the_guardian_says_has_a_time_with_its_zone(tmp_path: Path) -> None:
    said = failing(tmp_path, "sys.exit(0 if lives == 2 else 1)")[2]
    stamp = datetime.fromisoformat(json.loads(said.splitlines()[-1])["time"])
    assert stamp.utcoffset() == timedelta(0)


SECRETS = {
    b"API_AUTH_TOKEN": b"t0ken-5e1c",
    b"API_KEY": "schl\u00fcssel\n=x".encode(),
    b"CRONJOB_CREDENTIAL_MY_DB": b"no text: \xff\xfe",
    b"CRONJOB_CREDENTIAL_BIG": b"5e1c" * 30_000,
    b"CRONJOB_CREDENTIAL_BIG_TOO": b"\xc3\xa9" * 60_000,
}


def test_secrets_of_the_environment_reach_the_worker_in_each_life_and_stand_in_no_environment_of_it(
    tmp_path: Path,
) -> None:  # G67
    deed = """
import json
begun = open("/proc/self/environ", "rb").read()  # what other processes would read
given = link.secrets()
json.dump([begun.hex(), {name: os.fsencode(text).hex() for name, text in given.items()}], open(f"{notes}.{lives}", "w"))
sys.exit(0 if lives == 2 else 1)
"""
    notes = tmp_path / "notes"
    done = subprocess.run(
        [sys.executable, "-c", guard(),
         FAILING.format(root=str(ROOT), deed="exec(sys.argv[2])"), str(notes), deed],
        env={**os.environb, **SECRETS}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for life in (1, 2):
        begun, given = json.loads(Path(f"{notes}.{life}").read_text())
        assert {os.fsencode(name): bytes.fromhex(text) for name, text in given.items()} == SECRETS
        assert b"5e1c" not in bytes.fromhex(begun)
        assert b"API_KEY" not in bytes.fromhex(begun)
        assert b"PATH=" in bytes.fromhex(begun)


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
    assert vars(link)["lost"], "it has not read for too long"  # the type checker has seen it False
    one._selector.close()
    ours.close()
    link.close()
