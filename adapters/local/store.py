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

from adapters.local.schema import upgrade
from domain.errors import JournalError

LOGS = 256 << 20
AT_ONCE = 100  # runs that one end may remove from the history, so that none takes long


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


OLDEST_LOG = "SELECT id FROM runs WHERE done IS NOT NULL AND log_bytes > 0 ORDER BY done LIMIT 1"
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
            upgrade(self._db)
        except sqlite3.OperationalError as error:  # locked, or the disk is full: there is nothing wrong with the file
            self._db.close()
            raise JournalError(f"{path}: cannot be opened: {error}") from None
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
        """All changes of the block or, where it raises, none; one write to the disk. Blocks may be nested."""
        with self._guard:
            if self._begun():
                yield
                return
            self._do("BEGIN IMMEDIATE")
            try:
                yield
                self._do("COMMIT")
            except BaseException:
                if self._begun():  # SQLite ends it by itself where the disk is full
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

    def log_size(self, run_id: str) -> int:
        rows = self._do("SELECT log_bytes FROM runs WHERE id = ?", (run_id,))
        return int(rows[0][0]) if rows else 0

    def log(self, run_id: str) -> str:
        return "".join(text for (text,) in self._do("SELECT text FROM logs WHERE run = ? ORDER BY id", (run_id,)))

    def seen(self, job: str) -> float | None:
        """The last planned moment of the job that was decided on."""
        rows = self._do("SELECT seen FROM jobs WHERE name = ?", (job,))
        return float(rows[0][0]) if rows else None

    def see(self, job: str, moment: float) -> None:
        self._do("INSERT OR REPLACE INTO jobs VALUES (?, ?)", (job, moment))

    def known(self, name: str) -> bool:
        """Whether a run of this name was planned."""
        return bool(self._do("SELECT 1 FROM runs WHERE name = ?", (name,)))

    def plan_for(self, run_id: str, planned: float) -> None:
        self._do("UPDATE runs SET planned = ? WHERE id = ? AND status = 'pending'", (planned, run_id))

    def trim(self, keep: int) -> None:
        """Keep the latest ``keep`` ended runs, and of their logs the latest that fit.

        What it costs depends on what there is to remove, and not on what is kept. Of many runs too many, as when
        ``keep`` was lowered, each call removes some.
        """
        with self.together():
            last = self._do("SELECT MAX(done) FROM runs")[0][0] or 0
            for row in self._do("SELECT id FROM runs WHERE done <= ? ORDER BY done LIMIT ?", (last - keep, AT_ONCE)):
                self._do("DELETE FROM logs WHERE run = ?", row)
                self._do("DELETE FROM runs WHERE id = ?", row)
            while self._do("SELECT log_bytes FROM totals")[0][0] > self._logs:
                oldest = self._do(OLDEST_LOG)
                if not oldest:
                    return
                self._do("DELETE FROM logs WHERE run = ?", oldest[0])

    def close(self) -> None:
        with self._guard:
            self._db.close()

    def _begun(self) -> bool:
        return self._db.in_transaction

    def _do(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._guard:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise JournalError(f"{self._path}: {error}") from None
