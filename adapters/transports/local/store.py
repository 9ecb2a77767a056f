"""What the embedded schedule remembers: runs, their ends and their logs, in one SQLite file."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.errors import JournalError

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  id TEXT PRIMARY KEY, job TEXT NOT NULL, name TEXT NOT NULL, planned REAL NOT NULL, status TEXT NOT NULL,
  worker_id TEXT NOT NULL DEFAULT '', retry INTEGER NOT NULL DEFAULT 0, output TEXT NOT NULL DEFAULT '',
  error TEXT NOT NULL DEFAULT '', started REAL, ended REAL);
CREATE UNIQUE INDEX IF NOT EXISTS runs_by_name ON runs (name);
CREATE INDEX IF NOT EXISTS runs_by_state ON runs (status, planned);
CREATE INDEX IF NOT EXISTS runs_by_job ON runs (job, status);
CREATE TABLE IF NOT EXISTS logs (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL, bytes INTEGER NOT NULL, text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS logs_by_run ON logs (run, bytes);
CREATE TABLE IF NOT EXISTS jobs (name TEXT PRIMARY KEY, seen REAL NOT NULL);
"""
LOGS = 256 << 20


@dataclass(frozen=True, slots=True)
class Run:
    id: str
    job: str
    name: str
    planned: float
    status: str
    worker_id: str
    retry: int
    output: str
    ended: float | None


FIELDS = "id, job, name, planned, status, worker_id, retry, output, ended"


class Store:
    """One connection behind one lock; any thread. Times are seconds since 1970. Raises JournalError."""

    def __init__(self, path: Path, logs: int = LOGS) -> None:
        """``logs`` bytes of the runs' logs are kept, all together."""
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        self._guard = threading.RLock()
        self._path = path
        self._logs = logs
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise JournalError(f"{path}: is damaged ({error}); move it away to begin a new history") from None

    def add(self, run: Run) -> None:
        """Plan a run; one that was planned under this name already is left as it is."""
        self._do(
            "INSERT OR IGNORE INTO runs (id, job, name, planned, status, retry, ended) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (run.id, run.job, run.name, run.planned, run.status, run.retry, run.ended),
        )

    def get(self, run_id: str) -> Run | None:
        rows = self._do(f"SELECT {FIELDS} FROM runs WHERE id = ?", (run_id,))  # noqa: S608 - constant columns
        return Run(*rows[0]) if rows else None

    def live(self, job: str = "") -> list[Run]:
        """Runs that are not over, of one job or of all."""
        which, values = ("AND job = ?", (job,)) if job else ("", ())
        rows = self._do(
            f"SELECT {FIELDS} FROM runs WHERE status IN ('pending', 'running') {which} ORDER BY planned",  # noqa: S608
            values,
        )
        return [Run(*row) for row in rows]

    @contextmanager
    def together(self) -> Iterator[None]:
        """All changes of the block or, where it raises, none. Many jobs due at once cost one write to the disk."""
        with self._guard:
            self._do("BEGIN IMMEDIATE")
            try:
                yield
                self._do("COMMIT")
            except BaseException:
                self._do("ROLLBACK")
                raise

    def recent(self, limit: int) -> list[Run]:
        rows = self._do(f"SELECT {FIELDS} FROM runs ORDER BY planned DESC LIMIT ?", (limit,))  # noqa: S608
        return [Run(*row) for row in rows]

    def begin(self, run_id: str, worker_id: str, now: float) -> None:
        self._do(
            "UPDATE runs SET status = 'running', worker_id = ?, started = ? WHERE id = ? AND ended IS NULL",
            (worker_id, now, run_id),
        )

    def hand_back(self, run_id: str) -> None:
        self._do("UPDATE runs SET status = 'pending' WHERE id = ? AND ended IS NULL", (run_id,))

    def end(self, run_id: str, status: str, output: str, error: str, now: float) -> bool:
        """Set the end unless there is one already; returns whether it was set."""
        with self._guard:
            try:
                cursor = self._db.execute(
                    "UPDATE runs SET status = ?, output = ?, error = ?, ended = ? WHERE id = ? AND ended IS NULL",
                    (status, output, error, now, run_id),
                )
            except sqlite3.Error as failure:
                raise JournalError(f"{self._path}: {failure}") from None
            return cursor.rowcount > 0

    def next_pending(self, after: float) -> float | None:
        """When the first run that waits for its time may start."""
        rows = self._do("SELECT MIN(planned) FROM runs WHERE status = 'pending' AND planned > ?", (after,))
        return None if rows[0][0] is None else float(rows[0][0])

    def append_log(self, run_id: str, text: str) -> int:
        size = len(text.encode("utf-8", "replace"))
        self._do(
            "INSERT INTO logs (run, bytes, text) SELECT id, ?, ? FROM runs WHERE id = ?",
            (size, text.encode("utf-8", "replace").decode(), run_id),
        )
        return self.log_size(run_id)

    def replace_log(self, run_id: str, text: str) -> None:
        self._do("DELETE FROM logs WHERE run = ?", (run_id,))
        self.append_log(run_id, text)

    def log_size(self, run_id: str) -> int:
        return int(self._do("SELECT COALESCE(SUM(bytes), 0) FROM logs WHERE run = ?", (run_id,))[0][0])

    def log(self, run_id: str) -> str:
        return "".join(text for (text,) in self._do("SELECT text FROM logs WHERE run = ? ORDER BY id", (run_id,)))

    def seen(self, job: str) -> float | None:
        """The last planned moment of the job that was decided on."""
        rows = self._do("SELECT seen FROM jobs WHERE name = ?", (job,))
        return float(rows[0][0]) if rows else None

    def see(self, job: str, moment: float) -> None:
        self._do("INSERT OR REPLACE INTO jobs VALUES (?, ?)", (job, moment))

    def trim(self, keep: int) -> None:
        """Keep the latest ``keep`` ended runs, and of their logs the latest that fit."""
        old = self._do("SELECT id FROM runs WHERE ended IS NOT NULL ORDER BY ended DESC LIMIT -1 OFFSET ?", (keep,))
        for row in old:
            self._do("DELETE FROM runs WHERE id = ?", row)
            self._do("DELETE FROM logs WHERE run = ?", row)
        total = int(self._do("SELECT COALESCE(SUM(bytes), 0) FROM logs")[0][0])
        if total <= self._logs:
            return
        for (run_id,) in self._do("SELECT id FROM runs WHERE ended IS NOT NULL ORDER BY ended"):
            total -= self.log_size(run_id)
            self._do("DELETE FROM logs WHERE run = ?", (run_id,))
            if total <= self._logs:
                return

    def close(self) -> None:
        with self._guard:
            self._db.close()

    def _do(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._guard:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise JournalError(f"{self._path}: {error}") from None
