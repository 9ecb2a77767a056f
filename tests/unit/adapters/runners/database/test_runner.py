"""Database tasks as a whole, on SQLite."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from adapters.runners.database.runner import DatabaseRunner, summary
from domain.result import EndReason, Result
from domain.runner import ExecutionContext
from domain.status import Status
from tests.support.runner_fakes import Keys


def made(**args: Any) -> DatabaseRunner:
    runner = DatabaseRunner()
    runner.parse_args("", json.dumps({"db_type": "sqlite", "database": "a.db"} | args))
    return runner


def ran(directory: Path, logged: list[bytes] | None = None, **args: Any) -> Result:
    log = (lambda _: None) if logged is None else logged.append
    return made(**args).execute(ExecutionContext(working_dir=directory, log=log))


def test_a_statement_runs_on_the_file_in_the_working_directory(tmp_path: Path) -> None:
    for sql in ("CREATE TABLE t (n)", "INSERT INTO t VALUES (7)"):
        assert ran(tmp_path, sql=sql).status is Status.SUCCESS
    output = json.loads(ran(tmp_path, sql="SELECT n FROM t WHERE n = :n", params={"n": 7}).output)
    assert (output["sql_type"], output["rows"]) == ("DQL", [{"n": 7}])
    with sqlite3.connect(tmp_path / "a.db") as there:
        assert there.execute("SELECT n FROM t").fetchall() == [(7,)]
    there.close()


def test_what_the_database_says_is_the_error(tmp_path: Path) -> None:
    result = ran(tmp_path, sql="SELECT * FROM nowhere")
    assert (result.status, result.error) == (Status.FAILED, "sqlite a.db: no such table: nowhere")


def test_values_of_parameters_are_in_no_error_and_no_log(tmp_path: Path) -> None:
    logged: list[bytes] = []
    result = ran(tmp_path, logged, sql="INSERT INTO nowhere VALUES (?)", params=["hunter2"])
    assert result.status is Status.FAILED
    assert "hunter2" not in result.error + result.execute_log + b"".join(logged).decode()


def test_a_credential_of_another_kind_is_the_authors_mistake() -> None:
    runner = made(db_type="mysql", credential_id="c1", host="h", sql="SELECT 1")
    result = runner.execute(ExecutionContext(credentials=Keys("api_token", token="t")))
    assert (result.end_reason, "username_password credential is needed" in result.error) == (
        EndReason.INVALID_TASK, True,
    )  # fmt: skip


def test_without_a_source_of_credentials_nothing_is_connected() -> None:
    result = made(db_type="redis", database="0", credential_id="c1", host="h", command="PING").execute()
    assert (result.end_reason, "nowhere to get credentials from" in result.error) == (EndReason.INVALID_TASK, True)


def test_a_directory_that_cannot_be_had_fails_before_the_statement(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert ran(tmp_path / "file", sql="SELECT 1").end_reason is EndReason.NO_SUCH_DIRECTORY


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ({"sql_type": "DML", "affected_rows": 3}, "3 rows affected"),
        ({"sql_type": "DQL", "row_count": 2, "truncated": True}, "2 rows, cut"),
        ({"sql_type": "DQL", "row_count": 2, "truncated": False}, "2 rows"),
        ({"sql_type": "DDL"}, "DDL statement done"),
    ],
)
def test_people_get_one_line(output: dict[str, Any], told: str) -> None:
    assert summary(output) == told
