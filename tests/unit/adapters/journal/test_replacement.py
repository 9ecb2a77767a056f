"""The journal's file is replaced at one moment, or not at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapters.journal.entry_codec import encode_entry
from adapters.journal.replacement import SIDES, begin_swap, dead_letters, finish_swap, rescue
from application.ports import Entry


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with its side files."""
    for suffix in ("", *SIDES):
        (tmp_path / f"journal{suffix}").write_text("old")
    return tmp_path / "journal"


def files(path: Path) -> dict[str, str]:
    return {found.name: found.read_text() for found in path.parent.iterdir()}


def test_the_new_file_is_the_journal_from_the_first_step_on(path: Path) -> None:
    old = files(path)
    (path.parent / "fresh").write_text("new")
    begin_swap(path.parent / "fresh", path)
    assert files(path) == old | {"journal.ready": "new"}
    finish_swap(path)
    assert files(path) == {"journal": "new"}
    finish_swap(path)
    assert files(path) == {"journal": "new"}


@pytest.mark.parametrize("gone", range(len(SIDES) + 1))
def test_a_swap_is_finished_wherever_it_was_cut_off(path: Path, gone: int) -> None:
    (path.parent / "journal.ready").write_text("new")
    for suffix in SIDES[:gone]:
        (path.parent / f"journal{suffix}").unlink()
    finish_swap(path)
    assert files(path) == {"journal": "new"}


def test_without_a_new_file_nothing_is_touched(path: Path) -> None:
    old = files(path)
    finish_swap(path)
    with pytest.raises(OSError, match="fresh"):
        begin_swap(path.parent / "fresh", path)
    assert files(path) == old


def test_the_good_records_beside_a_bad_one_are_kept(tmp_path: Path) -> None:  # G9
    path = tmp_path / "damaged"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE entries (task_id TEXT, entry TEXT)")
        for name in ("a", "b", "d"):
            db.execute("INSERT INTO entries VALUES (?, ?)", (name, encode_entry(Entry(name, "accepted"))))
        db.execute("INSERT INTO entries VALUES ('c', 'nonsense')")
        db.execute("INSERT INTO entries VALUES (NULL, NULL)")
        db.execute("INSERT INTO entries VALUES (CAST(x'ff' AS TEXT), CAST(x'ff' AS TEXT))")
        db.commit()
    assert sorted(rescue(path)) == ["a", "b", "d"]


@pytest.mark.parametrize("content", [b"", b"no database at all, but long enough to be looked into" * 20])
def test_a_file_that_is_no_journal_has_no_records_and_no_letters(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(content)
    assert rescue(path) == {}
    assert list(dead_letters(path)) == []
    assert path.read_bytes() == content
    assert list(dead_letters(tmp_path / "missing")) == []
    assert not (tmp_path / "missing").exists()
