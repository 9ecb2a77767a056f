"""The runner of category ``database``."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapters.process.workdir import NoWorkingDirectory, prepare
from adapters.runners.base import BaseRunner
from adapters.runners.database import engines
from adapters.runners.database.classify import Statement, classify
from adapters.runners.database.export import check_excel
from adapters.runners.database.parameters import bind
from adapters.runners.database.settings import DatabaseArgs, Login, login, read
from domain.errors import MissingExtra
from domain.result import EndReason, Result
from domain.runner import ExecutionContext


class DatabaseRunner(BaseRunner):
    """One SQL statement or Redis command. A cancel ends it on the server, or cuts the connection."""

    def __init__(self) -> None:
        super().__init__()
        self._args = DatabaseArgs()
        self._statement = Statement("", "", streams=False)
        self._values: tuple[Any, ...] | None = None

    def parse_args(self, command: str, args: str) -> None:
        found = read(args)
        if found.db_type == "redis":
            from adapters.runners.database import redis

            redis.check(found.command, found.args)
            redis.database_number(found.database)
        else:
            statement = classify(found.sql, found.db_type)
            text, self._values = bind(found.sql, found.db_type, found.params)
            self._statement = replace(statement, text=text)
        self._args = found

    def run(self, context: ExecutionContext) -> Result:
        args, secret = self._args, login(self._args, context)
        where = args.database if args.db_type == "sqlite" else "{}:{}".format(*args.address)
        context.log(f"[DB] {args.db_type} {where}\n".encode())
        return self._redis(context, secret) if args.db_type == "redis" else self._sql(context, secret)

    def _sql(self, context: ExecutionContext, secret: Login) -> Result:
        try:
            import sqlalchemy  # noqa: F401
        except ImportError:
            raise MissingExtra("a database task", "sql") from None
        from adapters.runners.database.sql import SqlRun

        if self._args.export_excel:
            check_excel()
        try:
            folder = (prepare(context) if self._args.db_type == "sqlite" else None) or Path()
        except NoWorkingDirectory as error:
            return self.end(EndReason.NO_SUCH_DIRECTORY, error=str(error), exit_code=-1)
        engine = engines.make(self._args, secret, self.timeout, folder)
        output = SqlRun(engine, self._args, context).run(self._statement, self._values, self.cancel)
        if self.cancel.requested and not self._statement.changes:
            return self.cancelled()
        log = summary(output)
        context.log(f"[DB] {log}\n".encode())
        return self.end(EndReason.COMPLETED, output=json.dumps(output, ensure_ascii=False), log=log)

    def _redis(self, context: ExecutionContext, secret: Login) -> Result:
        from adapters.runners.database import redis

        command = redis.check(self._args.command, self._args.args)
        run = redis.RedisRun(self._args, secret, self.timeout)
        context.log(f"[DB] {' '.join((command.name, *command.shown))}\n".encode())
        if command.name == "FLUSHDB":
            context.log(b"[DB] warning: FLUSHDB removes every key of the database\n")
        began = time.monotonic()
        self.cancel.subscribe(run.end)
        try:
            answer, cut = run.run(command)
        finally:
            self.cancel.unsubscribe(run.end)
        if self.cancel.requested:
            return self.cancelled()
        spent = int((time.monotonic() - began) * 1000)
        document = {"command": command.name, "args": command.shown, "result": answer, "duration_ms": spent}
        document |= {"truncated": True} if cut else {}
        context.log(f"[DB] done in {spent} ms\n".encode())
        return self.end(
            EndReason.COMPLETED,
            output=json.dumps(document, ensure_ascii=False, indent=2),
            log=f"{command.name} done in {spent} ms",
        )


def summary(output: dict[str, Any]) -> str:
    """One line for a person."""
    if output["sql_type"] == "DML":
        return f"{output['affected_rows']} rows affected"
    if output["sql_type"] == "DQL":
        cut = ", cut" if output.get("truncated") else ""
        return f"{output.get('row_count', 0)} rows{cut}"
    return f"{output['sql_type']} statement done"
