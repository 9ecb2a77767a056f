"""Database tasks against real servers (G76, D1 to D12)."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest

from adapters.runners.database import DatabaseRunner
from adapters.runners.database.engines import Sqlite
from application.ports import Limits
from application.reporting import output_for
from domain.result import Result
from domain.runner import Credential, ExecutionContext
from tests.support import peers

ROOT = Path(__file__).parent.parent.parent


def started(make: Callable[[], AbstractContextManager[peers.Peer]]) -> Iterator[peers.Peer]:
    try:
        entered = make()
        with entered as peer:
            yield peer
    except peers.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def redis() -> Iterator[peers.Peer]:
    yield from started(peers.redis_peer)


SERVERS = {"mysql": peers.mariadb_peer, "postgresql": peers.postgresql_peer}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("mysql", marks=pytest.mark.peer("mariadb")),
        pytest.param("postgresql", marks=pytest.mark.peer("postgresql")),
    ],
)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, peers.Peer]]:
    for peer in started(SERVERS[request.param]):
        yield request.param, peer


class Keys:
    def __init__(self, **value: Any) -> None:
        self.value = value

    def credential(self, credential_id: str) -> Credential:
        return Credential(credential_id, "username_password", "peer", self.value)


def start(peer: peers.Peer, db_type: str, **args: Any) -> tuple[DatabaseRunner, ExecutionContext, list[bytes]]:
    name = {"mysql": "jobs", "postgresql": "postgres"}.get(db_type, "")
    document = {"db_type": db_type, "credential_id": "1", "host": peer.host, "port": peer.port, "database": name}
    runner, log = DatabaseRunner(), []
    runner.parse_args("", json.dumps(document | args))
    keys = Keys(username=peer.username, password=peer.password)
    return runner, ExecutionContext(task_id="task-1", log=log.append, credentials=keys), log


def run(peer: peers.Peer, db_type: str, **args: Any) -> Result:
    runner, context, _ = start(peer, db_type, **args)
    runner.set_timeout(20)
    return runner.execute(context)


def sql(server: tuple[str, peers.Peer], text: str, **args: Any) -> dict[str, Any]:
    result = run(server[1], server[0], sql=text, **args)
    assert result.status == "success", result.error
    return json.loads(result.output)


def lite(path: Path, text: str, **args: Any) -> Result:
    runner = DatabaseRunner()
    runner.parse_args("", json.dumps({"db_type": "sqlite", "database": str(path), "sql": text} | args))
    return runner.execute()


def test_rows_reach_later_tasks_with_every_column(server: tuple[str, peers.Peer]) -> None:
    """D2, D1, D6."""
    found = sql(server, "/* why */ WITH n AS (SELECT 7 AS a) SELECT a, a, 'x%y' AS text FROM n")
    assert found["rows"] == [{"a": 7, "a_2": 7, "text": "x%y"}]
    assert (found["sql_type"], found["row_count"], found["truncated"]) == ("DQL", 1, False)


def test_the_original_placeholders_and_names_are_filled_but_never_in_text(server: tuple[str, peers.Peer]) -> None:
    one = "?" if server[0] == "mysql" else "$1"
    found = sql(server, f"SELECT '{one} %s' AS kept, 5 % 3 AS two, CAST({one} AS CHAR(3)) AS got", params=["abc"])
    assert found["rows"] == [{"kept": f"{one} %s", "two": 2, "got": "abc"}]
    named = sql(server, "SELECT ':a' AS kept, CAST(:a AS CHAR(3)) AS x, CAST(:a AS CHAR(3)) AS y", params={"a": "q'\\"})
    assert [named["rows"][0]["kept"], named["rows"][0]["x"].strip(), named["rows"][0]["y"].strip()] == [
        ":a",
        *["q'\\"] * 2,
    ]


def test_a_number_fits_where_text_is_wanted(server: tuple[str, peers.Peer]) -> None:
    """As with the original's drivers, which leave the type to the server."""
    one, two, three = ("?", "?", "?") if server[0] == "mysql" else ("$1", "$2", "$3")
    rows = "SELECT '5' AS code, 7 AS id, 1 = 1 AS fine"
    text = f"SELECT count(*) AS n FROM ({rows}) t WHERE code = {one} AND id = {two} AND fine = {three}"
    assert sql(server, text, params=[5, 7.0, True])["rows"] == [{"n": 1}]


