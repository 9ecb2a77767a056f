"""The files of this machine: what a name is swapped for on the way is never used (G70)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapters.runners.file.local import LocalFiles
from adapters.runners.file.ports import FileTrouble


def test_a_file_that_was_swapped_since_it_was_found_is_not_deleted(files: LocalFiles, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    with files.entry(path) as found:
        (tmp_path / "other").touch()
        os.replace(tmp_path / "other", path)
        with pytest.raises(FileTrouble, match="something else meanwhile"):
            files.delete(found)
    assert path.exists()
    with files.entry(path) as found:
        files.delete(found)
    assert not path.exists()


def test_a_link_is_deleted_and_not_what_it_leads_to(files: LocalFiles, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    with files.entry(tmp_path / "link") as found:
        assert (found.is_link, files.read_link(found)) == (True, "file")
        files.delete(found)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_what_became_something_else_is_not_read_and_keeps_nobody_waiting(
    files: LocalFiles, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "a"
    path.touch()
    with files.entry(path) as found:
        path.unlink()
        if kind == "link":
            path.symlink_to("/etc/passwd")
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.mkdir()
        with pytest.raises((FileTrouble, OSError)), files.read(found):
            raise AssertionError("it was read")


def test_a_link_to_nowhere_takes_a_name(files: LocalFiles, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert files.exists(tmp_path / "link")
    assert not files.exists(tmp_path / "free")
    assert files.names(tmp_path) == ["link"]


def test_directories_are_made_but_never_through_a_link(files: LocalFiles, tmp_path: Path) -> None:
    files.make_directories(tmp_path / "a" / "b")
    files.make_directories(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(FileTrouble, match="links are not followed"):
        files.make_directories(tmp_path / "link" / "c")
    assert not (tmp_path / "a" / "c").exists()


def test_a_tree_is_removed_and_what_its_links_lead_to_is_not(files: LocalFiles, tmp_path: Path) -> None:
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "x").touch()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "kept")
    files.remove(tmp_path / "tree")
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["kept", "kept/x"]


@pytest.mark.parametrize("well", [True, False])
def test_a_file_takes_its_place_when_all_went_well_and_vanishes_otherwise(
    files: LocalFiles, tmp_path: Path, well: bool
) -> None:
    (tmp_path / "a").write_text("earlier")
    try:
        with files.replacing(tmp_path / "a") as out:
            out.write(b"later")
            assert (tmp_path / "a").read_text() == "earlier"
            if not well:
                raise RuntimeError
    except RuntimeError:
        pass
    assert ((tmp_path / "a").read_text(), os.listdir(tmp_path)) == ("later" if well else "earlier", ["a"])


def test_trouble_with_the_directory_is_told_with_the_target(files: LocalFiles, tmp_path: Path) -> None:
    (tmp_path / "taken" / "inner").mkdir(parents=True)
    for target in (tmp_path / "none" / "a", tmp_path / "taken"):
        with pytest.raises(FileTrouble, match=f"{target}: |{target.parent}: "), files.growing(target) as growth:
            growth.directory("")
    with pytest.raises(FileTrouble, match="No such file"), files.entry(tmp_path / "nothing"):
        raise AssertionError("it was found")
