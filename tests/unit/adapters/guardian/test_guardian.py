"""The parts of the guardian that need no worker; what it does for one is shown with real processes."""

from __future__ import annotations

import io
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import datetime

import pytest
from pytest_mock import MockerFixture

from adapters.guardian import guardian
from adapters.guardian.guardian import CONFIGURATION, TEMPORARY, Guardian, boottime, describe, say, start_clean
from adapters.guardian.link import GuardianLink
from adapters.process.killing import stat_of
from tests.support.sleepers import Sleeper


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the guardian has said."""
    lines: list[str] = []
    monkeypatch.setattr(guardian, "say", lines.append)
    return lines


@pytest.mark.parametrize(
    ("code", "text"),
    [(0, "exit status 0"), (78, "exit status 78"), (-9, "SIGKILL"), (-64, "SIGRTMAX"), (-99, "signal 99")],
)
def test_an_end_is_told_in_words(code: int, text: str) -> None:
    assert describe(code) == text


def test_a_system_without_proc_is_refused_before_anything_is_started(said: list[str], mocker: MockerFixture) -> None:
    mocker.patch.object(guardian, "can_see", return_value=False)
    start = mocker.patch("subprocess.Popen")
    assert Guardian(["worker"]).run() == CONFIGURATION
    start.assert_not_called()
    assert "mount -t proc" in said[0]


@pytest.mark.parametrize(
    ("code", "status"), [(TEMPORARY, TEMPORARY), (-9, TEMPORARY), (1, CONFIGURATION), (70, CONFIGURATION)]
)
def test_who_gives_up_says_whether_a_later_start_may_succeed(said: list[str], code: int, status: int) -> None:
    watcher = Guardian(["worker"])
    watcher._take(json.dumps({"failed": "no room\n on the disk"}).encode())
    assert watcher._give_up(code) == status
    assert said[0].startswith(f"given up with exit status {status}: ")
    assert said[0].endswith(f"the last one with {describe(code)}: no room  on the disk")


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b"1", b"{}", b'{"start": []}', b'{"start": "ab"}', b'{"lease": ["t", "x"]}',
             b'{"hello": {}}', b'{"hello": 1}', b'{"a": 1, "b": 2}'],
)  # fmt: skip
def test_a_message_that_cannot_be_read_is_told_and_is_a_sign_of_life_all_the_same(said: list[str], data: bytes) -> None:
    watcher = Guardian(["worker"])
    before = boottime()
    watcher._take(data)
    assert said == ["a message of the worker could not be read"]
    assert watcher._beat >= before


def test_a_lease_is_waited_for_and_nothing_longer_than_a_second(said: list[str]) -> None:
    watcher = Guardian(["worker"])
    assert 0.9 < watcher._pause() <= 1.0
    watcher._take(json.dumps({"lease": ["t", boottime() - guardian.LATE + 0.2]}).encode())
    assert watcher._pause() <= 0.2
    watcher._take(json.dumps({"lease": ["t", boottime() - 100.0]}).encode())
    assert watcher._pause() == 0.01, "a deadline that is over is no reason to spin"
    watcher._take(json.dumps({"end": "t"}).encode())
    assert watcher._pause() > 0.9
    assert said == []


def test_a_line_tells_its_time_with_the_zone(mocker: MockerFixture) -> None:
    with open(os.memfd_create("stderr"), "w+") as stderr:
        mocker.patch.object(sys, "stderr", stderr)
        say("text \u65e5\n")
        stderr.seek(0)
        line = json.loads(stderr.read())
    assert (line["level"], line["logger"], line["message"]) == ("WARN", "worker.guardian", "text \u65e5\n")
    assert datetime.fromisoformat(line["time"]).utcoffset() is not None


def test_nobody_is_waited_for_who_does_not_read(mocker: MockerFixture) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(reading, "rb"), open(writing, "wb", buffering=0) as pipe:
        while pipe.write(b"x" * 4096):
            pass
        os.set_blocking(writing, True)
        full = io.TextIOWrapper(pipe, write_through=True)
        mocker.patch.object(sys, "stderr", full)
        say("x" * 100)  # a write into the full pipe would never return
        full.detach()


def test_what_tasks_would_inherit_is_undone() -> None:  # G33
    before = signal.getsignal(signal.SIGUSR2)
    cores = resource.getrlimit(resource.RLIMIT_CORE)
    try:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        start_clean()
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
        assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN, "the interpreter's own"
        assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
    finally:
        signal.signal(signal.SIGUSR2, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        resource.setrlimit(resource.RLIMIT_CORE, cores)


class Watched:
    """A guardian, and processes in the place of a worker and a task of it."""

    def __init__(self, sleeper: Sleeper) -> None:
        self.worker, self.task = sleeper({}), sleeper({})
        self.guardian = Guardian(["worker"])
        self.guardian._worker = self.worker
        self.guardian._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.guardian._socket.setblocking(False)
        self.link = GuardianLink(theirs.detach())
        self.guardian._beat = self.guardian._looked = boottime()
        stat = stat_of(self.task.pid)
        assert stat is not None
        self.link.started("t", self.task.pid, stat.start)

    def turn(self) -> None:
        """What the guardian does each time that something happens, but for collecting the dead."""
        self.guardian._listen()
        self.guardian._forward()
        self.guardian._check_leases()
        self.guardian._check_worker()


@pytest.fixture
def watched(sleeper: Sleeper) -> Iterator[Watched]:
    made = Watched(sleeper)
    yield made
    made.link.close()
    assert made.guardian._socket is not None
    made.guardian._socket.close()


def test_a_task_whose_lock_ran_out_is_killed_a_little_later_and_only_then(
    watched: Watched, said: list[str]
) -> None:  # G15
    watched.link.lease("t", boottime() - guardian.LATE + 60.0)
    watched.turn()
    assert (watched.task.poll(), said) == (None, [])
    watched.link.lease("t", boottime() - guardian.LATE)
    watched.turn()
    assert watched.task.wait(10) == -signal.SIGKILL
    assert said == ["task t: its lock ran out and the worker did not act: its processes are killed"]
    assert watched.worker.poll() is None


def test_a_task_that_is_over_or_has_no_process_any_more_is_left_alone(watched: Watched, said: list[str]) -> None:
    watched.link.lease("t", boottime() - 100.0)
    watched.link.ended("t")
    watched.turn()
    watched.link.gone("t")
    watched.link.lease("t", boottime() - 100.0)
    watched.turn()
    assert (watched.task.poll(), said) == (None, [])


@pytest.mark.parametrize("number", guardian.ENDING)
def test_each_wish_to_end_reaches_the_worker_as_one(watched: Watched, number: signal.Signals) -> None:
    watched.guardian._signals = [signal.SIGCHLD, signal.SIGUSR2]
    watched.turn()
    assert watched.worker.poll() is None
    watched.guardian._signals = [number]
    watched.turn()
    assert watched.worker.wait(10) == -signal.SIGTERM


def test_the_wish_for_stacks_waits_until_the_worker_is_ready(watched: Watched) -> None:
    watched.guardian._signals = [signal.SIGUSR1, signal.SIGUSR1]
    watched.turn()
    assert watched.worker.poll() is None
    watched.link.hello(90.0)
    watched.turn()
    assert watched.worker.wait(10) == -signal.SIGUSR1


def test_a_worker_that_does_not_end_in_its_time_is_killed(watched: Watched, said: list[str]) -> None:
    watched.link.hello(5.0)
    watched.turn()
    watched.guardian._asked, watched.guardian._asked_at = 1, boottime() - 4.0
    watched.turn()
    assert watched.worker.poll() is None
    watched.guardian._asked_at -= 1.0
    watched.turn()
    assert watched.worker.wait(10) == -signal.SIGKILL
    assert said == ["the worker did not end in time and is killed"]


def test_a_worker_without_a_sign_of_life_is_killed_unless_the_machine_slept(watched: Watched, said: list[str]) -> None:
    watched.turn()
    watched.guardian._beat -= guardian.HANG + 1.0
    watched.guardian._looked -= guardian.ASLEEP + 1.0
    watched.turn()
    assert watched.worker.poll() is None
    watched.guardian._beat -= guardian.HANG + 1.0
    watched.turn()
    assert watched.worker.wait(10) == -signal.SIGKILL
    assert said == ["no sign of life from the worker for 60 s: it is killed"]


def test_secrets_are_handed_over_when_they_are_asked_for(watched: Watched) -> None:
    watched.guardian._secrets = {"API_KEY": "x" * 100_000}
    seen: list[dict[str, str]] = []
    asking = threading.Thread(target=lambda: seen.append(watched.link.secrets()))
    asking.start()
    assert watched.guardian._socket is not None
    while asking.is_alive():
        select.select([watched.guardian._socket], [], [], 0.01)
        watched.guardian._listen()
    assert seen == [watched.guardian._secrets]
