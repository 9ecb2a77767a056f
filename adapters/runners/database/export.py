"""Writes rows to an Excel or CSV file as they arrive."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from domain.errors import MissingExtra

CELL_CHARACTERS = 32767  # the limit of the Excel format


class Export(Protocol):
    path: Path

    def row(self, values: Sequence[Any]) -> None: ...

    def close(self) -> None: ...


def check_excel() -> None:
    """Raises MissingExtra; asked before the statement is executed."""
    try:
        import xlsxwriter  # noqa: F401
    except ImportError:
        raise MissingExtra("export_excel", "sql") from None


def open_export(kind: str, task_id: str, columns: Sequence[str], now: datetime) -> Export:
    """A new file below ``CRONJOB_EXPORT_DIR`` (or ./exports), never over an old one. Raises OSError."""
    folder = Path(os.environ.get("CRONJOB_EXPORT_DIR") or "exports") / now.strftime("%Y%m")
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{re.sub(r'[^A-Za-z0-9-]', '_', task_id) or 'task'}_{now.strftime('%Y%m%d_%H%M%S')}"
    for number in range(1, 1000):
        path = (folder / f"{stem}{'' if number == 1 else f'_{number}'}.{kind}").absolute()
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, 0o600))
        except FileExistsError:
            continue
        return Csv(path, columns) if kind == "csv" else Excel(path, columns)
    raise FileExistsError(f"{folder}/{stem}: too many exports")


class Csv:
    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerow(columns)

    def row(self, values: Sequence[Any]) -> None:
        self._writer.writerow(["" if value is None else value for value in values])

    def close(self) -> None:
        self._file.close()


class Excel:
    """In constant memory: rows go to disk as they come."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        import xlsxwriter

        self.path = path
        self._book = xlsxwriter.Workbook(
            str(path), {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
        )
        self._sheet = self._book.add_worksheet("Sheet1")
        head = self._book.add_format({"bold": True, "font_size": 11, "bg_color": "#E0E0E0", "align": "center"})
        self._sheet.set_column(0, max(len(columns) - 1, 0), 15)
        for at, name in enumerate(columns):
            self._sheet.write_string(0, at, name, head)
        self._next = 1

    def row(self, values: Sequence[Any]) -> None:
        for at, value in enumerate(values):
            if isinstance(value, bool) or (isinstance(value, (int, float)) and abs(value) < 2**53):
                self._sheet.write(self._next, at, value)
            elif value is not None:
                self._sheet.write_string(self._next, at, str(value)[:CELL_CHARACTERS])
        self._next += 1

    def close(self) -> None:
        self._book.close()
