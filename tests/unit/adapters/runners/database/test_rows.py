"""What a statement returned, within the limits of its task."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.runners.database.rows import BATCH, Rows, unique
from adapters.runners.database.session import Cancelled
from adapters.runners.database.settings import DatabaseArgs
from domain.errors import WorkerError
from domain.result import EndReason
from domain.runner import CancelRequest, CancelToken, ExecutionContext


class Cursor:
    """Result sets one after the other; None is one without rows."""

    def __init__(self, *sets: Sequence[Sequence[Any]] | None) -> None:
        self._sets = list(sets)
        self._rows: list[Sequence[Any]] = []
        self.asked = 0
        self.description: list[tuple[str]] | None = None

    def nextset(self) -> bool:
        if not self._sets:
            return False
        rows = self._sets.pop(0)
        self._rows = list(rows or [])
        self.description = None if rows is None else [("a",)]
        return True

    def fetchmany(self, count: int) -> list[Sequence[Any]]:
        self.asked += 1
        found, self._rows = self._rows[:count], self._rows[count:]
        return found


def read(args: DatabaseArgs, rows: Sequence[Sequence[Any]], *, changes: bool = False, **context: Any) -> dict[str, Any]:
    cursor = Cursor(rows)
    cursor.nextset()
    made = Rows(args, ExecutionContext(task_id="t", **context), CancelToken(), changes=changes)
    return made.read([("a",)], cursor.fetchmany)


def test_rows_are_objects_by_their_columns() -> None:
    found = read(DatabaseArgs(), [(1,), (b"x",)])
    assert found == {"row_count": 2, "columns": ["a"], "rows": [{"a": 1}, {"a": "x"}], "truncated": False}


@pytest.mark.parametrize(("there", "cut"), [(3, False), (4, True)])
def test_only_what_is_beyond_the_limit_is_cut(there: int, cut: bool) -> None:
    found = read(DatabaseArgs(max_rows=3), [(at,) for at in range(there)])
    assert (found["row_count"], len(found["rows"]), found["truncated"]) == (3, 3, cut)


def test_rows_beyond_the_bytes_are_counted_and_nothing_behind_the_first_of_them_is_told() -> None:
    found = read(DatabaseArgs(max_bytes=40), [("x",), ("y" * 100,), ("z",)])
    assert (found["row_count"], found["rows"], found["truncated"]) == (3, [{"a": "x"}], True)


@pytest.mark.parametrize("changes", [False, True])
def test_a_cancel_ends_a_query_but_not_a_change_that_is_in_effect(changes: bool) -> None:
    token, cursor = CancelToken(), Cursor([(1,)] * (BATCH + 1))
    cursor.nextset()
    token.cancel(CancelRequest(EndReason.STOPPED))
    rows = Rows(DatabaseArgs(), ExecutionContext(), token, changes=changes)
    if changes:
        assert rows.read([("a",)], cursor.fetchmany)["row_count"] == BATCH + 1
    else:
        with pytest.raises(Cancelled):
            rows.read([("a",)], cursor.fetchmany)
        assert cursor.asked == 1


def test_the_whole_result_is_exported_also_what_the_output_has_no_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRONJOB_EXPORT_DIR", str(tmp_path))
    found = read(DatabaseArgs(export_csv=True, max_bytes=1), [("x",), ("y",)])
    assert found["rows"] == []
    with Path(found["export_file"]).open(newline="") as file:
        assert list(csv.reader(file)) == [["a"], ["x"], ["y"]]


@pytest.mark.parametrize("changes", [False, True])
def test_an_export_that_fails_is_the_tasks_failure_only_where_it_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: bool
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CRONJOB_EXPORT_DIR", str(tmp_path / "file"))
    logged: list[bytes] = []
    if not changes:
        with pytest.raises(WorkerError, match="export"):
            read(DatabaseArgs(export_csv=True), [("x",)])
        return
    found = read(DatabaseArgs(export_csv=True), [("x",), ("y",)], changes=True, log=logged.append)
    assert (found["row_count"], "Not a directory" in found["export_error"]) == (2, True)
    assert len(logged) == 1


def test_further_result_sets_of_a_procedure_are_told_and_its_end_is_none() -> None:
    rows = Rows(DatabaseArgs(), ExecutionContext(), CancelToken(), changes=True)
    found = rows.further(Cursor([(1,)], [(2,)], None))
    assert found["result_sets"] == 3
    assert [one["rows"] for one in found["more_results"]] == [[{"a": 1}], [{"a": 2}]]
    assert rows.further(Cursor(None)) == {}


def test_result_sets_that_the_output_has_no_room_for_are_counted() -> None:
    rows = Rows(DatabaseArgs(max_bytes=1), ExecutionContext(), CancelToken(), changes=True)
    assert rows.further(Cursor([(1,)], [(2,)])) == {"result_sets": 3, "more_results": [], "truncated": True}


def test_no_value_hides_another_of_the_same_column() -> None:
    assert unique(["a", "a", "a_2", "a"]) == ["a", "a_2", "a_2_2", "a_3"]
    names = unique(["id", "id", "name"])
    assert json.dumps(dict(zip(names, (1, 2, "x"), strict=True))) == '{"id": 1, "id_2": 2, "name": "x"}'
