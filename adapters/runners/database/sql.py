"""Runs one SQL statement and gathers what it returned."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

from adapters.runners.database.classify import Statement
from adapters.runners.database.engines import Engine
from adapters.runners.database.rows import BATCH, Rows
from adapters.runners.database.session import CANCEL, Cancelled, Connecting
from adapters.runners.database.settings import DatabaseArgs
from domain.errors import WorkerError
from domain.runner import CancelRequest, CancelToken, ExecutionContext, Urgency

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
        plain_connection = engine.connect()
        try:
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
                output |= self._rows(result, statement, cancel)
            if statement.kind == "DML":
                count = output.get("row_count", result.rowcount)
                output["affected_rows"] = max(result.rowcount if result.rowcount >= 0 else count, 0)
                output["last_insert_id"] = 0 if self._args.db_type == "postgresql" else (result.lastrowid or 0)
            result.close()
            if connection.in_transaction() and self._args.db_type != "mysql":  # that one has committed by itself
                connection.commit()
        finally:
            with suppress(Exception):  # what has been done stays done, also where the line is gone
                plain_connection.close()
        return output | {"duration_ms": int((time.monotonic() - began) * 1000)}

    def _rows(self, result: Any, statement: Statement, cancel: CancelToken) -> dict[str, Any]:
        rows = Rows(self._args, self._context, cancel, changes=statement.changes)
        cursor = result.cursor
        if self._args.db_type != "mysql" or statement.streams:
            return rows.read(cursor.description, result.fetchmany)
        # Not by the result, which would close the cursor behind the first set, and swallow every later error.
        return rows.read(cursor.description, cursor.fetchmany) | rows.further(cursor)

    def _explain(self, error: Exception) -> str:
        cause = getattr(error, "orig", None) or error
        host, port = self._args.address
        where = self._args.database if self._args.db_type == "sqlite" else f"{host}:{port}"
        return f"{self._args.db_type} {where}: {cause}".strip()