def test_changes_are_committed_and_counted(server: tuple[str, peers.Peer]) -> None:
    sql(server, "DROP TABLE IF EXISTS jobs_t")
    assert sql(server, "CREATE TABLE jobs_t (id INT PRIMARY KEY, v TEXT)")["sql_type"] == "DDL"
    assert sql(server, "INSERT INTO jobs_t VALUES (1, 'a'), (2, 'b')")["affected_rows"] == 2
    assert sql(server, "SELECT count(*) AS n FROM jobs_t")["rows"] == [{"n": 2}]


def test_the_rows_are_cut_at_the_limit_and_it_is_told(server: tuple[str, peers.Peer]) -> None:
    sql(server, "DROP TABLE IF EXISTS many")
    sql(server, "CREATE TABLE many (n INT)")
    sql(server, "INSERT INTO many VALUES " + ",".join(f"({n})" for n in range(500)))
    found = sql(server, "SELECT n FROM many", max_rows=300)
    assert (found["row_count"], len(found["rows"]), found["truncated"]) == (300, 300, True)


FOREVER = {"mysql": "SELECT SLEEP(60)", "postgresql": "SELECT pg_sleep(60)"}
RUNNING = {
    "mysql": "SELECT count(*) AS n FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'",
    "postgresql": "SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(60)%' "
    "AND pid <> pg_backend_pid()",
}


def test_a_time_out_ends_the_statement_on_the_server(server: tuple[str, peers.Peer]) -> None:
    """D9, G76."""
    runner, context, _ = start(server[1], server[0], sql=FOREVER[server[0]])
    runner.set_timeout(0.6)
    began = time.monotonic()
    result = runner.execute(context)
    assert (result.status, time.monotonic() - began < 4) == ("timeout", True)
    assert sql(server, RUNNING[server[0]])["rows"] == [{"n": 0}]


def ask(peer: peers.Peer, *words: str) -> Any:
    result = run(peer, "redis", command=words[0], args=list(words[1:]))
    assert result.status == "success", result.error
    return json.loads(result.output)["result"]


@pytest.mark.peer("redis")
def test_redis_commands_answer_as_the_contract_says(redis: peers.Peer) -> None:
    """D11, D3, D5, D8."""
    assert [ask(redis, "flushdb"), ask(redis, "SET", "k", "v", "ex", "100"), ask(redis, "GET", "k")] == [
        "OK",
        "OK",
        "v",
    ]
    assert ask(redis, "TTL", "missing") == -2
    assert ask(redis, "SET", "k", "v") == "OK"
    assert [ask(redis, "TTL", "k"), ask(redis, "EXPIRE", "k", "50"), ask(redis, "TTL", "k")] == [-1, True, 50]
    assert [ask(redis, "HSET", "h", "f", "1"), ask(redis, "HGETALL", "h")] == [1, {"f": "1"}]
    assert ask(redis, "SCAN", "0", "count", "100", "match", "k*") == {"cursor": 0, "keys": ["k"]}
    assert [ask(redis, "RPUSH", "l", "a", "b"), ask(redis, "LRANGE", "l", "0", "-1")] == [2, ["a", "b"]]
    assert [sorted(ask(redis, "KEYS", "*")), ask(redis, "DBSIZE"), ask(redis, "PING")] == [["h", "k", "l"], 3, "PONG"]


@pytest.mark.peer("redis")
def test_redis_values_show_neither_in_log_nor_output(redis: peers.Peer) -> None:
    """D10."""
    runner, context, log = start(redis, "redis", command="SET", args=["name", "hush-hush"])
    result = runner.execute(context)
    assert "hush-hush" not in result.output + result.execute_log + b"".join(log).decode()


def test_sqlite_returns_rows_and_exports_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D12."""
    monkeypatch.setenv("CRONJOB_EXPORT_DIR", str(tmp_path / "out"))
    path = tmp_path / "a.db"
    assert lite(path, "CREATE TABLE t (a, b)").status == "success"
    assert json.loads(lite(path, "REPLACE INTO t VALUES (?, ?)", params=["=1+1", None]).output)["affected_rows"] == 1
    plain = json.loads(lite(path, "SELECT * FROM t", export_csv=True).output)
    assert plain["rows"] == [{"a": "=1+1", "b": None}]
    assert list(csv.reader(Path(plain["export_file"]).read_text().splitlines())) == [["a", "b"], ["=1+1", ""]]
    sheet = Path(json.loads(lite(path, "SELECT * FROM t", export_excel=True).output)["export_file"])
    assert (zipfile.is_zipfile(sheet), sheet.parent.parent) == (True, tmp_path / "out")


def test_bytes_that_are_no_text_and_long_cells_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D12: a sheet's cell holds 32767 characters and no more, the output all of them."""
    monkeypatch.setenv("CRONJOB_EXPORT_DIR", str(tmp_path / "out"))
    sql_text = "SELECT x'ff00' AS raw, printf('%.*c', 40000, 'x') AS long"
    found = json.loads(lite(tmp_path / "a.db", sql_text, export_excel=True).output)
    assert found["rows"] == [{"raw": "base64:/wA=", "long": "x" * 40_000}]
    with zipfile.ZipFile(found["export_file"]) as book:
        texts = "".join(book.read(name).decode() for name in book.namelist() if name.endswith(".xml"))
    assert len(max(re.findall("x+", texts), key=len)) == 32_767


