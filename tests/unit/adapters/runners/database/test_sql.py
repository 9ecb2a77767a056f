"""One statement on one connection, and how it is ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.runners.database.classify import classify
from adapters.runners.database.engines import Engine, Sqlite
from adapters.runners.database.session import Cancelled
from adapters.runners.database.settings import DatabaseArgs
from adapters.runners.database.sql import SqlRun
from domain.errors import WorkerError
from domain.result import EndReason
from domain.runner import CancelRequest, CancelToken, ExecutionContext, Urgency

FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n"


class Watched(Sqlite):
    """Tells what it was asked for, and whether its connection was closed."""

    def __init__(self, path: Path, fails: Exception | None = None) -> None:
        super().__init__(path)
        self._fails = fails
        self.asked: list[str] = []
        self.executing = threading.Event()
        self.connections: list[Any] = []

    def connect(self) -> Any:
        connection = super().connect()
        connection.set_trace_callback(self._traced)
        self.connections.append(connection)
        return connection

    def _traced(self, sql: str) -> None:
        if sql == FOREVER:
            self.executing.set()

    def interrupt(self, connection: Any) -> None:
        self.asked.append("interrupt")
        if self._fails is not None:
            raise self._fails
        super().interrupt(connection)

    def cut(self, connection: Any) -> None:
        self.asked.append("cut")
        if connection is not None:
            super().interrupt(connection)


def run(engine: Engine, sql: str, token: CancelToken | None = None, log: Any = lambda _: None) -> dict[str, Any]:
    args = DatabaseArgs(db_type="sqlite", database="a.db")
    return SqlRun(engine, args, ExecutionContext(log=log)).run(classify(sql, "sqlite"), None, token or CancelToken())


@pytest.fixture
def engine(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "a.db")


@pytest.fixture
def token(engine: Watched) -> Iterator[CancelToken]:
    """Cancels while the statement runs."""
    made = CancelToken()

    def cancel() -> None:
        engine.executing.wait(10)
        made.cancel(CancelRequest(EndReason.STOPPED))

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    yield made
    cancelling.join()


def closed(engine: Watched) -> bool:
    try:
        engine.connections[-1].execute("SELECT 1")
    except Exception as error:  # noqa: BLE001 - the driver's own way to say so
        return "closed" in str(error)
    return False


def test_a_change_is_committed_and_counted(engine: Watched) -> None:
    run(engine, "CREATE TABLE t (n INTEGER PRIMARY KEY)")
    found = run(engine, "INSERT INTO t VALUES (7), (8)")
    assert (found["affected_rows"], found["last_insert_id"]) == (2, 8)
    assert run(engine, "SELECT count(*) AS c FROM t")["rows"] == [{"c": 2}]
    assert closed(engine)


def test_a_failure_is_told_in_the_databases_words_and_closes_the_connection(engine: Watched) -> None:
    with pytest.raises(WorkerError, match=r"^sqlite a.db: no such table: x$"):
        run(engine, "SELECT * FROM x")
    assert closed(engine)


def test_a_cancel_interrupts_the_statement(engine: Watched, token: CancelToken) -> None:
    with pytest.raises(Cancelled):
        run(engine, FOREVER, token)
    assert engine.asked == ["interrupt"]
    assert closed(engine)


def test_a_server_that_does_not_take_the_cancel_is_cut(
    engine: Watched, token: CancelToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.runners.database.sql.CANCEL", 0.05)
    monkeypatch.setattr(engine, "_fails", OSError("no second connection"))
    logged: list[bytes] = []
    with pytest.raises(Cancelled):
        run(engine, FOREVER, token, logged.append)
    assert engine.asked == ["interrupt", "cut"]
    assert b"did not take the cancel: OSError" in b"".join(logged)


def test_a_run_that_is_cancelled_before_it_begins_executes_nothing(engine: Watched) -> None:
    token = CancelToken()
    token.cancel(CancelRequest(EndReason.KILLED, Urgency.NOW))
    with pytest.raises(Cancelled):
        run(engine, "CREATE TABLE t (n)", token)
    with pytest.raises(WorkerError, match="no such table"):
        run(Watched(engine._path), "SELECT * FROM t")
