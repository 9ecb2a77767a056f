"""Looking at processes, and signalling exactly the one that was meant."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from adapters.process import tree
from tests.support.sleepers import Sleeper

NOBODY = 1 << 22  # the largest pid there can be is one less


def test_this_process_is_seen_as_it_is() -> None:
    found = tree.look(os.getpid())
    assert found is not None
    assert (found.pid, found.parent) == (os.getpid(), os.getppid())
    assert (found.group, found.session) == (os.getpgrp(), os.getsid(0))
    assert not found.dead


def test_a_program_may_be_called_anything(tmp_path: Path) -> None:
    program = tmp_path / ") R 1 (x"
    shutil.copy(shutil.which("sleep") or "", program)
    process = subprocess.Popen([program, "1000"])
    try:
        found = tree.look(process.pid)
        assert found is not None
        assert found.parent == os.getpid()
    finally:
        process.kill()
        process.wait()


def test_what_is_not_there_is_none_and_what_cannot_be_seen_is_an_error(mocker: MockerFixture) -> None:  # G60
    assert (tree.look(NOBODY), tree.children(NOBODY), tree.below(NOBODY)) == (None, [], [])
    assert not tree.has_tag(NOBODY, b"A=")
    mocker.patch("builtins.open", side_effect=OSError(errno.EMFILE, "Too many open files"))
    for question in (tree.look, tree.children, tree.below, lambda pid: tree.has_tag(pid, b"A=")):
        with pytest.raises(OSError, match="Too many open files"):
            question(os.getpid())


def test_parents_come_before_their_children(family: tuple[subprocess.Popen[bytes], int]) -> None:
    shell, child = family
    found = [proc.pid for proc in tree.below(os.getpid())]
    assert found.index(shell.pid) < found.index(child)
    assert {os.getpid(), shell.pid, child} <= tree.above(child)
    assert shell.pid not in tree.above(os.getpid())


def test_a_signal_reaches_the_process_that_was_seen_and_no_later_one(sleeper: Sleeper) -> None:  # G32
    process = sleeper({})
    proc = tree.look(process.pid)
    assert proc is not None
    assert not tree.send(replace(proc, start=proc.start + 1), signal.SIGKILL)
    assert process.poll() is None
    assert tree.send(proc, signal.SIGTERM, signal.SIGCONT)
    assert process.wait(10) == -signal.SIGTERM
    assert not tree.send(proc, signal.SIGKILL), "it is gone"


def test_a_dead_process_gets_no_signal(sleeper: Sleeper) -> None:
    process = sleeper({})
    proc = tree.look(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    now = tree.look(process.pid)
    assert proc is not None
    assert now is not None
    assert now.dead
    assert not tree.send(proc, signal.SIGTERM)
    assert process.pid not in [below.pid for below in tree.below(os.getpid())]


@pytest.mark.parametrize(
    ("mark", "found"), [(b"RUN=owner.1", True), (b"RUN=owner.", True), (b"RUN=other", False), (b"owner", False)]
)
def test_a_mark_is_the_beginning_of_a_variable(sleeper: Sleeper, mark: bytes, found: bool) -> None:
    assert tree.has_tag(sleeper({"RUN": "owner.1"}).pid, mark) is found
