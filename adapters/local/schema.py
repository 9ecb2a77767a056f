"""The tables of the history, and how the file of an earlier version gets them."""

from __future__ import annotations

import sqlite3

VERSION = 1
TABLES = (
    """CREATE TABLE IF NOT EXISTS runs (
  id TEXT PRIMARY KEY, job TEXT NOT NULL, name TEXT NOT NULL, planned REAL NOT NULL, status TEXT NOT NULL,
  worker_id TEXT NOT NULL DEFAULT '', retry INTEGER NOT NULL DEFAULT 0, output TEXT NOT NULL DEFAULT '',
  error TEXT NOT NULL DEFAULT '', started REAL, ended REAL)""",
    "CREATE UNIQUE INDEX IF NOT EXISTS runs_by_name ON runs (name)",
    "CREATE INDEX IF NOT EXISTS runs_by_state ON runs (status, planned)",
    "CREATE INDEX IF NOT EXISTS runs_by_job ON runs (job, status)",
    """CREATE TABLE IF NOT EXISTS logs (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL, bytes INTEGER NOT NULL, text TEXT NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS logs_by_run ON logs (run, bytes)",
    "CREATE TABLE IF NOT EXISTS jobs (name TEXT PRIMARY KEY, seen REAL NOT NULL)",
)
# Version 1: what is kept is found without counting what there is. ``done`` numbers the ends in their order, without a
# gap and whatever the clock said; ``log_bytes`` and ``totals`` are sums that triggers keep, in the same transaction.
SUMS = (
    "ALTER TABLE runs ADD COLUMN done INTEGER",
    "ALTER TABLE runs ADD COLUMN log_bytes INTEGER NOT NULL DEFAULT 0",
    "DELETE FROM logs WHERE run NOT IN (SELECT id FROM runs)",
    """UPDATE runs SET log_bytes = (SELECT SUM(bytes) FROM logs WHERE run = runs.id)
  WHERE id IN (SELECT run FROM logs)""",
    """UPDATE runs SET done = found.place FROM (
  SELECT id, ROW_NUMBER() OVER (ORDER BY ended) AS place FROM runs WHERE ended IS NOT NULL) AS found
  WHERE runs.id = found.id""",
    "CREATE TABLE totals (log_bytes INTEGER NOT NULL)",
    "INSERT INTO totals SELECT COALESCE(SUM(log_bytes), 0) FROM runs",
    "CREATE INDEX runs_by_end ON runs (done)",
    "CREATE INDEX runs_by_plan ON runs (planned)",
    "CREATE INDEX runs_with_log ON runs (done) WHERE done IS NOT NULL AND log_bytes > 0",
    """CREATE TRIGGER run_added AFTER INSERT ON runs WHEN NEW.ended IS NOT NULL BEGIN
  UPDATE runs SET done = (SELECT COALESCE(MAX(done), 0) + 1 FROM runs) WHERE id = NEW.id; END""",
    """CREATE TRIGGER run_ended AFTER UPDATE OF ended ON runs WHEN NEW.ended IS NOT NULL AND OLD.ended IS NULL BEGIN
  UPDATE runs SET done = (SELECT COALESCE(MAX(done), 0) + 1 FROM runs) WHERE id = NEW.id; END""",
    """CREATE TRIGGER log_added AFTER INSERT ON logs BEGIN
  UPDATE runs SET log_bytes = log_bytes + NEW.bytes WHERE id = NEW.run;
  UPDATE totals SET log_bytes = log_bytes + NEW.bytes; END""",
    """CREATE TRIGGER log_removed AFTER DELETE ON logs BEGIN
  UPDATE runs SET log_bytes = log_bytes - OLD.bytes WHERE id = OLD.run;
  UPDATE totals SET log_bytes = log_bytes - OLD.bytes; END""",
    f"PRAGMA user_version = {VERSION}",
)


def upgrade(db: sqlite3.Connection) -> None:
    """Make or complete the tables; all or nothing. Raises sqlite3.Error."""
    if db.execute("PRAGMA user_version").fetchone()[0] >= VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for statement in (*TABLES, *SUMS):
            db.execute(statement)
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
