"""The four actions: what they choose, make and tell."""

from __future__ import annotations

import os
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from adapters.runners.file.actions import Actions
from adapters.runners.file.local import LocalFiles
from adapters.runners.file.ports import FileTrouble
from adapters.runners.file.task import FileArgs


def done(files: LocalFiles, said: list[str] | None = None, /, **args: Any) -> dict[str, Any]:
    say = (lambda _: None) if said is None else said.append
    return Actions(FileArgs(**args), files, lambda: False, say).do()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    for name, size, age in (("a.log", 10, 0), ("b.log", 3000, 10), ("c.txt", 10, 10), ("inner/d.log", 20, 10)):
        (root / name).write_bytes(b"x" * size)
        when = time.time() - age * 86_400
        os.utime(root / name, (when, when))
    return root


def left(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("args", "gone"),
    [
        ({"pattern": "*.log"}, {"a.log", "b.log"}),
        ({"pattern": "*.log", "recursive": True}, {"a.log", "b.log", "inner/d.log"}),
        ({"pattern": "*", "older_than": "7d"}, {"b.log", "c.txt"}),
        ({"pattern": "*", "larger_than": "2K"}, {"b.log"}),
        ({"pattern": "*", "recursive": True, "exclude": ["inner", "a."]}, {"b.log", "c.txt"}),
        ({"pattern": "inner"}, set()),
    ],
)
def test_a_clean_up_deletes_what_was_chosen_and_a_dry_run_tells_the_same(
    files: LocalFiles, tree: Path, args: dict[str, Any], gone: set[str]
) -> None:
    before = left(tree)
    dry = done(files, action="cleanup", path=str(tree), dry_run=True, **args)
    assert left(tree) == before
    wet = done(files, action="cleanup", path=str(tree), **args)
    assert before - left(tree) == gone
    assert wet["deleted_count"] == len(gone)
    assert [wet[key] for key in ("deleted_size", "deleted_files")] == [
        dry[key] for key in ("deleted_size", "deleted_files")
    ]


def test_a_file_that_cannot_be_deleted_is_told_and_keeps_none_of_the_others(
    files: LocalFiles, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = LocalFiles.delete

    def delete(self: LocalFiles, found: Any) -> None:
        if found.name == "a.log":
            raise FileTrouble("a.log: Operation not permitted")
        plain(self, found)

    monkeypatch.setattr(LocalFiles, "delete", delete)
    said: list[str] = []
    assert done(files, said, action="cleanup", path=str(tree), pattern="*.log")["deleted_count"] == 1
    assert "a.log: Operation not permitted" in said
    assert left(tree) == {"a.log", "c.txt", "inner/d.log"}


@pytest.mark.parametrize(("sort_by", "first"), [("size", "b.log"), ("modified", "a.log"), ("name", "a.log")])
def test_a_measure_counts_all_and_shows_the_first(files: LocalFiles, tree: Path, sort_by: str, first: str) -> None:
    found = done(files, action="stat", path=str(tree), sort_by=sort_by, limit=1)
    assert (found["total_files"], found["total_dirs"], found["total_size"]) == (4, 2, "3.0 KB")
    assert [entry["path"] for entry in found["top_files"]] == [str(tree / first)]


def test_one_file_can_be_measured(files: LocalFiles, tree: Path) -> None:
    found = done(files, action="stat", path=str(tree / "b.log"))
    assert (found["total_files"], found["total_dirs"], found["total_size"]) == (1, 0, "2.9 KB")


@pytest.mark.parametrize(
    ("args", "name"),
    [
        ({}, "root.tar.gz"), ({"format": "zip"}, "root.zip"), ({"target": "x.tar"}, "x.tar"),
        ({"target": "x"}, "x.tar.gz"), ({"target": "x", "format": "tar"}, "x"),
    ],
)  # fmt: skip
def test_an_archive_is_of_the_format_that_is_asked_for_or_that_its_name_says(
    files: LocalFiles, tree: Path, args: dict[str, str], name: str
) -> None:
    if "target" in args:
        args = args | {"target": str(tree.parent / args["target"])}
    found = done(files, action="compress", source=str(tree), **args)
    path = tree.parent / name
    assert found["target"] == str(path)
    if name.endswith("zip"):
        with zipfile.ZipFile(path) as archive:
            names = {one.rstrip("/") for one in archive.namelist()}
    else:
        with tarfile.open(path) as tar:
            names = set(tar.getnames())
    assert names == {"a.log", "b.log", "c.txt", "inner", "inner/d.log"}
    assert found["file_count"] == 4


def test_a_source_is_removed_only_if_all_of_it_is_in_the_archive(files: LocalFiles, tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    done(files, action="compress", source=str(tree), remove_source=True)
    assert tree.exists()
    (tree / "pipe").unlink()
    said: list[str] = []
    done(files, said, action="compress", source=str(tree), target=str(tree / "in.tar"), remove_source=True)
    assert tree.exists()
    assert "the source is kept: the archive lies in it" in said
    done(files, action="compress", source=str(tree), remove_source=True)
    assert not tree.exists()


@pytest.mark.parametrize("action", ["compress", "backup"])
def test_a_link_is_no_source(files: LocalFiles, tree: Path, action: str) -> None:
    link = tree.parent / "link"
    link.symlink_to(tree)
    with pytest.raises(FileTrouble, match="a link is not followed"):
        done(files, action=action, source=str(link), target=str(tree.parent / "out"))


def test_an_incremental_backup_is_one_of_its_series_from_which_expired_ones_go(
    files: LocalFiles, tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b_202001010000.tar").touch()
    target, kept = str(tmp_path / "out" / "b.tar"), {"compress": True, "format": "tar", "keep_days": 30}
    args: dict[str, Any] = {"action": "backup", "source": str(tree), "target": target, "incremental": True} | kept
    first = done(files, **args)
    assert not (tmp_path / "out" / "b_202001010000.tar").exists()
    (tree / "new").write_text("new")
    second = done(files, **args)
    assert first["copied_count"] == 4
    assert second["backup_file"] != first["backup_file"]
    with tarfile.open(second["backup_file"]) as tar:
        assert "new" in tar.getnames()
    third = done(files, **args | {"incremental": False})
    assert third["copied_count"] == 5


def test_only_so_many_are_shown_but_all_are_counted(
    files: LocalFiles, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.runners.file.actions.SHOWN", 2)
    found = done(files, action="cleanup", path=str(tree), pattern="*", recursive=True)
    assert (found["deleted_count"], len(found["deleted_files"])) == (4, 2)
