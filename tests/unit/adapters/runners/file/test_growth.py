"""What grows until it is complete, by descriptors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.runners.file.growth import LocalGrowth, private
from adapters.runners.file.ports import FileTrouble


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def like(mode: int, when: int = 1_000_000_000) -> os.stat_result:
    return os.stat_result(
        (mode, 0, 0, 1, 0, 0, 0, when, when, when), {"st_atime_ns": when * 10**9, "st_mtime_ns": when * 10**9}
    )


def test_the_private_directory_goes_with_all_that_is_left_in_it(tmp_path: Path) -> None:
    with opened(tmp_path) as parent, contextlib.suppress(RuntimeError), private(parent, "room") as room:
        assert (tmp_path / "room").stat().st_mode & 0o777 == 0o700
        os.mkdir("tree", dir_fd=room)
        (tmp_path / "room" / "tree" / "x").touch()
        (tmp_path / "room" / "y").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "room").symlink_to(tmp_path)
    with opened(tmp_path) as parent, pytest.raises(FileExistsError), private(parent, "room"):
        raise AssertionError("it was used")
    assert (tmp_path / "room").is_symlink()


def test_a_directory_of_somebody_else_is_not_worked_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.runners.file.growth._ours", lambda _: False)
    with opened(tmp_path) as parent, pytest.raises(FileTrouble, match="something else"), private(parent, "room"):
        raise AssertionError("it was used")
    assert list(tmp_path.iterdir()) == []


def test_a_tree_gets_its_modes_and_times_and_then_its_name(tmp_path: Path) -> None:
    with opened(tmp_path) as parent, private(parent, "room") as room, contextlib.closing(LocalGrowth(room)) as growth:
        growth.directory("")
        growth.directory("inner")
        with growth.file("inner/file", like(0o100640)) as out:
            out.write(b"text")
        growth.link("inner/link", "../nowhere")
        growth.settle("inner", like(0o040750))
        growth.settle("", like(0o040555))
        assert (tmp_path / "room" / "new").stat().st_mode & 0o200  # else it could not be moved
        growth.finish(parent, "done")
    made = tmp_path / "done"
    shown = {name: (made / name).lstat() for name in ("", "inner", "inner/file")}
    assert [info.st_mode & 0o7777 for info in shown.values()] == [0o555, 0o750, 0o640]
    assert {info.st_mtime for info in shown.values()} == {1_000_000_000}
    assert (os.readlink(made / "inner" / "link"), os.listdir(tmp_path)) == ("../nowhere", ["done"])
    made.chmod(0o755)


def test_a_directory_that_was_swapped_for_a_link_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    with opened(tmp_path) as parent, private(parent, "room") as room, contextlib.closing(LocalGrowth(room)) as growth:
        growth.directory("")
        (tmp_path / "room" / "new" / "inner").symlink_to(tmp_path / "outside")
        with pytest.raises(OSError, match=r"inner|Not a directory|symbolic"), growth.file("inner/x", like(0o100644)):
            raise AssertionError("it was opened")
    assert list((tmp_path / "outside").iterdir()) == []


def test_one_file_grows_under_a_name_of_its_own(tmp_path: Path) -> None:
    with opened(tmp_path) as parent, private(parent, "room") as room, contextlib.closing(LocalGrowth(room)) as growth:
        with growth.file("", like(0o104755)) as out:
            out.write(b"text")
        assert not (tmp_path / "done").exists()
        growth.finish(parent, "done")
    assert ((tmp_path / "done").read_text(), (tmp_path / "done").stat().st_mode & 0o7777) == ("text", 0o755)
