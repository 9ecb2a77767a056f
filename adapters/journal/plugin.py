"""The journals that ship."""

from __future__ import annotations

from adapters.journal.memory import MemoryJournal
from adapters.journal.sqlite import SqliteJournal
from adapters.plugin import JournalPlugin, Surroundings


def _open(around: Surroundings) -> SqliteJournal:
    journal = SqliteJournal(around.state_dir / "journal.sqlite")
    around.stack.callback(journal.close)
    return journal


sqlite = JournalPlugin("sqlite", _open)
memory = JournalPlugin("memory", lambda _: MemoryJournal())
