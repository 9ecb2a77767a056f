"""How the guardian finds and kills what tasks have left."""

from __future__ import annotations

import os
import select
import signal
import subprocess

import pytest
from pytest_mock import MockerFixture

from adapters.process import killing
from adapters.process.killing import Stat
from tests.support.sleepers import Sleeper

NOBODY = 1 << 22  # the largest pid there can be is one less


def test_a_process_is_known_by_its_pid_and_its_start() -> None:
    identity = killing.identity_of(os.getpid())
    pid, start = identity.split()
    assert killing.is_alive(identity)
    assert not killing.is_alive(f"{pid} {int(start) + 1}")


@pytest.mark.parametrize("text", ["", "x", "1", "1 x", "-1 5", f"{NOBODY} 5", "9" * 30, "1 2 3"])
def test_an_identity_that_is_none_is_nobody_s(text: str) -> None:
    assert not killing.is_alive(text)


def test_a_process_that_ended_and_was_not_reaped_does_not_live(sleeper: Sleeper) -> None:
    process = sleeper({})
    identity = killing.identity_of(process.pid)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not killing.is_alive(identity)
    assert killing.children_of(process.pid) == []


def test_who_is_gone_has_nothing_and_nothing_raises(mocker: MockerFixture) -> None:
    assert (killing.stat_of(NOBODY), killing.identity_of(NOBODY)) == (None, "")
    assert (killing.children_of(NOBODY), killing.descendants(NOBODY), killing.tag_of(NOBODY)) == ([], [], b"")
    killing.kill([Stat(NOBODY, "S", 1)])
    mocker.patch("builtins.open", side_effect=OSError(24, "Too many open files"))
    assert killing.stat_of(os.getpid()) is None
    assert killing.tag_of(os.getpid()) == b""


def test_the_deepest_descendants_come_first(family: tuple[subprocess.Popen[bytes], int]) -> None:
    shell, child = family
    found = [stat.pid for stat in killing.descendants(os.getpid())]
    assert found.index(child) < found.index(shell.pid)
    assert killing.children_of(shell.pid) == [child]


def test_a_tree_is_killed_whole_but_never_by_a_pid_alone(family: tuple[subprocess.Popen[bytes], int]) -> None:  # G32
    shell, child = family
    stat = killing.stat_of(shell.pid)
    assert stat is not None
    killing.kill_tree(shell.pid, stat.start + 1)
    killing.kill([stat._replace(start=stat.start + 1)])
    assert shell.poll() is None
    descriptor = os.pidfd_open(child)
    try:
        killing.kill_tree(shell.pid, stat.start)
        assert shell.wait(10) == -signal.SIGKILL
        assert select.select([descriptor], [], [], 10)[0], "the child lives on"
    finally:
        os.close(descriptor)


def test_a_mark_is_read_from_the_environment(sleeper: Sleeper) -> None:
    marked = sleeper({"CRONJOB_WORKER_RUN": "owner.run"})
    assert killing.tag_of(marked.pid) == b"CRONJOB_WORKER_RUN=owner.run"
    assert killing.tag_of(sleeper({"A": "b"}).pid) == b""


def test_this_system_can_be_seen_and_one_without_proc_cannot(mocker: MockerFixture) -> None:
    assert killing.can_see()
    mocker.patch("os.path.exists", return_value=False)
    assert not killing.can_see()
