"""Runs one SQL statement and gathers what it returned."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from adapters.runners.database.classify import Statement
from adapters.runners.database.engines import Engine
from adapters.runners.database.export import Export, open_export
from adapters.runners.database.session import CANCEL, Cancelled, Connecting
from adapters.runners.database.settings import DatabaseArgs
from adapters.runners.output import size
from domain.errors import MissingExtra, WorkerError
from domain.runner import CancelRequest, CancelToken, ExecutionContext, Urgency

BATCH = 200
Values = tuple[Any, ...] | None


class SqlRun:
    """One connection, one statement. ``end`` may be called on any thread and returns at once."""

    def __init__(self, engine: Engine, args: DatabaseArgs, context: ExecutionContext) -> None:
        self._engine, self._args, self._context = engine, args, context
        self._connection: Any = None
        self._connecting = Connecting(engine.connect, lambda late: late.close())
        self._closed = threading.Event()
        self._ending: list[threading.Thread] = []

    def run(self, statement: Statement, values: Values, cancel: CancelToken) -> dict[str, Any]:
        """Returns the output of the task. Raises WorkerError."""
        import sqlalchemy
        from sqlalchemy.pool import NullPool

        cancel.subscribe(self.end)
        try:
            self._connection = self._connecting.run()
            self._context.log(b"[DB] connected\n")
            engine = sqlalchemy.create_engine(
                self._engine.url, poolclass=NullPool, creator=lambda: self._connection, hide_parameters=True
            )
            try:
                return self._execute(engine, statement, values, cancel)
            finally:
                engine.dispose()
        except WorkerError:
            raise
        except Exception as error:  # noqa: BLE001 - the driver's errors, whichever it is
            if cancel.requested:
                raise Cancelled("cancelled") from None
            raise WorkerError(self._explain(error)) from None
        finally:
            self._closed.set()
            cancel.unsubscribe(self.end)
            for thread in self._ending:
                thread.join(2 * CANCEL)
            self._close()

    def end(self, request: CancelRequest) -> None:
        self._connecting.abandon()
        thread = threading.Thread(target=self._end, args=(request,), name="database-cancel", daemon=True)
        self._ending.append(thread)
        thread.start()

    def _end(self, request: CancelRequest) -> None:
        connection = self._connection
        if connection is not None and not self._closed.is_set():
            try:
                self._engine.interrupt(connection)
            except Exception as error:  # noqa: BLE001 - then the line is cut
                self._context.log(f"[DB] the server did not take the cancel: {type(error).__name__}\n".encode())
            if request.urgency is not Urgency.NOW and self._closed.wait(CANCEL):
                return
            if self._closed.wait(0.2):
                return
        self._engine.cut(connection)

    def _close(self) -> None:
        if self._connection is not None:
            try:
                self._connection.close()
            except Exception:  # noqa: BLE001, S110 - it may have been cut; there is nothing left to lose
                pass

    def _execute(self, engine: Any, statement: Statement, values: Values, cancel: CancelToken) -> dict[str, Any]:
        began = time.monotonic()
        with engine.connect() as plain_connection:
            options: dict[str, Any] = {"no_parameters": values is None}
            if statement.streams and self._args.db_type != "sqlite":
                options |= {"stream_results": True, "max_row_buffer": BATCH}
            elif self._args.db_type != "mysql":
                options["isolation_level"] = "AUTOCOMMIT"
            if cancel.requested:
                raise Cancelled("cancelled")
            connection = plain_connection.execution_options(**options)
            result = connection.exec_driver_sql(statement.text, values)
            output: dict[str, Any] = {"sql_type": statement.kind}
            if result.returns_rows:
                output |= self._read(result, cancel)
            if statement.kind == "DML":
                count = output.get("row_count", result.rowcount)
                output["affected_rows"] = max(result.rowcount if result.rowcount >= 0 else count, 0)
                output["last_insert_id"] = 0 if self._args.db_type == "postgresql" else (result.lastrowid or 0)
            result.close()
            if connection.in_transaction():
                connection.commit()
        return output | {"duration_ms": int((time.monotonic() - began) * 1000)}

    def _read(self, result: Any, cancel: CancelToken) -> dict[str, Any]:
        columns = unique([str(entry[0]) for entry in result.cursor.description])
        rows: list[dict[str, Any]] = []
        used = count = 0
        truncated = full = False
        export: Export | None = None
        try:
            while not truncated and (batch := result.fetchmany(BATCH)):
                if cancel.requested:
                    raise Cancelled("cancelled")
                for values in batch:
                    if count == self._args.rows:
                        truncated = True
                        break
                    count += 1
                    cells = [plain(value) for value in values]
                    if export is None and (self._args.export_excel or self._args.export_csv):
                        export = self._open_export(columns)
                    if export is not None:
                        export.row(cells)
                    row = dict(zip(columns, cells, strict=True))
                    used += 0 if full else size(row)
                    full = full or used > self._args.max_bytes
                    if not full:
                        rows.append(row)
        finally:
            if export is not None:
                export.close()
        found = {"row_count": count, "columns": columns, "rows": rows, "truncated": truncated or full}
        return found | ({"export_file": str(export.path)} if export is not None else {})

    def _open_export(self, columns: Sequence[str]) -> Export:
        kind = "csv" if self._args.export_csv else "xlsx"
        try:
            return open_export(kind, self._context.task_id, columns, datetime.now().astimezone())
        except MissingExtra:
            raise
        except OSError as error:
            raise WorkerError(f"export: {error}") from None

    def _explain(self, error: Exception) -> str:
        cause = getattr(error, "orig", None) or error
        host, port = self._args.address
        where = self._args.database if self._args.db_type == "sqlite" else f"{host}:{port}"
        return f"{self._args.db_type} {where}: {cause}".strip()


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


def plain(value: Any) -> Any:
    """A value that JSON can hold; bytes that are no text become ``{"base64": ...}`` as text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        raw = bytes(value)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "base64:" + base64.b64encode(raw).decode()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return str(value)
