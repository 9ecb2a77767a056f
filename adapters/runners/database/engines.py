"""One class per SQL engine: how to connect, how to end a running statement on the server, how to cut the line."""

from __future__ import annotations

import contextlib
import select
import socket
import sqlite3
import ssl
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from adapters.runners.database.session import CANCEL, CONNECT, Cancelled, cut
from adapters.runners.database.settings import DatabaseArgs, Login
from adapters.runners.database.values import mysql_conversions, plain, postgresql_loaders
from domain.errors import MissingExtra, WorkerError

if TYPE_CHECKING:
    from sqlalchemy import URL


NO_TLS = 2026  # the driver's number for a server without TLS
LONGEST = 2**31 - 1  # milliseconds that PostgreSQL takes for a limit, almost 25 days


class Engine(Protocol):
    """``connect`` runs on a thread that nobody may wait for; ``interrupt`` and ``cut`` on any thread."""

    url: URL

    def connect(self) -> Any: ...

    def interrupt(self, connection: Any) -> None: ...

    def cut(self, connection: Any) -> None: ...


def make(args: DatabaseArgs, login: Login, timeout: float | None, folder: Path) -> Engine:
    """Raises MissingExtra."""
    if args.db_type == "mysql":
        return MySql(args, login)
    if args.db_type == "postgresql":
        return PostgreSql(args, login, timeout)
    return Sqlite(folder / args.database)


def tls_context(args: DatabaseArgs) -> ssl.SSLContext:
    """A context that verifies only where the task says so: unlike in the web, most databases sign for themselves."""
    context = ssl.create_default_context(cafile=args.ca_file or None)
    if args.tls != "verify":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class MySql:
    def __init__(self, args: DatabaseArgs, login: Login) -> None:
        try:
            import pymysql
            import pymysql.cursors
        except ImportError:
            raise MissingExtra("a mysql task", "mysql") from None
        from sqlalchemy import URL

        self.url = URL.create("mysql+pymysql")
        self._driver = pymysql
        self._args, self._login = args, login
        self._guard = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._over = False

    def connect(self) -> Any:
        return self._open(CONNECT, self._args.database)

    def _open(self, limit: float, database: str | None) -> Any:
        try:
            return self._try(limit, database, secure=self._args.tls != "off")
        except self._driver.err.OperationalError as error:
            if error.args[0] != NO_TLS or self._args.tls not in ("", "prefer"):
                raise
        return self._try(limit, database, secure=False)

    def _try(self, limit: float, database: str | None, *, secure: bool) -> Any:
        host, port = self._args.address
        connection: Any = self._driver.connect(
            host=host,
            port=port,
            user=self._login.username,
            password=self._login.password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            conv=mysql_conversions(),
            local_infile=False,
            connect_timeout=limit,
            ssl=tls_context(self._args) if secure else None,
            ssl_disabled=not secure,
            defer_connect=True,
        )
        line = socket.create_connection((host, port), limit)
        with self._guard:
            self._sockets.append(line)
            if self._over and database is not None:  # the connection that cancels is made after that
                line.close()
                raise Cancelled("cancelled while connecting")
        connection._read_timeout = limit  # for the handshake only: statements have the task's own limit
        try:
            connection.connect(line)
        except BaseException:
            line.close()
            raise
        connection._read_timeout = None
        if self._args.tls in ("require", "verify") and not isinstance(connection._sock, ssl.SSLSocket):
            connection.close()
            raise WorkerError(f"tls is {self._args.tls}, but {host}:{port} offers none")
        connection._sock.settimeout(None)
        return connection

    def interrupt(self, connection: Any) -> None:
        with contextlib.closing(self._open(CANCEL, None)) as second, second.cursor() as cursor:
            cursor.execute(f"KILL QUERY {int(connection.thread_id())}")

    def cut(self, connection: Any) -> None:
        with self._guard:
            self._over = True
            sockets = tuple(self._sockets)
        for line in sockets:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        if connection is not None and connection._sock is not None:
            cut(connection._sock.fileno())


