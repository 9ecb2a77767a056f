"""Gathers what a statement returned, within the limits of its task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from adapters.runners.database.export import Export, open_export
from adapters.runners.database.session import Cancelled
from adapters.runners.database.settings import DatabaseArgs
from adapters.runners.database.values import plain
from adapters.runners.output import size
from domain.errors import WorkerError
from domain.runner import CancelToken, ExecutionContext

BATCH = 200
Fetch = Callable[[int], Sequence[Sequence[Any]]]


class Rows:
    """The result sets of one statement, each cut at the task's rows, together at its bytes.

    ``changes``: the statement is in effect already. Then neither a cancel nor an export can make the task fail: who
    tries it again would do its work twice.
    """

    def __init__(self, args: DatabaseArgs, context: ExecutionContext, cancel: CancelToken, *, changes: bool) -> None:
        self._args, self._context, self._cancel, self._changes = args, context, cancel, changes
        self._left = args.max_bytes

    def read(self, description: Sequence[Sequence[Any]], fetch: Fetch) -> dict[str, Any]:
        """One result set, as the task's output tells it. Raises Cancelled, WorkerError, and the driver's errors."""
        columns = unique([str(entry[0]) for entry in description])
        sheet = _Sheet(self._args, self._context, columns, must=not self._changes)
        rows: list[dict[str, Any]] = []
        count = 0
        truncated = False
        try:
            while not truncated and (batch := fetch(BATCH)):
                if self._cancel.requested and not self._changes:
                    raise Cancelled("cancelled")
                for values in batch:
                    if count == self._args.rows:
                        truncated = True
                        break
                    count += 1
                    cells = [plain(value) for value in values]
                    sheet.row(cells)
                    row = dict(zip(columns, cells, strict=True))
                    if self._fits(row):
                        rows.append(row)
        finally:
            sheet.close()
        found = {"row_count": count, "columns": columns, "rows": rows, "truncated": truncated or len(rows) < count}
        return found | sheet.told

    def further(self, cursor: Any) -> dict[str, Any]:
        """What a procedure of MySQL returns behind its first result set; an error that comes later is raised here."""
        sets, count = [], 1
        while cursor.nextset():
            if cursor.description is None:
                continue  # how the procedure ended
            count += 1
            found = self.read(cursor.description, cursor.fetchmany)
            if self._fits(found | {"rows": []}):
                sets.append(found)
        if count == 1:
            return {}
        return {"result_sets": count, "more_results": sets} | ({"truncated": True} if len(sets) + 1 < count else {})

    def _fits(self, part: Any) -> bool:
        """Whether the output has room for it; for nothing behind the first part that it has no room for."""
        self._left -= size(part) if self._left >= 0 else 0
        return self._left >= 0


class _Sheet:
    """The exported file of one result set, which begins with its first row. ``must``: its failure is the task's."""

    def __init__(self, args: DatabaseArgs, context: ExecutionContext, columns: Sequence[str], *, must: bool) -> None:
        self._kind = "csv" if args.export_csv else "xlsx" if args.export_excel else ""
        self._context, self._columns, self._must = context, columns, must
        self._export: Export | None = None
        self.told: dict[str, str] = {}

    def row(self, cells: Sequence[Any]) -> None:
        if not self._kind:
            return
        try:
            if self._export is None:
                now = datetime.now().astimezone()
                self._export = open_export(self._kind, self._context.task_id, self._columns, now)
            self._export.row(cells)
        except Exception as error:  # noqa: BLE001 - the system's errors and those of the format's library
            self._failed(error)

    def close(self) -> None:
        if self._export is None:
            return
        try:
            self._export.close()
            self.told = self.told or {"export_file": str(self._export.path)}
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if self._must:
            raise WorkerError(f"export: {error}") from None
        self._kind = ""
        self.told = {"export_error": str(error)}
        self._context.log(f"[DB] warning: the statement was executed, but its rows not exported: {error}\n".encode())


def unique(names: list[str]) -> list[str]:
    """Names of columns with a number behind a repeated one, so that no value hides another (D6)."""
    taken: set[str] = set()
    found = []
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate)
        found.append(candidate)
    return found
