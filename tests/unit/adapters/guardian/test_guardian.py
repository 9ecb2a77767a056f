"""The parts of the guardian that need no worker; what it does for one is shown with real processes."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import sys
from datetime import datetime

import pytest
from pytest_mock import MockerFixture

from adapters.guardian import guardian
from adapters.guardian.guardian import CONFIGURATION, TEMPORARY, Guardian, boottime, describe, say, start_clean


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
