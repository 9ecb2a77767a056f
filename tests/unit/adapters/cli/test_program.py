"""What the guardian and the shell hear of a start, over the real container with one part replaced."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from dependency_injector.providers import Callable as Made

from adapters.cli import program
from adapters.cli.program import Parts, Program
from adapters.config.load import load
from adapters.config.loaded import Loaded
from adapters.guardian.unguarded import NoWatchdog
from bootstrap import WorkerContainer
from domain.errors import ConfigError, JournalError, NoRoom, WorkerError


class NoSignals:
    """Nobody asks for an end. The real ones would be the signals of the process that runs the tests."""

    end = force = False

    def wait(self, seconds: float) -> None: ...


class Watcher(NoWatchdog):
    """A guardian that remembers what it was told of the start."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def failed(self, why: BaseException) -> None:
        self.told.append(f"{type(why).__name__}: {why}")

    def hello(self, shutdown: float) -> None:
        self.told.append("ready")


def failing(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "set_up", lambda *_: None)  # the log of this process is pytest's
    (tmp_path / "schedule.json").write_text('{"jobs": []}')
    (tmp_path / "config_worker.json").write_text('{"transport": "local"}')
    return load(str(tmp_path / "config_worker.json"), environment={})


def start(loaded: Loaded, error: Exception) -> tuple[int | WorkerError, list[str]]:
    """How a start ends in which the journal cannot be had, and what the guardian hears."""

    def make(loaded: Loaded) -> Parts:
        container = WorkerContainer(loaded=loaded)
        container.signals.override(NoSignals())
        container.journal.override(Made(failing(error)))
        return container

    watcher = Watcher()
    try:
        return Program(make, Path("bootstrap.py"), watcher).run(loaded), watcher.told
    except WorkerError as raised:
        return raised, watcher.told


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), NoRoom("no thread"), MemoryError("no memory")]
)
def test_what_the_machine_may_have_later_is_no_defect(loaded: Loaded, error: Exception) -> None:
    assert start(loaded, error) == (75, [f"{type(error).__name__}: {error}"])


def test_a_journal_that_is_damaged_is_told_to_the_guardian_too(loaded: Loaded) -> None:
    """It starts the worker some times and then says why it gives up."""
    error = JournalError("journal.sqlite: is no database; move it away")
    assert start(loaded, error) == (error, [f"JournalError: {error}"])


def test_a_key_that_is_wrong_is_told_with_its_source(loaded: Loaded) -> None:
    raised, told = start(loaded, ConfigError("worker.id: is another one's"))
    assert isinstance(raised, ConfigError)
    assert str(raised) == "settings: worker.id: is another one's"
    assert told == ["ConfigError: worker.id: is another one's"]


def test_the_state_directory_is_free_again_after_a_start_that_failed(loaded: Loaded) -> None:
    for _ in range(2):
        assert start(loaded, MemoryError("no memory"))[0] == 75
