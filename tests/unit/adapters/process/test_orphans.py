"""What a previous run of the worker has left is ended, and nothing else."""

from __future__ import annotations

import signal
import tempfile
import uuid
from pathlib import Path

import pytest

from adapters.process import temporary_files, tree
from adapters.process.orphans import NoOrphans, ProcessOrphans, boot_id, owner_of
from adapters.process.spawn import RUN_TAG
from application.ports import Entry
from tests.support.sleepers import Sleeper


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of nobody else; its temporary files are in a directory of the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return uuid.uuid4().hex[:16]


def entry_of(pid: int, start: int, boot: str) -> Entry:
    return Entry("t", "running", pid=pid, pid_start=start, boot_id=boot)


def start_of(pid: int) -> int:
    found = tree.look(pid)
    assert found is not None
    return found.start


def test_the_process_of_an_entry_is_ended(sleeper: Sleeper, owner: str) -> None:
    process = sleeper({})
    ProcessOrphans(owner).end(entry_of(process.pid, start_of(process.pid), boot_id()))
    assert process.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("what", ["another start", "another boot", "no process"])
def test_a_process_that_is_not_the_entry_s_is_left_alone(sleeper: Sleeper, owner: str, what: str) -> None:  # G32
    process = sleeper({})
    pid, start, boot = process.pid, start_of(process.pid), boot_id()
    entry = {
        "another start": entry_of(pid, start - 1, boot),
        "another boot": entry_of(pid, start, "another"),
        "no process": entry_of(0, start, boot),
    }[what]
    ProcessOrphans(owner).end(entry)
    assert process.poll() is None


def test_a_sweep_ends_what_bears_the_owner_s_mark(sleeper: Sleeper, owner: str) -> None:
    ours = sleeper({RUN_TAG: f"{owner}.run"})
    others = [sleeper({RUN_TAG: f"{owner}2.run"}), sleeper({"OTHER": f"{RUN_TAG}={owner}.run"})]
    ProcessOrphans(owner).sweep()
    assert ours.wait(10) == -signal.SIGKILL
    assert [process.poll() for process in others] == [None, None]


def test_a_sweep_removes_the_owner_s_temporary_files(tmp_path: Path, owner: str) -> None:
    (tmp_path / f"{temporary_files.prefix_of(owner)}key").write_text("secret")
    (tmp_path / "somebody-else").write_text("kept")
    ProcessOrphans(owner).sweep()
    assert [path.name for path in tmp_path.iterdir()] == ["somebody-else"]


def test_the_owner_is_the_state_directory_whatever_it_is_called(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (tmp_path / "link").symlink_to(state)
    assert owner_of(state) == owner_of(tmp_path / "link") == owner_of(tmp_path / "x" / ".." / "state")
    assert owner_of(state) != owner_of(tmp_path)


def test_where_nothing_can_be_left_nothing_is_ended(sleeper: Sleeper, owner: str) -> None:
    process = sleeper({RUN_TAG: f"{owner}.run"})
    NoOrphans().end(entry_of(process.pid, start_of(process.pid), boot_id()))
    NoOrphans().sweep()
    assert process.poll() is None
