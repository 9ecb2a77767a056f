"""The journal in one SQLite file.

One connection behind one lock; callers that arrive together share one commit (the first one commits for all). WAL with
``synchronous=FULL``, so that what was acknowledged survives a power cut. After a failed sync nothing on that file is
trusted: the next write builds a new file from memory (G8). Checkpoints are made here, and not by SQLite behind a
commit, because there it takes a failed sync for a success.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from adapters.journal.entry_codec import decode_entry, encode_entry
from adapters.journal.replacement import ROWS, SIDES, begin_swap, dead_letters, finish_swap, rescue, sync_directory
from application.ports import Entry, Report
from domain.errors import ConfigError, JournalError

log = logging.getLogger("worker.journal")

VERSION = 2  # 1 had other words for a claim and a report; its records are read, and written anew when they change
CHECKPOINT = 200  # commits after which the write-ahead log is copied into the file
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (task_id TEXT PRIMARY KEY, entry TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letters (task_id TEXT, entry TEXT NOT NULL, why TEXT NOT NULL, buried_at REAL NOT NULL);
"""


Change = Callable[[Entry | None], Entry | None]


@dataclass(slots=True)
class _Write:
    """One change: from what the journal holds of a task to what it shall hold; None is no entry."""

    task_id: str
    change: Change
    why_dead: str = ""
    done: bool = False
    error: Exception | None = field(default=None)