class PostgreSql:
    def __init__(self, args: DatabaseArgs, login: Login, timeout: float | None) -> None:
        try:
            import psycopg
        except ImportError:
            raise MissingExtra("a postgresql task", "postgres") from None
        from sqlalchemy import URL

        self.url = URL.create("postgresql+psycopg")
        self._driver = psycopg
        self._args, self._login, self._timeout = args, login, timeout
        self._over = threading.Event()

    def connect(self) -> Any:
        host, port = self._args.address
        mode = {"off": "disable", "require": "require", "verify": "verify-full"}.get(self._args.tls, "prefer")
        # Ends the statement even if this worker is gone by then; a little later than the worker itself would.
        limit = ""
        if self._timeout:
            limit = f"-c statement_timeout={int(min((self._timeout + CANCEL) * 1000, LONGEST))}"
        described = self._driver.conninfo.make_conninfo(
            host=host,
            port=port,
            user=self._login.username,
            password=self._login.password,
            dbname=self._args.database,
            sslmode=mode,
            sslrootcert=self._args.ca_file or ("system" if mode == "verify-full" else None),
            options=limit,
        )
        connection = self._driver.Connection(self._handshake(described))
        connection.prepare_threshold = 0  # the server takes exactly one statement in a text that it prepares
        for kind in (bool, int, float):
            connection.adapters.register_dumper(kind, self._untyped())
        postgresql_loaders(connection)
        return connection

    @staticmethod
    def _untyped() -> Any:
        """As the original's driver: the server takes the type from the place, so a number may meet a column of text."""
        from psycopg.adapt import Dumper

        class Untyped(Dumper):
            def dump(self, obj: Any) -> bytes:
                if isinstance(obj, float) and obj.is_integer():
                    obj = int(obj)
                return str(obj).lower().encode()

            quote = dump  # where the driver writes a number into a statement of its own

        return Untyped

    def _handshake(self, described: str) -> Any:
        """Connect in small waits: nothing else wakes a thread that a silent server keeps."""
        wanted = self._driver.pq.PollingStatus
        line = self._driver.pq.PGconn.connect_start(described.encode())
        until = time.monotonic() + CONNECT
        try:
            while (state := line.connect_poll()) != wanted.OK:
                if state == wanted.FAILED:
                    raise self._driver.OperationalError(f"connection failed: {line.get_error_message()}")
                poll = select.poll()
                poll.register(line.socket, select.POLLIN if state == wanted.READING else select.POLLOUT)
                while not poll.poll(100):
                    if self._over.is_set():
                        raise Cancelled("cancelled while connecting")
                    if time.monotonic() > until:
                        raise self._driver.OperationalError("connection failed: timeout")
        except BaseException:
            line.finish()
            raise
        line.nonblocking = 1  # as the driver wants it
        return line

    def interrupt(self, connection: Any) -> None:
        connection.cancel_safe(timeout=CANCEL)

    def cut(self, connection: Any) -> None:
        self._over.set()
        if connection is not None and not connection.closed:
            cut(connection.pgconn.socket)


class Sqlite:
    def __init__(self, path: Path) -> None:
        from sqlalchemy import URL

        self.url = URL.create("sqlite")
        self._path = path
        self._interrupted = threading.Event()

    def connect(self) -> Any:
        connection = sqlite3.connect(self._path, timeout=0, check_same_thread=False, factory=PatientConnection)
        connection.interrupted = self._interrupted
        connection.text_factory = plain  # a text that is no UTF-8 is no reason to fail
        connection.set_progress_handler(self._interrupted.is_set, 10_000)  # meets what begins after the interrupt, too
        return connection

    def interrupt(self, connection: Any) -> None:
        self._interrupted.set()
        connection.interrupt()

    def cut(self, connection: Any) -> None:
        """There is no line; interrupting is enough."""


class PatientConnection(sqlite3.Connection):
    """Waits for the locks of others as SQLite's own time-out would, but not a moment longer than it is to run.

    Statements are never part of a larger transaction here, so one that met a lock has changed nothing.
    """

    interrupted: threading.Event

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(PatientCursor)


class PatientCursor(sqlite3.Cursor):
    connection: PatientConnection

    def execute(self, sql: str, parameters: Any = (), /) -> PatientCursor:
        until = time.monotonic() + CONNECT
        while True:
            try:
                return super().execute(sql, parameters)
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > until or self.connection.interrupted.wait(0.05):
                    raise
