"""The journals that ship come in by the door of all journals."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from adapters.journal import plugin
from adapters.journal.sqlite import SqliteJournal
from adapters.observability.metrics import MemoryMetrics
from adapters.plugin import JournalPlugin, Surroundings
from adapters.runtime.threads import ThreadRuntime
from application.ports import Entry


def surroundings(state_dir: Path, stack: ExitStack, mocker: MockerFixture) -> Surroundings:
    return Surroundings(mocker.Mock(), ThreadRuntime(), MemoryMetrics(), state_dir, stack, lambda _: None)


def test_the_one_on_disk_is_in_the_state_directory_and_closed_with_the_worker(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    close = mocker.spy(SqliteJournal, "close")
    with ExitStack() as stack:
        journal = plugin.sqlite.open(surroundings(tmp_path, stack, mocker))
        journal.accept(Entry("t", "accepted"))
        assert (tmp_path / "journal.sqlite").is_file()
        close.assert_not_called()
    close.assert_called_once()


def test_the_one_in_memory_writes_nothing_and_is_new_each_time(tmp_path: Path, mocker: MockerFixture) -> None:
    with ExitStack() as stack:
        around = surroundings(tmp_path, stack, mocker)
        plugin.memory.open(around).accept(Entry("t", "accepted"))
        assert plugin.memory.open(around).entries() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("made", "name"), [(plugin.sqlite, "sqlite"), (plugin.memory, "memory")])
def test_they_have_no_settings_of_their_own(made: JournalPlugin, name: str) -> None:
    assert (made.name, dict(made.section.model_fields), made.secrets) == (name, {}, ())
