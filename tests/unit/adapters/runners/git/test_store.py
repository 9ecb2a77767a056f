"""Stores that break and mend themselves."""

from __future__ import annotations

import contextlib
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


def test_a_store_is_sound_when_git_would_take_it_for_one(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    place = tmp_path / ".git"
    assert store.sound(place)
    (place / "HEAD").write_text("rubbish")
    assert not store.sound(place)
    (place / "HEAD").write_text("0" * 40 + "\n")
    assert store.sound(place)
    (place / store.SUSPECT).touch()
    assert not store.sound(place)
    assert not store.sound(tmp_path / "nothing")


def test_settings_and_hooks_of_an_earlier_task_are_gone(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    place = tmp_path / ".git"
    git(tmp_path, "config", "core.fsmonitor", "/evil")
    for name in ("hooks/post-checkout", "logs/HEAD", "info/attributes", "objects/info/alternates", "config.worktree"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    store.reset_settings(place, "https://h/x.git")
    assert git(tmp_path, "config", "remote.origin.url") == "https://h/x.git"
    assert "evil" not in (place / "config").read_text()
    assert not [
        path for path in ("hooks", "logs", "info/attributes", "objects/info/alternates") if (place / path).exists()
    ]


def test_locks_behind_a_link_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "other" / "x").mkdir(parents=True)
    (tmp_path / "other" / "x" / "a.lock").touch()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "refs").symlink_to(tmp_path / "other")
    (tmp_path / "store" / "index.lock").touch()
    store.unlock(tmp_path / "store")
    assert (tmp_path / "other" / "x" / "a.lock").exists()
    assert not (tmp_path / "store" / "index.lock").exists()


@pytest.mark.parametrize("well", [True, False])
def test_a_store_that_was_put_away_comes_back_where_the_new_one_failed(tmp_path: Path, well: bool) -> None:
    place = tmp_path / ".git"
    place.mkdir()
    (place / "old").touch()
    with contextlib.suppress(RuntimeError), store.aside(place):
        (place / "new").touch()
        if not well:
            raise RuntimeError
    assert (os.listdir(place), os.listdir(tmp_path)) == (["new"] if well else ["old"], [".git"])
