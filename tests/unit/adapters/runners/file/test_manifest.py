"""Which backup of a series holds which file."""

from __future__ import annotations

import gzip
import io
import json
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from adapters.runners.file.local import LocalFiles
from adapters.runners.file.manifest import Everything, Manifest, kept
from adapters.runners.file.ports import Found

LONG_AGO = 1_000_000_000
SOURCE = Path("/source")
Make = Callable[..., list[str]]


def info(size: int = 1, mtime: int = LONG_AGO, ctime: float = LONG_AGO + 0.5, inode: int = 1) -> os.stat_result:
    times = {"st_mtime_ns": mtime * 10**9, "st_ctime_ns": int(ctime * 10**9), "st_ctime": ctime}
    return os.stat_result((0o100644, inode, 0, 1, 0, 0, size, mtime, mtime, int(ctime)), times)


def entry(name: str, about: os.stat_result) -> Found:
    return Found(SOURCE / name, name, -1, about)


@pytest.fixture
def backup(files: LocalFiles, tmp_path: Path) -> Make:
    """Make a backup of a series of files; returns the names that went into it."""

    def make(
        name: str, there: dict[str, os.stat_result], standing: Collection[str] = (), source: Path = SOURCE,
        said: list[str] | None = None,
    ) -> list[str]:  # fmt: skip
        say = (lambda _: None) if said is None else said.append
        packed = []
        with kept(files, tmp_path / "manifest.gz", source, name, standing, say) as manifest:
            for one, about in there.items():
                if manifest.wanted(one, entry(one, about)):
                    packed.append(one)
                    manifest.packed(one, about)
        return packed

    return make


def test_a_file_that_a_standing_backup_holds_is_not_packed_again(backup: Make) -> None:
    there = {"a": info(), "b": info(inode=2)}
    assert backup("one", there) == ["a", "b"]
    assert backup("two", there | {"c": info(inode=3)}, ["one"]) == ["c"]
    assert backup("three", there | {"c": info(inode=3)}, ["one", "two"]) == []


@pytest.mark.parametrize(
    "now",
    [info(size=2), info(mtime=LONG_AGO - 9), info(ctime=LONG_AGO + 9), info(inode=9)],
    ids=["size", "mtime", "ctime", "inode"],
)
def test_whatever_of_a_file_is_different_shows_a_change(backup: Make, now: os.stat_result) -> None:
    backup("one", {"a": info()})
    assert backup("two", {"a": now}, ["one"]) == ["a"]


def test_what_lies_in_a_backup_that_is_gone_is_packed_again(backup: Make) -> None:
    backup("one", {"a": info()})
    backup("two", {"a": info(), "b": info(inode=2)}, ["one"])
    assert backup("three", {"a": info(), "b": info(inode=2)}, ["two"]) == ["a"]


def test_what_had_just_changed_when_it_was_read_is_packed_again(backup: Make) -> None:
    just = {"a": info(ctime=time.time() + 60.5)}
    backup("one", just)
    assert backup("two", just, ["one"]) == ["a"]


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"{"), gzip.compress(b'{"source": "/source"}\n[1]\n')],
    ids=["empty", "no gzip", "half a line", "lines of something else"],
)
def test_where_the_manifest_cannot_be_read_everything_is_packed(backup: Make, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.gz").write_bytes(content)
    said: list[str] = []
    assert backup("two", {"a": info()}, ["one"], said=said) == ["a"]
    assert [text.split(":")[0] for text in said] == ["everything is packed"]
    assert backup("three", {"a": info()}, ["two"]) == []


def test_a_manifest_of_another_source_counts_for_nothing(backup: Make) -> None:
    backup("one", {"a": info()})
    said: list[str] = []
    assert backup("two", {"a": info()}, ["one"], source=Path("/other"), said=said) == ["a"]
    assert "of another source" in said[0]


def test_a_backup_that_fails_leaves_the_manifest_as_it_was(files: LocalFiles, backup: Make, tmp_path: Path) -> None:
    backup("one", {"a": info()})
    before = (tmp_path / "manifest.gz").read_bytes()
    with pytest.raises(RuntimeError), kept(files, tmp_path / "manifest.gz", SOURCE, "two", ["one"], lambda _: None):
        raise RuntimeError
    assert (tmp_path / "manifest.gz").read_bytes() == before
    lines = [json.loads(line) for line in gzip.decompress(before).splitlines()]
    assert (lines[0], lines[1][0], lines[1][2]) == ({"source": "/source"}, "a", "one")


def test_without_a_manifest_everything_is_wanted() -> None:
    everything = Everything()
    everything.packed("a", info())
    assert everything.wanted("a", entry("a", info()))


@pytest.mark.parametrize(
    ("changed", "noted"), [(999.95, False), (999.5, True), (999.0, False), (998.0, False), (997.0, True)]
)
def test_a_change_must_lie_a_tick_of_the_clock_before_the_backup_began(changed: float, noted: bool) -> None:
    """A file system without fractions is given two seconds."""
    out = io.BytesIO()
    Manifest({}, out, "one", began=1000.0).packed("a", info(ctime=changed))
    assert bool(out.getvalue()) is noted
