"""The ``args`` of a database task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from adapters.runners.arguments import decode, need
from adapters.runners.output import ROOM
from domain.errors import InvalidTask
from domain.runner import ExecutionContext

PORTS = {"mysql": 3306, "postgresql": 5432, "redis": 6379, "sqlite": 0}
TLS = ("", "off", "prefer", "require", "verify")


@dataclass(frozen=True, slots=True)
class DatabaseArgs:
    db_type: str = ""
    credential_id: str = ""
    host: str = ""
    port: int = 0
    database: str = ""
    sql: str = ""
    params: Any = None
    command: str = ""
    args: list[str] = field(default_factory=list)
    max_rows: int = 0
    max_bytes: int = ROOM
    export_excel: bool = False
    export_csv: bool = False
    tls: str = ""
    ca_file: str = ""

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port if self.port > 0 else PORTS[self.db_type]

    @property
    def rows(self) -> int:
        return self.max_rows if self.max_rows > 0 else 10000


@dataclass(frozen=True, slots=True)
class Login:
    username: str = ""
    password: str = field(default="", repr=False)


def read(text: str) -> DatabaseArgs:
    """Raises InvalidTask."""
    args = decode(text, DatabaseArgs)
    need(args.db_type, "db_type")
    if args.db_type not in PORTS:
        raise InvalidTask(f"db_type must be one of {', '.join(PORTS)}, not {args.db_type!r}")
    if args.db_type != "sqlite":
        need(args.credential_id, "credential_id")
        need(args.host, "host")
    if args.db_type == "redis":
        need(args.command, "command")
    else:
        need(args.database, "database")
        need(args.sql, "sql")
    if args.max_rows > 100000:
        raise InvalidTask("max_rows must not be above 100000")
    if args.port > 65535 or args.max_bytes < 1:
        raise InvalidTask("port must be at most 65535, and max_bytes at least 1")
    if args.tls not in TLS:
        raise InvalidTask(f"tls must be one of {', '.join(TLS[1:])}, not {args.tls!r}")
    if args.export_excel and args.export_csv:
        raise InvalidTask("export_excel and export_csv exclude each other")
    return args


def login(args: DatabaseArgs, context: ExecutionContext) -> Login:
    """Fetched just in time. Raises InvalidTask, CoordinationError."""
    if args.db_type == "sqlite":
        return Login()
    if context.credentials is None:
        raise InvalidTask("credential_id: there is nowhere to get credentials from")
    credential = context.credentials.credential(args.credential_id)
    if credential.category != "username_password":
        raise InvalidTask(f"credential_id: a username_password credential is needed, not {credential.category}")
    user, password = credential.value.get("username", ""), credential.value.get("password")
    if args.db_type != "redis" and (not isinstance(user, str) or not user or not isinstance(password, str)):
        raise InvalidTask("credential_id: the credential holds no username, or no password")
    return Login(user if isinstance(user, str) else "", password if isinstance(password, str) else "")
