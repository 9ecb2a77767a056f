"""Rows in a file for people."""

from __future__ import annotations

import csv
import zipfile
from datetime import datetime
from pathlib import Path

import pytest

from adapters.runners.database.export import open_export

NOW = datetime(2024, 2, 29, 12, 30, 45)  # noqa: DTZ001 - the name holds the local time as it is


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRONJOB_EXPORT_DIR", str(tmp_path))
    return tmp_path


def test_a_file_is_named_after_task_and_time_and_is_private(place: Path) -> None:
    export = open_export("csv", "t/../1", ["a"], NOW)
    export.close()
    assert export.path == place / "202402" / "t____1_20240229_123045.csv"
    assert export.path.stat().st_mode & 0o777 == 0o600


def test_no_file_is_written_over(place: Path) -> None:
    paths = []
    for _ in range(3):
        export = open_export("csv", "", ["a"], NOW)
        export.close()
        paths.append(export.path.name)
    assert paths == [f"task_20240229_123045{end}.csv" for end in ("", "_2", "_3")]


def test_a_link_that_stands_there_already_is_not_written_to(place: Path) -> None:
    (place / "202402").mkdir()
    (place / "202402" / "t_20240229_123045.csv").symlink_to(place / "victim")
    open_export("csv", "t", ["a"], NOW).close()
    assert not (place / "victim").exists()


def test_a_csv_keeps_commas_quotes_and_line_breaks() -> None:
    export = open_export("csv", "t", ["a", "b"], NOW)
    for row in (["x,y", 'say "hi"'], [None, "two\nlines"]):
        export.row(row)
    export.close()
    with export.path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["a", "b"], ["x,y", 'say "hi"'], ["", "two\nlines"]]


def test_a_sheet_has_numbers_as_numbers_and_no_text_as_a_formula() -> None:
    export = open_export("xlsx", "t", ["a", "b", "c", "d"], NOW)
    export.row([1, 2**60, "=1+1", "x" * 40_000])
    export.close()
    with zipfile.ZipFile(export.path) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert '<c r="A2"><v>1</v></c>' in sheet
    assert str(2**60) in sheet
    assert "<f>" not in sheet
    assert "x" * 32_767 in sheet
    assert "x" * 32_768 not in sheet
