"""The history of the embedded schedule: what it keeps, what an end costs, and files of earlier versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.local import schema
from adapters.local.store import AT_ONCE, Run, Store
from domain.errors import JournalError

# As version 0 made it.
OLD = ";".join(schema.TABLES)


def ended(number: int) -> tuple[object, ...]:
    return (f"r{number}", "j", f"j-{number}", float(number), "success", float(number))


def fill(path: Path, count: int, first: int = 0) -> None:
    """Ended runs with ten bytes of log each, written past the store."""
    with closing(sqlite3.connect(path)) as db, db:
        numbers = range(first, first + count)
        db.executemany(
            "INSERT INTO runs (id, job, name, planned, status, ended) VALUES (?, ?, ?, ?, ?, ?)", map(ended, numbers)
        )
        db.executemany(
            "INSERT INTO logs (run, bytes, text) VALUES (?, 10, '0123456789')", [(f"r{it}",) for it in numbers]
        )


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "history.sqlite"
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(OLD)
        db.execute("PRAGMA journal_mode=WAL")
    return path


def run(number: int) -> Run:
    return Run(f"new{number}", "j", f"new-{number}", 1e9 + number, "pending", "", 0, "", None)


def one_run(store: Store, number: int, keep: int) -> None:
    """All that a run does to the history."""
    store.add(run(number))
    store.begin(f"new{number}", "w", 1.0)
    store.append_log(f"new{number}", "0123456789")
    with store.together():
        assert store.end(f"new{number}", "success", "", "", 2.0)
        store.trim(keep)
    store.recent(5)
    store.live()
    store.live("j")
    store.next_pending(0.0)
    store.known("new-1")


def steps(store: Store, number: int, keep: int) -> int:
    """How many instructions of its virtual machine SQLite takes for a run: it counts rows, and no time."""
    count = [0]

    def step() -> int:
        count[0] += 1
        return 0

    store._db.set_progress_handler(step, 1)
    one_run(store, number, keep)
    store._db.set_progress_handler(None, 1)
    return count[0]


def test_what_a_run_costs_does_not_depend_on_how_many_are_kept(tmp_path: Path) -> None:
    costs = []
    for count in (100, 20_000):
        store = Store(tmp_path / f"{count}.sqlite", logs=10 * count)
        fill(tmp_path / f"{count}.sqlite", count)
        one_run(store, 1, count)
        costs.append(steps(store, 2, count))
        assert store._db.execute("SELECT COUNT(*), SUM(log_bytes) FROM runs").fetchone() == (count, 10 * count)
        store.close()
    assert costs[1] <= costs[0] * 1.2


def test_no_statement_of_a_run_reads_a_whole_table(tmp_path: Path) -> None:
    store = Store(tmp_path / "h.sqlite", logs=100)
    fill(tmp_path / "h.sqlite", 50)
    statements: list[str] = []
    store._db.set_trace_callback(statements.append)
    one_run(store, 1, 40)
    store._db.set_trace_callback(None)
    asked = [it for it in statements if it.startswith(("SELECT", "UPDATE", "DELETE", "INSERT"))]
    assert len(asked) > 15
    for statement in asked:
        for *_, plan in store._db.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall():
            # One row of sums, and an index that is walked from its end as far as rows are asked for.
            walked = plan.startswith("SCAN") and "totals" not in plan and "LIMIT" not in statement
            assert not walked, (statement, plan)
            assert "TEMP B-TREE" not in plan or "status IN" in statement, (statement, plan)
    store.close()


def test_a_lowered_limit_is_reached_step_by_step(tmp_path: Path) -> None:
    store = Store(tmp_path / "h.sqlite")
    fill(tmp_path / "h.sqlite", 250)
    left = []
    for _ in range(4):
        store.trim(10)
        left.append(store._db.execute("SELECT COUNT(*) FROM runs").fetchone()[0])
    assert left == [250 - AT_ONCE, 250 - 2 * AT_ONCE, 10, 10]
    assert {it.id for it in store.recent(50)} == {f"r{number}" for number in range(240, 250)}
    assert store._db.execute("SELECT COUNT(*), (SELECT log_bytes FROM totals) FROM logs").fetchone() == (10, 100)
    store.close()


def test_ends_by_a_clock_that_was_ahead_do_not_push_out_those_that_come_after(tmp_path: Path) -> None:
    store = Store(tmp_path / "h.sqlite")
    for number, now in enumerate([2e9, 2e9 + 1, 2e9 + 2, 1e9, 1e9 + 1]):
        store.add(run(number))
        store.end(f"new{number}", "success", "", "", now)
        store.trim(2)
    assert {it.id for it in store.recent(9)} == {"new3", "new4"}
    store.close()


def test_a_log_of_many_parts_tells_its_size_without_adding_them_up(tmp_path: Path) -> None:
    store = Store(tmp_path / "h.sqlite")
    store.add(run(0))
    assert [store.append_log("new0", "日\n") for _ in range(3)] == [4, 8, 12]
    assert store.log_size("new0") == 12
    assert store.append_log("nobody", "x") == store.log_size("nobody") == 0
    store.close()


def test_a_file_of_an_earlier_version_is_completed_and_loses_nothing(old: Path) -> None:
    fill(old, 30)
    with closing(sqlite3.connect(old)) as db, db:
        db.execute(
            "INSERT INTO runs (id, job, name, planned, status, retry) VALUES ('p', 'j', 'j-p', 99, 'pending', 1)"
        )
        db.execute("INSERT INTO runs (id, job, name, planned, status) VALUES ('q', 'j', 'j-q', 99, 'running')")
        db.execute("INSERT INTO logs (run, bytes, text) VALUES ('q', 3, 'abc'), ('gone', 5, 'lost!')")
        db.execute("INSERT INTO jobs VALUES ('j', 29)")
    for _ in range(2):  # opening it again changes nothing
        store = Store(old, logs=103)
        assert {it.id for it in store.live()} == {"p", "q"}
        assert len(store.recent(99)) == 32
        assert (store.log("r7"), store.log_size("r7"), store.log("q"), store.seen("j")) == (
            "0123456789",
            10,
            "abc",
            29.0,
        )
        assert store._db.execute("SELECT log_bytes FROM totals").fetchone()[0] == 303
        store.close()
    store = Store(old, logs=103)
    store.trim(20)
    assert {it.id for it in store.recent(99)} == {"p", "q"} | {f"r{number}" for number in range(10, 30)}
    assert [bool(store.log(f"r{number}")) for number in range(10, 30)] == [False] * 10 + [True] * 10
    assert store.log("q") == "abc", "a run that is not over keeps its log"
    store.close()


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(old, 3)
    monkeypatch.setattr(schema, "SUMS", (*schema.SUMS[:7], "NO STATEMENT"))
    with pytest.raises(JournalError, match="cannot be opened"):
        Store(old)
    monkeypatch.undo()
    store = Store(old)
    assert [store.log_size(f"r{number}") for number in range(3)] == [10, 10, 10]
    store.close()


def test_an_earlier_version_may_use_the_file_in_between(old: Path) -> None:
    Store(old).close()
    fill(old, 5)  # with the statements of that version
    store = Store(old)
    assert store._db.execute("SELECT done, log_bytes FROM runs ORDER BY done").fetchall() == [
        (it, 10) for it in range(1, 6)
    ]
    store.close()


@pytest.fixture
def locked(old: Path) -> Iterator[Path]:
    with closing(sqlite3.connect(old, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield old


def test_a_file_that_is_in_use_is_not_called_damaged(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: connect(*args, timeout=0, **kwargs))
    with pytest.raises(JournalError, match="cannot be opened: database is locked"):
        Store(locked)