def test_an_interrupt_of_sqlite_that_comes_before_the_statement_ends_it_too(tmp_path: Path) -> None:  # D9, G26
    engine = Sqlite(tmp_path / "a.db")
    long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) SELECT count(*) FROM n"
    with closing(engine.connect()) as connection:
        engine.interrupt(connection)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            connection.execute(long).fetchall()


def test_sqlite_waits_for_the_lock_of_another_program(tmp_path: Path) -> None:
    """The other one goes on when the task has met its lock twice."""
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(0.2, other.execute, ("ROLLBACK",)).start()
        assert lite(tmp_path / "a.db", "CREATE TABLE t (a)").status == "success"


def test_the_directory_of_a_sqlite_file_is_made_or_the_task_fails(tmp_path: Path) -> None:
    for where, status in ((tmp_path / "tasks" / "t1", "success"), (tmp_path / "file" / "t1", "failed")):
        (tmp_path / "file").touch()
        runner = DatabaseRunner()
        runner.parse_args("", json.dumps({"db_type": "sqlite", "database": "a.db", "sql": "SELECT 1"}))
        assert runner.execute(ExecutionContext(default_dir=where)).status == status
    assert (tmp_path / "tasks" / "t1" / "a.db").exists()


def test_rows_beyond_the_byte_limit_are_counted_but_not_returned(tmp_path: Path) -> None:
    found = json.loads(lite(tmp_path / "a.db", "VALUES ('aaaaaaaaaa'), ('b')", max_bytes=5).output)
    assert (found["row_count"], found["rows"], found["truncated"]) == (2, [], True)


def test_a_long_answer_leaves_the_output_whole(tmp_path: Path) -> None:
    """D1: with the usual limits rows are cut, and not the text of the document that holds them."""
    numbers = (
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 9000) SELECT i, 'abcdef' FROM n"
    )
    found = json.loads(output_for(lite(tmp_path / "a.db", numbers), Limits().output_limit))
    assert (found["row_count"], found["truncated"], found["rows"][0]["i"]) == (9000, True, 1)


@pytest.mark.peer("redis")
def test_long_answers_of_redis_are_cut_and_it_is_told(redis: peers.Peer) -> None:
    """D11."""
    fields = [word for number in range(4000) for word in (f"field-{number}", "x" * 20)]
    assert [ask(redis, "FLUSHDB"), ask(redis, "HSET", "h", *fields), ask(redis, "RPUSH", "l", *fields)] == [
        "OK",
        4000,
        8000,
    ]
    assert ask(redis, "SET", "s", "\n" * 60_000) == "OK"
    for words in (("HGETALL", "h"), ("LRANGE", "l", "0", "-1"), ("GET", "s")):
        result = run(redis, "redis", command=words[0], args=list(words[1:]))
        found = json.loads(output_for(result, Limits().output_limit))
        assert (found["command"], found["truncated"], len(found["result"]) > 1000) == (words[0], True, True)
    for words in (("LRANGE", "l", "-3", "-1"), ("LRANGE", "l", "2", "4"), ("LRANGE", "l", "-9000", "2")):
        result = run(redis, "redis", command=words[0], args=list(words[1:]), max_rows=2)
        assert json.loads(result.output)["truncated"]
        low = int(words[2]) if int(words[2]) >= 0 else max(8000 + int(words[2]), 0)
        assert json.loads(result.output)["result"] == fields[low : low + 2]
    assert len(json.loads(run(redis, "redis", command="KEYS", args=["*"], max_rows=2).output)["result"]) == 2
    assert ask(redis, "FLUSHDB") == "OK"


def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("shop.db")) as shop:
        shop.executescript("CREATE TABLE orders (id, state); INSERT INTO orders VALUES (1, 'open'), (2, 'paid');")
    text = re.findall(r"```json\n(.*?)```", (ROOT / "docs/runners/database.md").read_text(), re.DOTALL)[0]
    runner = DatabaseRunner()
    runner.parse_args("database", json.dumps(json.loads(text)["args"]))
    assert json.loads(runner.execute().output)["rows"] == [{"id": 1, "state": "open"}]
