"""The files of another machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.runners.file.ports import FileTrouble
from adapters.runners.file.remote import RemoteFiles
from adapters.runners.file.sftp import Sftp
from adapters.runners.file.walk import Policy
from tests.support.sftp_peer import PasswordPeer


def made(sftp: Sftp, said: list[str] | None = None, ended: Callable[[], bool] = lambda: False) -> RemoteFiles:
    return RemoteFiles(sftp, Policy(None), ended, (lambda _: None) if said is None else said.append)


@pytest.fixture
def tree(there: Path) -> Path:
    root = there / "root"
    (root / "inner").mkdir(parents=True)
    for name in ("a", "inner/b", "inner/c"):
        (root / name).write_text(name)
    (root / "link").symlink_to("inner")
    return root


def test_a_walk_meets_parents_first_and_follows_no_link(sftp: Sftp, tree: Path) -> None:
    names = [str(found.path.relative_to(tree)) for found in made(sftp).walk(tree, True)]
    assert sorted(names) == ["a", "inner", "inner/b", "inner/c", "link"]
    assert names.index("inner") < names.index("inner/b")
    assert {found.name for found in made(sftp).walk(tree, False)} == {"a", "inner", "link"}
    assert list(made(sftp, ended=lambda: True).walk(tree, True)) == []


def test_no_link_on_the_way_is_followed(sftp: Sftp, tree: Path) -> None:
    files = made(sftp)
    for use in (
        lambda: files.look(tree / "link" / "b"), lambda: files.names(tree / "link"),
        lambda: list(files.walk(tree / "link", True)), lambda: files.make_directories(tree / "link" / "new"),
    ):  # fmt: skip
        with pytest.raises(FileTrouble, match="links are not followed"):
            use()
    assert sorted(os.listdir(tree / "inner")) == ["b", "c"]


def test_an_unreadable_directory_is_noted_and_left_out_unless_it_is_the_first(
    sftp: Sftp, peer: PasswordPeer, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(peer, "unreadable", "inner")
    assert {found.name for found in made(sftp, said).walk(tree, True)} == {"a", "inner", "link"}
    assert len(said) == 1
    with pytest.raises(FileTrouble):
        list(made(sftp).walk(tree / "inner", True))


def test_a_file_that_changed_since_it_was_found_is_not_deleted(sftp: Sftp, tree: Path) -> None:
    files = made(sftp)
    with files.entry(tree / "a") as found:
        (tree / "a").write_text("longer now")
        with pytest.raises(FileTrouble, match="something else meanwhile"):
            files.delete(found)
    with files.entry(tree / "a") as found:
        files.delete(found)
    assert not (tree / "a").exists()


def test_what_became_a_link_is_not_read(sftp: Sftp, tree: Path) -> None:
    files = made(sftp)
    with files.entry(tree / "a") as found:
        (tree / "a").unlink()
        (tree / "a").symlink_to("inner/b")
        with pytest.raises(FileTrouble, match="something else meanwhile"), files.read(found):
            raise AssertionError("it was read")


def test_a_tree_is_removed_with_its_links_and_not_what_they_lead_to(sftp: Sftp, tree: Path) -> None:
    (tree.parent / "kept").mkdir()
    (tree.parent / "kept" / "x").touch()
    (tree / "inner" / "out").symlink_to(tree.parent / "kept")
    made(sftp).remove(tree)
    assert os.listdir(tree.parent) == ["kept"]
    assert os.listdir(tree.parent / "kept") == ["x"]


@pytest.mark.parametrize("well", [True, False])
def test_a_file_takes_its_place_when_all_went_well_and_vanishes_otherwise(sftp: Sftp, tree: Path, well: bool) -> None:
    try:
        with made(sftp).replacing(tree / "a") as out:
            out.write(b"later")
            assert (tree / "a").read_text() == "a"
            if not well:
                raise RuntimeError
    except RuntimeError:
        pass
    assert (tree / "a").read_text() == ("later" if well else "a")
    assert sorted(os.listdir(tree)) == ["a", "inner", "link"]


def test_what_cannot_be_tidied_up_is_told_with_its_place(
    sftp: Sftp, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def refuse(*_: object) -> None:
        raise FileTrouble("peer: refused")

    files = made(sftp, said)
    with contextlib.suppress(RuntimeError), files.replacing(tree / "x"):
        monkeypatch.setattr(sftp, "delete", refuse)
        raise RuntimeError
    assert said == [f"peer: refused; {files.beside(tree / 'x')} is left there"]


def test_directories_are_made_with_their_parents_and_names_are_taken_by_links_too(sftp: Sftp, tree: Path) -> None:
    files = made(sftp)
    files.make_directories(tree / "x" / "y")
    files.make_directories(tree / "x" / "y")
    (tree / "x" / "y" / "gone").symlink_to("nowhere")
    assert files.exists(tree / "x" / "y" / "gone")
    assert not files.exists(tree / "x" / "z")


def test_a_file_that_is_still_the_same_is_read(sftp: Sftp, tree: Path) -> None:
    files = made(sftp)
    with files.entry(tree / "inner" / "b") as found, files.read(found) as (content, info):
        assert (content.read(), info.st_size) == (b"inner/b", 7)
