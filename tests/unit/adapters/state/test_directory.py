"""The state directory is one worker's only."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.process.killing import identity_of
from adapters.state.directory import EndedWaiting, Occupied, PauseMark, StateLock, take_state_dir
from domain.errors import ConfigError


@dataclass
class Settings:
    state_dir: Path
    longest_end: float = 100.0


@dataclass
class Guardian:
    identity: str = ""
    lost: bool = False
    beats: int = 0

    def beat(self) -> None:
        self.beats += 1


@dataclass
class Signals:
    """What happens while somebody waits: each wait takes one step."""

    end: bool = False
    steps: list[object] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        step = self.steps.pop(0)
        if callable(step):
            step()
        else:
            self.end = True


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir(0o700)
    return made


def test_one_worker_holds_it_and_another_is_told_which(directory: Path) -> None:
    lock = StateLock(directory, "123 456")
    with pytest.raises(Occupied) as refused:
        StateLock(directory)
    assert (refused.value.owner, refused.value.guardian) == (str(os.getpid()), "123 456")
    assert f"another worker (pid {os.getpid()})" in str(refused.value)
    lock.release()
    StateLock(directory).release()


def test_a_shorter_note_leaves_nothing_of_a_longer_one(directory: Path) -> None:
    StateLock(directory, "1234567890 1234567890").release()
    StateLock(directory).release()
    assert (directory / "lock").read_text() == f"{os.getpid()} \n"


def test_a_lock_that_cannot_be_made_is_told_by_name(directory: Path) -> None:
    (directory / "lock").symlink_to(directory / "elsewhere")
    with pytest.raises(ConfigError, match=f"state_dir: {directory}/lock cannot be used"):
        StateLock(directory)
    with pytest.raises(ConfigError, match="No such file"):
        StateLock(directory / "gone")


def test_a_free_directory_is_made_and_taken_until_the_stack_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state"
    with ExitStack() as stack:
        assert take_state_dir(Settings(path), Guardian(), Signals(), stack) == path
        with pytest.raises(Occupied):
            StateLock(path)
    StateLock(path).release()


@pytest.mark.parametrize("living", ["no guardian", "its guardian lives"])
def test_a_worker_that_lives_on_is_not_waited_for(directory: Path, living: str) -> None:
    lock = StateLock(directory, identity_of(os.getpid()) if living == "its guardian lives" else "")
    with ExitStack() as stack, pytest.raises(Occupied):
        take_state_dir(Settings(directory), Guardian(), Signals(), stack)
    lock.release()


def test_a_worker_whose_guardian_is_gone_is_waited_for_with_signs_of_life(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock = StateLock(directory, "1 0")
    guardian = Guardian("7 8")
    with ExitStack() as stack, caplog.at_level("WARNING", "worker"):
        signals = Signals(steps=[lambda: None, lock.release])
        assert take_state_dir(Settings(directory), guardian, signals, stack) == directory
    assert guardian.beats == 2
    assert caplog.text.count("waiting up to") == 1


def test_nobody_is_waited_for_longer_than_an_end_may_take(directory: Path) -> None:
    lock = StateLock(directory, "1 0")
    with ExitStack() as stack, pytest.raises(Occupied):
        take_state_dir(Settings(directory, longest_end=-1.0), Guardian(), Signals(), stack)
    lock.release()


@pytest.mark.parametrize("what", ["asked to end", "guardian lost", "asked while waiting"])
def test_an_end_comes_before_the_directory(directory: Path, what: str) -> None:
    lock = StateLock(directory, "1 0")
    signals = Signals(end=what == "asked to end", steps=["end"])
    with ExitStack() as stack, pytest.raises(EndedWaiting):
        take_state_dir(Settings(directory), Guardian(lost=what == "guardian lost"), signals, stack)
    lock.release()


def test_a_pause_lasts_until_it_is_cleared_and_tells_its_reason(directory: Path) -> None:
    mark, seen = PauseMark(directory), PauseMark(directory)
    assert (seen.reason(), mark.clear()) == (None, False)
    mark.set("moving the \u65e5 disk\n")
    assert seen.reason() == "moving the \u65e5 disk"
    mark.set(" ")
    assert seen.reason() == "paused"
    assert [path.name for path in directory.iterdir()] == ["paused"]
    assert (mark.clear(), seen.reason()) == (True, None)


def test_what_cannot_be_read_is_taken_for_a_pause(directory: Path) -> None:
    (directory / "paused").mkdir()
    assert PauseMark(directory).reason() == f"{directory}/paused cannot be read (Is a directory)"
    (directory / "paused").rmdir()
    (directory / "paused").write_bytes(b"\xff")
    assert PauseMark(directory).reason() == "\ufffd"
