"""What runs of the schedule print, in the history."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.local.logs import LocalLogs
from adapters.local.store import Run, Store
from adapters.spool.memory import MemorySpool
from application.ports import LogPiece, Taken
from domain.errors import Unavailable


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "history.sqlite")
    yield made
    made.close()


@pytest.fixture
def run(store: Store) -> str:
    run_id = str(uuid.uuid4())
    store.add(Run(run_id, "job", "job-1", 1.0, "running", "", 0, "", None))
    return run_id


def piece(run_id: str, offset: int, data: bytes) -> LogPiece:
    return LogPiece(run_id, offset, data, False, MemorySpool().peek(run_id, 0).history)


def test_pieces_follow_each_other_and_one_that_comes_again_stands_there_once(store: Store, run: str) -> None:
    logs = LocalLogs(store)
    for offset, data in ((0, b"one\n"), (4, b"two\n"), (4, b"two\n"), (0, b"one\n"), (6, b"o\nthree\n")):
        logs.append(piece(run, offset, data))
    assert store.log(run) == "one\ntwo\nthree\n"


def test_it_is_told_up_to_where_the_history_has_the_log(store: Store, run: str) -> None:
    logs = LocalLogs(store)
    assert logs.append(piece(run, 0, "\u65e5\n".encode())) == Taken(4)
    assert logs.append(piece(run, 0, b"")) == Taken(4)
    assert logs.append(piece(run, 0, "\u65e5".encode())) == Taken(4)


def test_a_log_of_a_run_that_the_history_has_forgotten_is_taken_and_dropped(store: Store) -> None:
    assert LocalLogs(store).append(piece("gone", 0, b"text")) == Taken(4)
    assert store.log("gone") == ""


def test_a_history_that_cannot_be_written_is_unavailable(store: Store, run: str) -> None:
    store.close()
    with pytest.raises(Unavailable, match=r"history\.sqlite"):
        LocalLogs(store).append(piece(run, 0, b"text"))


def test_the_last_line_of_a_run_is_shown_at_its_end(store: Store, run: str, caplog: pytest.LogCaptureFixture) -> None:
    logs, found = LocalLogs(store), store.get(run)
    assert found is not None
    with caplog.at_level("INFO", "worker.output"):
        logs.append(piece(run, 0, b"whole\nhalf"))
        before = list(caplog.messages)
        logs.end(found)
    assert (before, caplog.messages) == (["| whole"], ["| whole", "| half"])