class SqliteJournal:
    """Journal on ``path``. A damaged file is put aside, what can be read of it is kept (G9)."""

    def __init__(self, path: Path) -> None:
        """Raises JournalError where the file can be neither used nor replaced; then it is as it was."""
        self._path = path
        self._queue: list[_Write] = []
        self._queue_guard = threading.Lock()
        self._db_guard = threading.Lock()
        self._mirror: dict[str, Entry] = {}
        self._db: sqlite3.Connection | None = None
        self._distrusted: sqlite3.Connection | None = None
        self._commits = 0
        try:
            try:
                self._open()
            except sqlite3.DatabaseError as error:
                self._salvage(error)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"the journal {path} cannot be opened: {error}") from error

    def accept(self, entry: Entry) -> None:
        self._write(_Write(entry.task_id, lambda _: entry))

    def started(self, task_id: str) -> None:
        self._write(_Write(task_id, lambda old: old and replace(old, started=True)))

    def running(self, task_id: str, pid: int, pid_start: int, boot_id: str) -> None:
        def change(old: Entry | None) -> Entry | None:
            if old is None or old.phase == "finished":
                return old
            return replace(old, phase="running", pid=pid, pid_start=pid_start, boot_id=boot_id)

        self._write(_Write(task_id, change))

    def finish(self, task_id: str, report: Report, finished_at: float) -> None:
        self._write(
            _Write(task_id, lambda old: old and replace(old, phase="finished", report=report, finished_at=finished_at))
        )

    def forget(self, task_id: str) -> None:
        self._write(_Write(task_id, lambda _: None))

    def dead_letter(self, task_id: str, why: str) -> None:
        self._write(_Write(task_id, lambda _: None, why_dead=why))

    def entries(self) -> Sequence[Entry]:
        return list(self._mirror.values())

    def close(self) -> None:
        with self._db_guard:
            for db in (self._db, self._distrusted):
                if db is not None:
                    db.close()
            self._db = self._distrusted = None

    def _write(self, write: _Write) -> None:
        with self._queue_guard:
            self._queue.append(write)
        with self._db_guard:
            if not write.done:
                self._commit()
        if write.error is not None:
            raise JournalError(f"the journal {self._path} cannot be written: {write.error}") from write.error

    def _commit(self) -> None:
        """Write everything queued in one transaction. Caller holds the database."""
        with self._queue_guard:
            batch, self._queue = self._queue, []
        changed: dict[str, Entry | None] = {}
        error: Exception | None = None
        try:
            if self._db is None:
                self._rebuild()
            assert self._db is not None
            self._checkpoint(self._db)
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                for write in batch:
                    self._apply(self._db, write, changed)
        except (sqlite3.Error, OSError, ValueError) as failure:  # ValueError: text that is no Unicode
            error = failure
            if not _is_full(failure):
                self._distrust()
        for write in batch:
            write.done, write.error = True, error
        if error is None:
            merged = self._mirror | changed
            self._mirror = {task_id: entry for task_id, entry in merged.items() if entry is not None}

    def _checkpoint(self, db: sqlite3.Connection) -> None:
        """Before a commit, so that one on a file whose sync failed is never acknowledged."""
        self._commits += 1
        if self._commits % CHECKPOINT == 0:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _apply(self, db: sqlite3.Connection, write: _Write, changed: dict[str, Entry | None]) -> None:
        task_id = write.task_id
        old = changed[task_id] if task_id in changed else self._mirror.get(task_id)
        new = changed[task_id] = write.change(old)
        if write.why_dead:
            text = encode_entry(old) if old else "{}"
            db.execute("INSERT INTO dead_letters VALUES (?, ?, ?, ?)", (task_id, text, write.why_dead, time.time()))
        if new is None:
            db.execute("DELETE FROM entries WHERE task_id = ?", (task_id,))
        elif new is not old:
            db.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (task_id, encode_entry(new)))

    def _open(self) -> None:
        finish_swap(self._path)
        descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.close(descriptor)
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=5.0)
        try:
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found > VERSION:
                raise ConfigError(
                    f"{self._path} was written by a newer version of this program (format {found}, this one knows "
                    f"{VERSION}): start that version, or move the file away once its results are delivered"
                )
            if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("the integrity check failed")
            if db.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":  # how it tells of a failed sync here
                raise sqlite3.OperationalError("the write-ahead log could not be set up")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA wal_autocheckpoint=0")
            if found < VERSION:
                db.executescript(SCHEMA)
                db.execute(f"PRAGMA user_version={VERSION}")
            self._mirror = self._read(db)
            sync_directory(self._path.parent)  # SQLite does it too, but ignores a failure
        except BaseException:
            db.close()
            raise
        self._db = db

    def _read(self, db: sqlite3.Connection) -> dict[str, Entry]:
        known: dict[str, Entry] = {}
        for key, record in db.execute(ROWS).fetchall():
            try:
                entry = decode_entry(key, record)
            except (ValueError, TypeError, KeyError) as error:
                name, text = key.decode("utf-8", "replace"), record.decode("utf-8", "replace")
                log.error("a journal record is unreadable and put aside: %s", error, extra={"task": name})
                db.execute("INSERT INTO dead_letters VALUES (?, ?, ?, ?)", (name, text, "unreadable", time.time()))
                db.execute("DELETE FROM entries WHERE task_id = CAST(? AS TEXT)", (key,))
            else:
                known[entry.task_id] = entry
        return known

    def _salvage(self, error: Exception) -> None:
        """Put a damaged file aside, begin a new one with what can be read of it."""
        self._mirror = rescue(self._path)
        with self._db_guard:
            self._write_whole()  # first: on a full disk this fails, and nothing was touched
            aside = self._path.with_name(f"{self._path.name}.damaged-{time.time_ns()}")
            kept = len(self._mirror)
            log.error("%s is damaged (%s): %d records kept, file moved to %s", self._path, error, kept, aside.name)
            for suffix in ("", *SIDES):
                part = self._path.with_name(self._path.name + suffix)
                if part.exists():
                    os.replace(part, aside.with_name(aside.name + suffix))
            self._open()

    def _rebuild(self) -> None:
        """Write all that memory holds into a new file and put it in place. Caller holds the database."""
        self._write_whole()
        if self._distrusted is not None:
            self._distrusted.close()
            self._distrusted = None
        self._open()

    def _write_whole(self) -> None:
        """Make the file that takes the journal's place when it is next opened, also by the next run."""
        finish_swap(self._path)
        fresh = self._path.with_name(self._path.name + ".new")
        for suffix in ("", *SIDES):
            fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.close(descriptor)
        db = sqlite3.connect(fresh, isolation_level=None)
        try:
            db.execute("PRAGMA synchronous=FULL")
            db.executescript(SCHEMA)
            db.execute(f"PRAGMA user_version={VERSION}")
            with db:
                db.execute("BEGIN IMMEDIATE")
                rows = [(task_id, encode_entry(entry)) for task_id, entry in self._mirror.items()]
                db.executemany("INSERT INTO entries VALUES (?, ?)", rows)
                # What damage made a NULL of is no letter any more.
                db.executemany("INSERT OR IGNORE INTO dead_letters VALUES (?, ?, ?, ?)", dead_letters(self._path))
        finally:
            db.close()
        begin_swap(fresh, self._path)

    def _distrust(self) -> None:
        """Write nothing more into this file. It is closed only when its successor is there: closing checkpoints."""
        if self._db is not None:
            self._distrusted, self._db = self._db, None


def _is_full(error: Exception) -> bool:
    return "full" in str(error)
