"""Replacing the journal's file by another one at one moment, and reading what a damaged one still gives.

A database in WAL mode is two files, and no call replaces both. So the new file first gets the name ``.ready``: from
then on it is the journal, and whoever finds it finishes the swap.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from adapters.journal.entry_codec import decode_entry
from application.ports import Entry

SIDES = ("-wal", "-shm", "-journal")
# As bytes: a flipped bit may have made a text that is not UTF-8, which would end the whole reading.
ROWS = "SELECT CAST(task_id AS BLOB), CAST(entry AS BLOB) FROM entries"


def begin_swap(fresh: Path, path: Path) -> None:
    """Make ``fresh``, complete and synced, the journal in the place of ``path``; ``finish_swap`` gives it the name.

    Raises OSError; then nothing was changed.
    """
    os.replace(fresh, _ready(path))
    sync_directory(path.parent)


def finish_swap(path: Path) -> None:
    """Complete what a crash interrupted. Raises OSError."""
    if not _ready(path).exists():
        return
    for suffix in SIDES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    # What was removed must be gone before the new file has its name, or it would be read with the old one's WAL.
    sync_directory(path.parent)
    os.replace(_ready(path), path)
    sync_directory(path.parent)


def dead_letters(path: Path) -> Iterator[tuple[object, ...]]:
    """What people may still want to read; a damaged or missing file costs letters only."""
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            yield from db.execute("SELECT * FROM dead_letters")
        finally:
            db.close()
    except sqlite3.Error:
        pass


def rescue(path: Path) -> dict[str, Entry]:
    """The good entries on both sides of what is damaged. Never raises for what is in the file."""
    kept: dict[str, Entry] = {}
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        for order in ("ASC", "DESC"):
            _collect(db, order, kept)
    finally:
        db.close()
    return kept


def _collect(db: sqlite3.Connection, order: str, kept: dict[str, Entry]) -> None:
    try:
        for key, record in db.execute(f"{ROWS} ORDER BY task_id {order}"):
            try:
                entry = decode_entry(key, record)
            except (ValueError, TypeError, KeyError):
                continue
            kept[entry.task_id] = entry
    except sqlite3.Error:
        pass


def _ready(path: Path) -> Path:
    return path.with_name(path.name + ".ready")


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
