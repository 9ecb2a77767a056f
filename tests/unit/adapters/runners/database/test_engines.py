"""How each engine is connected to, and how its statements are ended."""

from __future__ import annotations

import sqlite3
import ssl
import threading
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pytest_mock import MockerFixture

from adapters.runners.database.engines import NO_TLS, MySql, PostgreSql, Sqlite, make, tls_context
from adapters.runners.database.session import Cancelled
from adapters.runners.database.settings import DatabaseArgs, Login
from domain.errors import MissingExtra

MYSQL = DatabaseArgs(db_type="mysql", host="127.0.0.1", port=1, database="d")
LOGIN = Login("u", "p")


def test_each_kind_of_database_has_its_engine(tmp_path: Path) -> None:
    kinds = {"mysql": MySql, "postgresql": PostgreSql, "sqlite": Sqlite}
    for name, kind in kinds.items():
        assert type(make(DatabaseArgs(db_type=name, database="a"), LOGIN, None, tmp_path)) is kind


@pytest.mark.parametrize(("kind", "package"), [("mysql", "pymysql"), ("postgresql", "psycopg")])
def test_a_driver_that_is_missing_is_named_with_the_line_that_installs_it(
    kind: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingExtra, match="pip install"):
        make(DatabaseArgs(db_type=kind), LOGIN, None, tmp_path)


@pytest.mark.parametrize(
    ("tls", "mode"), [("verify", ssl.CERT_REQUIRED), ("require", ssl.CERT_NONE), ("", ssl.CERT_NONE)]
)
def test_a_certificate_is_verified_where_the_task_says_so(tls: str, mode: ssl.VerifyMode) -> None:
    context = tls_context(DatabaseArgs(tls=tls))
    assert (context.verify_mode, context.check_hostname) == (mode, mode is ssl.CERT_REQUIRED)


@pytest.mark.parametrize(
    ("tls", "tried"),
    [("", [True, False]), ("prefer", [True, False]), ("require", [True]), ("verify", [True]), ("off", [False])],
)
def test_only_who_may_goes_on_without_encryption(tls: str, tried: list[bool], mocker: MockerFixture) -> None:
    engine = MySql(DatabaseArgs(db_type="mysql", host="h", tls=tls), LOGIN)
    error = pymysql.err.OperationalError(NO_TLS, "SSL is required but the server doesn't support it")
    attempt = mocker.patch.object(engine, "_try", side_effect=[error, "plain"] if tried[0] else ["plain"])
    if tried == [True]:
        with pytest.raises(pymysql.err.OperationalError):
            engine.connect()
    else:
        assert engine.connect() == "plain"
    assert [call.kwargs["secure"] for call in attempt.call_args_list] == tried


def test_another_error_of_the_server_is_no_reason_to_go_on_without_encryption(mocker: MockerFixture) -> None:
    engine = MySql(MYSQL, LOGIN)
    attempt = mocker.patch.object(engine, "_try", side_effect=pymysql.err.OperationalError(1045, "Access denied"))
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        engine.connect()
    assert attempt.call_count == 1


def test_a_line_that_comes_after_the_cut_is_closed(mocker: MockerFixture) -> None:
    line = mocker.patch("socket.create_connection").return_value
    engine = MySql(MYSQL, LOGIN)
    engine.cut(None)
    with pytest.raises(Cancelled):
        engine.connect()
    line.close.assert_called_once_with()


def test_a_number_goes_to_postgresql_without_a_type() -> None:
    dumper: Any = PostgreSql._untyped()
    assert [dumper(type(value)).dump(value) for value in (7, 7.0, 1.5, True)] == [b"7", b"7", b"1.5", b"true"]


def test_an_interrupt_of_sqlite_meets_the_statement_that_comes_after_it(tmp_path: Path) -> None:
    engine = Sqlite(tmp_path / "a.db")
    connection = engine.connect()
    engine.interrupt(connection)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        connection.cursor().execute(endless)
    connection.close()


def test_a_lock_of_sqlite_is_waited_for_until_it_is_free_or_the_run_shall_end(tmp_path: Path) -> None:
    engine, path = Sqlite(tmp_path / "a.db"), tmp_path / "a.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE t (n)")
    other.execute("BEGIN EXCLUSIVE")
    connection = engine.connect()
    interrupting = threading.Timer(0.02, engine.interrupt, (connection,))
    interrupting.start()
    with pytest.raises(sqlite3.OperationalError, match=r"locked|interrupted"):
        connection.cursor().execute("INSERT INTO t VALUES (1)")
    interrupting.join()
    other.close()
    connection.close()
