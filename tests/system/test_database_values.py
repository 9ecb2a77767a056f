"""What databases hold reaches the output unchanged, and never makes a task fail whose statement is in effect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.runners.database import DatabaseRunner
from adapters.runners.database.rows import Rows
from adapters.runners.database.session import Cancelled
from adapters.runners.database.settings import DatabaseArgs
from domain.result import EndReason, Result
from domain.runner import CancelRequest, CancelToken, Credential, ExecutionContext
from tests.support import peers


class Keys:
    def __init__(self, peer: peers.Peer) -> None:
        self._value = {"username": peer.username, "password": peer.password}

    def credential(self, credential_id: str) -> Credential:
        return Credential(credential_id, "username_password", "peer", self._value)


class Server:
    """Runs statements as tasks on a real server."""

    def __init__(self, peer: peers.Peer, db_type: str, database: str) -> None:
        self._args = {"db_type": db_type, "credential_id": "1", "host": peer.host, "port": peer.port}
        self._args["database"] = database
        self._keys = Keys(peer)
        self.log: list[bytes] = []

    def result(self, text: str, timeout: float = 20.0, **args: Any) -> Result:
        runner = DatabaseRunner()
        runner.parse_args("", json.dumps(self._args | {"sql": text} | args))
        runner.set_timeout(timeout)
        self.log = []
        return runner.execute(ExecutionContext(task_id="task-1", log=self.log.append, credentials=self._keys))

    def output(self, text: str, **args: Any) -> dict[str, Any]:
        result = self.result(text, **args)
        assert result.status == "success", result.error
        found: dict[str, Any] = json.loads(result.output)
        return found

    def value(self, expression: str) -> Any:
        return self.output(f"SELECT {expression} AS v")["rows"][0]["v"]


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    try:
        with peers.redis_peer() as peer:
            yield Server(peer, "redis", "")
    except peers.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Server]:
    try:
        with peers.postgresql_peer() as peer:
            yield Server(peer, "postgresql", "postgres")
    except peers.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def mysql() -> Iterator[Server]:
    try:
        with peers.mariadb_peer() as peer:
            yield Server(peer, "mysql", "jobs")
    except peers.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.peer(peer))
        for name, peer in (("mysql", "mariadb"), ("postgresql", "postgresql"), ("redis", "redis"))
    ],
)
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


BEYOND_PYTHON = {
    "'infinity'::timestamptz": "infinity",
    "'-infinity'::date": "-infinity",
    "'0044-03-15 BC'::date": "0044-03-15 BC",
    "'12000-01-01 10:00'::timestamp": "12000-01-01 10:00:00",
    "'24:00'::time": "24:00:00",
    "'24:00+02'::timetz": "24:00:00+02",
    "ARRAY['infinity'::timestamp, NULL]": ["infinity", None],
    "'[2024-01-01,infinity)'::daterange": "[2024-01-01,infinity)",
    "(repeat('[', 900) || repeat(']', 900))::json": "[" * 900 + "]" * 900,
    "repeat('9', 5000)::json": "9" * 5000,
    "'NaN'::numeric": "NaN",
    "'-Infinity'::numeric": "-Infinity",
}


@pytest.mark.peer("postgresql")
@pytest.mark.parametrize("expression", BEYOND_PYTHON, ids=lambda text: text[:30])
def test_a_value_that_python_cannot_hold_is_the_text_of_the_server(postgresql: Server, expression: str) -> None:
    assert postgresql.value(expression) == BEYOND_PYTHON[expression]


@pytest.mark.peer("postgresql")
def test_a_change_that_returns_such_a_value_succeeds_and_happens_once(postgresql: Server) -> None:
    postgresql.output("CREATE TABLE kept (at timestamptz)")
    found = postgresql.output("INSERT INTO kept VALUES ('infinity') RETURNING at")
    assert (found["affected_rows"], found["rows"]) == (1, [{"at": "infinity"}])
    assert postgresql.value("(SELECT count(*) FROM kept)") == 1


UNCHANGED = {
    "interval '1 year 2 mons'": "1 year 2 mons",
    "interval '1 day 02:03:04.5'": "1 day 02:03:04.5",
    "ARRAY[interval '1 mon']": ["1 mon"],
    "tsrange('2024-01-01', NULL)": '["2024-01-01 00:00:00",)',
    "int4range(1, 5)": "[1,5)",
    "'::ffff:1.2.3.4'::inet": "::ffff:1.2.3.4",
    "0.0000001::numeric": "0.0000001",
    "B'101'::bit(3)": "101",
    "'2024-01-01 10:00:00+02'::timestamptz": "2024-01-01 08:00:00+00:00",
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "'\\x00ff'::bytea": "base64:AP8=",
    "'12.34'::money::numeric": "12.34",
    """'{"n": [0.12345678901234567890, 0.5, 1]}'::jsonb""": {"n": ["0.12345678901234567890", 0.5, 1]},
}


@pytest.mark.peer("postgresql")
@pytest.mark.parametrize("expression", UNCHANGED)
def test_a_value_of_postgresql_stays_what_it_is(postgresql: Server, expression: str) -> None:
    assert postgresql.value(f"(SELECT {expression})") == UNCHANGED[expression]


@pytest.mark.peer("mariadb")
def test_a_value_of_mysql_stays_what_it_is(mysql: Server) -> None:
    columns = {
        "BIT(1)": ("b'1'", 1),
        "BIT(64)": ("~0", 2**64 - 1),
        "TIME": ("'838:59:59'", "838:59:59"),
        "TIME(1)": ("'-01:02:03.5'", "-01:02:03.5"),
        "DATE": ("'0000-00-00'", "0000-00-00"),
        "DATETIME": ("'0000-01-01 10:00:00'", "0000-01-01 10:00:00"),
        "YEAR": ("0", 0),
        "DECIMAL(40,30)": ("0", "0." + "0" * 30),
        "BINARY(2)": ("x'00ff'", "base64:AP8="),
    }
    mysql.output("CREATE TABLE kinds (" + ", ".join(f"c{at} {kind}" for at, kind in enumerate(columns)) + ")")
    mysql.output("INSERT IGNORE INTO kinds VALUES (" + ", ".join(given for given, _ in columns.values()) + ")")
    row = mysql.output("SELECT * FROM kinds")["rows"][0]
    assert list(row.values()) == [wanted for _, wanted in columns.values()]


def test_a_text_of_sqlite_that_is_none_is_kept_as_bytes(tmp_path: Path) -> None:
    for text in (
        "CREATE TABLE t (v)",
        "INSERT INTO t VALUES (CAST(x'ff00' AS TEXT)), ('ü') RETURNING v",
        "SELECT v FROM t",
    ):
        runner = DatabaseRunner()
        runner.parse_args("", json.dumps({"db_type": "sqlite", "database": str(tmp_path / "a.db"), "sql": text}))
        result = runner.execute()
        assert result.status == "success", result.error
    assert json.loads(result.output)["rows"] == [{"v": "base64:/wA="}, {"v": "ü"}]


@pytest.mark.peer("postgresql")
def test_a_change_whose_rows_cannot_be_exported_succeeds_and_says_so(
    postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CRONJOB_EXPORT_DIR", str(tmp_path / "file"))
    postgresql.output("CREATE TABLE exported (n int)")
    for text in ("INSERT INTO exported VALUES (1) RETURNING n", "WITH x AS (DELETE FROM exported RETURNING n) TABLE x"):
        found = postgresql.output(text, export_csv=True)
        assert (found["rows"], "Not a directory" in found["export_error"]) == ([{"n": 1}], True)
        assert b"not exported" in b"".join(postgresql.log)
    assert postgresql.result("SELECT 1", export_csv=True).status == "failed"  # which changed nothing


@pytest.mark.parametrize("timeout", [2_147_482.0, 2_592_000.0, 1e10])
def test_a_time_out_of_months_is_taken(server: Server, timeout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DatabaseRunner, "_arm_deadline", lambda _: lambda: None)  # only the drivers are looked at here
    result = server.result("SELECT 1", timeout=timeout, command="PING")
    assert result.status == "success", result.error


def test_a_cancel_that_comes_behind_a_change_does_not_hide_that_it_happened() -> None:
    token = CancelToken()
    token.cancel(CancelRequest(EndReason.TIMEOUT))
    batches = [[(1,), (2,)], []]
    change = Rows(DatabaseArgs(db_type="sqlite"), ExecutionContext(), token, changes=True)
    assert change.read([("n",)], lambda _: batches.pop(0))["rows"] == [{"n": 1}, {"n": 2}]
    query = Rows(DatabaseArgs(db_type="sqlite"), ExecutionContext(), token, changes=False)
    with pytest.raises(Cancelled):
        query.read([("n",)], lambda _: [(1,)])


# -- procedures of MySQL, which may return several result sets


def procedure(mysql: Server, name: str, body: str) -> None:
    mysql.output(f"CREATE OR REPLACE PROCEDURE {name}() BEGIN {body} END")


LATE = "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'came late';"


@pytest.mark.peer("mariadb")
@pytest.mark.parametrize(
    "before", ["SELECT 1 AS a;", "SELECT 1 AS a; SELECT 2 AS b;", "SELECT 1 AS a FROM dual WHERE 0;"]
)
def test_an_error_behind_a_procedures_first_result_fails_the_task(mysql: Server, before: str) -> None:
    procedure(mysql, "fails", before + LATE)
    result = mysql.result("CALL fails()")
    assert (result.status, "came late" in result.error) == ("failed", True)


@pytest.mark.peer("mariadb")
def test_every_result_of_a_procedure_reaches_the_output(mysql: Server) -> None:
    procedure(mysql, "three", "SELECT 1 AS a; SELECT 2 AS b WHERE FALSE; SELECT 3 AS c, 4 AS d;")
    found = mysql.output("CALL three()")
    assert (found["rows"], found["result_sets"], found["truncated"]) == ([{"a": 1}], 3, False)
    assert [(one["columns"], one["rows"]) for one in found["more_results"]] == [
        (["b"], []),
        (["c", "d"], [{"c": 3, "d": 4}]),
    ]
    procedure(mysql, "one", "SELECT 1 AS a;")
    assert "result_sets" not in mysql.output("CALL one()")


@pytest.mark.peer("mariadb")
def test_results_that_the_output_has_no_room_for_are_counted(mysql: Server) -> None:
    procedure(mysql, "many", "DECLARE n INT DEFAULT 0; WHILE n < 2000 DO SELECT n AS n; SET n = n + 1; END WHILE;")
    result = mysql.result("CALL many()")
    found = json.loads(result.output)
    assert (found["result_sets"], found["truncated"], len(result.output) < 60_000) == (2000, True, True)
    assert 0 < len(found["more_results"]) < 1999
