"""Archives and copies: links stay links, special files are left out, nothing is half written."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.runners.file.archive import Packer, Tally
from adapters.runners.file.local import LocalFiles
from adapters.runners.file.manifest import Everything
from adapters.runners.file.ports import FileTrouble, Found

never: Callable[[], bool] = lambda: False  # noqa: E731


def packer(
    files: LocalFiles, target: Path, ended: Callable[[], bool] = never, choice: Everything | None = None
) -> Packer:
    return Packer(files, ended, lambda _: None, choice or Everything(), [target])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (root / "file").write_text("text")
    (root / "file").chmod(0o4751)
    os.utime(root / "file", (1_000_000_000, 1_000_000_000))
    (root / "link").symlink_to("inner/nowhere")
    os.mkfifo(root / "pipe")
    return root


def test_a_tar_holds_modes_times_and_links_but_no_special_file_and_no_setuid(files: LocalFiles, tree: Path) -> None:
    target = tree.parent / "a.tar.gz"
    assert packer(files, target).archive(tree, target, "tar.gz", 6) == Tally(files=1, size=4, left_out=1)
    with tarfile.open(target) as tar:
        assert sorted(tar.getnames()) == ["file", "inner", "link"]
        file = tar.getmember("file")
        assert (file.mode, file.mtime, tar.getmember("link").linkname) == (0o751, 1_000_000_000, "inner/nowhere")


def test_a_zip_holds_links_as_links_and_times_that_it_can_say(files: LocalFiles, tree: Path) -> None:
    os.utime(tree / "file", (1, 1))
    target = tree.parent / "a.zip"
    packer(files, target).archive(tree, target, "zip", 6)
    with zipfile.ZipFile(target) as archive:
        assert sorted(archive.namelist()) == ["file", "inner/", "link"]
        assert archive.read("link") == b"inner/nowhere"
        assert archive.getinfo("link").external_attr >> 16 & 0o170000 == 0o120000
        assert archive.getinfo("file").date_time[0] == 1980


def test_an_archive_within_its_source_does_not_hold_itself(files: LocalFiles, tree: Path) -> None:
    target = tree / "inner" / "a.tar"
    for _ in range(2):
        packer(files, target).archive(tree, target, "tar", 0)
    with tarfile.open(target) as tar:
        assert sorted(tar.getnames()) == ["file", "inner", "link"]


def test_a_run_that_ends_leaves_the_earlier_archive_as_it_was(files: LocalFiles, tree: Path) -> None:
    target = tree.parent / "a.tar"
    target.write_text("earlier")
    with pytest.raises(FileTrouble, match="ended"):
        packer(files, target, lambda: True).archive(tree, target, "tar", 0)
    assert target.read_text() == "earlier"
    assert sorted(path.name for path in tree.parent.iterdir()) == ["a.tar", "root"]


def test_a_copy_is_like_its_source(files: LocalFiles, tree: Path) -> None:
    (tree / "inner" / "x").write_text("y")
    tree.chmod(0o2555)
    target = tree.parent / "copy"
    packer(files, target).copy(tree, target)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == ["file", "inner", "inner/x", "link"]
    assert (os.readlink(target / "link"), (target / "inner" / "x").read_text()) == ("inner/nowhere", "y")
    info = (target / "file").stat()
    assert (info.st_mode & 0o7777, info.st_mtime, target.stat().st_mode & 0o7777) == (0o751, 1_000_000_000, 0o555)
    tree.chmod(0o755)
    target.chmod(0o755)


def test_one_file_is_copied_under_the_new_name(files: LocalFiles, tree: Path) -> None:
    target = tree.parent / "copy"
    assert packer(files, target).copy(tree / "file", target) == Tally(files=1, size=4)
    assert (target.read_text(), target.stat().st_mtime) == ("text", 1_000_000_000)


def test_a_copy_that_fails_leaves_nothing_behind(files: LocalFiles, tree: Path) -> None:
    ends = iter([False, False, True, True, True, True])
    target = tree.parent / "copy"
    with pytest.raises(FileTrouble):
        packer(files, target, lambda: next(ends)).copy(tree, target)
    assert [path.name for path in tree.parent.iterdir()] == ["root"]


def test_only_what_is_wanted_is_packed_and_each_that_was_is_told(files: LocalFiles, tree: Path) -> None:
    class Some(Everything):
        told: list[str] = []  # noqa: RUF012 - made for this test alone

        def wanted(self, name: str, found: Found) -> bool:
            return name != "file"

        def packed(self, name: str, info: os.stat_result) -> None:
            self.told.append(name)

    (tree / "inner" / "x").write_text("y")
    target, some = tree.parent / "a.tar", Some()
    packer(files, target, choice=some).archive(tree, target, "tar", 0)
    with tarfile.open(target) as tar:
        assert sorted(tar.getnames()) == ["inner", "inner/x", "link"]
    assert some.told == ["inner/x"]
