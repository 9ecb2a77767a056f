"""Stores that break and mend themselves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.runners.git import store
from adapters.runners.git.directory import GitFailed
from adapters.runners.git.store import damaged
from domain.status import Status
from tests.support.git_peers import Origin, git
from tests.support.git_runs import Copy


def emptied(pattern: str) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        for path in matching(store, pattern):
            path.write_bytes(b"")

    return damage


def cut(pattern: str) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        for path in matching(store, pattern):
            os.truncate(path, path.stat().st_size // 2)

    return damage


def garbage(pattern: str) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        for path in matching(store, pattern):
            text = bytearray(path.read_bytes() or b"x")
            text[len(text) // 3 :] = os.urandom(len(text) - len(text) // 3)
            path.write_bytes(text)

    return damage


def gone(pattern: str) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        for path in matching(store, pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def matching(store: Path, pattern: str) -> list[Path]:
    found = [path for path in store.glob(pattern) if path.is_dir() or path.stat().st_size > 0]
    assert found, pattern
    for path in found:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return found


DAMAGES = {
    f"{how.__name__} {pattern}": how(pattern)
    for how, patterns in {
        emptied: ["index", "HEAD", "refs/heads/main", "refs/remotes/origin/main", "shallow", "objects/pack/*.pack", "objects/pack/*.idx"],
        cut: ["index", "HEAD", "refs/heads/main", "objects/pack/*.pack", "objects/pack/*.idx"],
        garbage: ["index", "HEAD", "refs/heads/main", "shallow", "objects/pack/*.pack", "objects/pack/*.idx"],
        gone: ["index", "HEAD", "refs", "refs/heads/main", "objects", "objects/pack", "objects/pack/*.pack", "objects/pack/*.idx"],
    }.items()
    for pattern in patterns
}  # fmt: skip


@pytest.mark.parametrize(
    ("what", "newer"),
    [(what, True) for what in DAMAGES] + [(what, False) for what in DAMAGES if "index" in what or "gone" in what],
)
def test_a_damaged_store_mends_itself(copy: Copy, what: str, newer: bool, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")  # git must not take this one for ours
    (tmp_path / "a.txt").write_text("not ours\n")
    copy.origin.commit("old.txt", "old\n")
    copy.done()
    (copy.directory / "untracked").write_text("mine\n")
    if newer:
        (copy.origin.work / "old.txt").unlink()
        copy.origin.commit("b.txt", "new\n")
    DAMAGES[what](copy.store)
    (copy.directory / "a.txt").write_text("changed\n")
    commit = git(copy.origin.work, "rev-parse", "HEAD")
    assert copy.done()["commit"] == commit
    wanted = {"a.txt": "one\n", "untracked": "mine\n"} | ({"b.txt": "new\n"} if newer else {"old.txt": "old\n"})
    assert copy.files() == wanted
    assert (tmp_path / "a.txt").read_text() == "not ours\n"
    assert [name for name in os.listdir(copy.directory) if "damaged" in name] == []
    assert git(copy.directory, "status", "--porcelain") == "?? untracked"
    if b"fetched anew" in copy.log:
        git(copy.directory, "fsck", "--strict")


@pytest.mark.parametrize("what", ["emptied index", "gone HEAD", "gone objects"])
def test_a_damaged_store_with_submodules_mends_itself(copy: Copy, what: str, tmp_path: Path) -> None:
    inner = Origin(tmp_path / "inner")
    git(copy.origin.work, "-c", "protocol.file.allow=always", "submodule", "add", "-q", inner.url, "sub")
    copy.origin.commit("x.txt", "x\n")
    copy.done(submodules=True)
    DAMAGES[what](copy.store)
    copy.done(submodules=True)
    assert copy.files()["sub/a.txt"] == "one\n"


def test_damage_that_packing_finds_is_mended_by_the_next_run(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    few = tuple("gc.autoPackLimit=1" if word.startswith("gc.autoPackLimit") else word for word in store.PACKING)
    copy.done()
    DAMAGES["garbage objects/pack/*.pack"](copy.store)
    (copy.origin.work / "a.txt").unlink()
    copy.origin.commit("b.txt", "new\n")
    monkeypatch.setattr(store, "PACKING", few)
    copy.done()
    copy.done()
    git(copy.directory, "fsck", "--strict")


@pytest.mark.parametrize("what", ["emptied index", "gone refs", "garbage objects/pack/*.pack"])
def test_a_damaged_store_without_its_remote_stays_as_it_was(copy: Copy, what: str) -> None:
    copy.done()
    DAMAGES[what](copy.store)
    copy.origin.bare.rename(copy.origin.bare.with_name("away"))
    result = copy.run()
    assert result.status is Status.FAILED
    assert sorted(os.listdir(copy.directory)) == [".git", "a.txt"]
    copy.origin.bare.with_name("away").rename(copy.origin.bare)
    copy.done()


def test_a_run_killed_while_a_store_was_put_away_is_forgotten(copy: Copy) -> None:
    copy.done()
    place = copy.directory / ".git-damaged-abcd1234"
    place.mkdir()
    copy.store.rename(place / "git")
    commit = copy.origin.commit("a.txt", "two\n")
    assert copy.done()["commit"] == commit
    assert sorted(os.listdir(copy.directory)) == [".git", "a.txt"]


@pytest.mark.parametrize(
    "told",
    ["fatal: unable to access 'https://h/x.git/': Could not resolve host: h", "fatal: couldn't find remote ref refs/heads/x",
     "ssh: connect to host h port 22: Connection refused\nfatal: Could not read from remote repository.",
     "client_loop: send disconnect: Broken pipe", "fatal: Authentication failed for 'https://h/x.git/'",
     "remote: error: object file ./objects/00/11 is empty\nfatal: early EOF", "error: RPC failed; curl 56", "fatal: the remote end hung up unexpectedly",
     "Host key verification failed.\nfatal: Could not read from remote repository.", "fatal: write error: No space left on device"],
)  # fmt: skip
def test_trouble_on_the_way_is_no_damage(told: str) -> None:
    assert not damaged(GitFailed(told, command="fetch"))


@pytest.mark.parametrize(
    "lock", ["packed-refs", "config", "objects/info/commit-graph", "objects/pack/multi-pack-index", "refs/tags/v1"]
)
def test_the_locks_of_a_packing_that_was_killed_end_no_later_run(copy: Copy, lock: str) -> None:
    copy.done()
    path = copy.store / f"{lock}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    (copy.store / "gc.pid").write_text(f"{os.getpid()} here")
    commit = copy.origin.commit("a.txt", "two\n")
    assert copy.done()["commit"] == commit
    assert not path.exists()
