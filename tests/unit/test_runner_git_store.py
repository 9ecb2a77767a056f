"""Working copies that live for years: names that clash, stores that break, packs that pile up."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.process.supervisor import Supervisor
from adapters.runners.command import ProcessOptions
from adapters.runners.git import GitOptions, GitRunner, store
from adapters.runners.git.directory import GitFailed
from adapters.runners.git.store import damaged
from domain.result import EndReason, Result
from domain.runner import ExecutionContext
from domain.status import Status
from tests.support.git_peers import Origin, git


class Copy:
    """A working copy that tasks bring up to date."""

    def __init__(self, processes: Supervisor, origin: Origin, directory: Path) -> None:
        self.processes, self.origin, self.directory, self.log = processes, origin, directory, b""
        self.store = directory / ".git"

    def run(self, **args: Any) -> Result:
        runner = GitRunner(self.processes, ProcessOptions(grace=1), GitOptions(allow_file_urls=True))
        runner.parse_args("", json.dumps({"url": self.origin.url} | args))
        return runner.execute(ExecutionContext(task_id="t", working_dir=self.directory, log=self._take))

    def _take(self, data: bytes) -> None:
        self.log += data

    def done(self, **args: Any) -> dict[str, Any]:
        result = self.run(**args)
        assert result.status is Status.SUCCESS, result.error
        document = json.loads(result.output)
        assert isinstance(document, dict)
        return document

    def files(self) -> dict[str, str]:
        found = [path for path in self.directory.rglob("*") if path.is_file() and ".git" not in path.parts]
        return {str(path.relative_to(self.directory)): path.read_text() for path in found}


@pytest.fixture
def copy(processes: Supervisor, tmp_path: Path) -> Copy:
    return Copy(processes, Origin(tmp_path / "origin"), tmp_path / "d")


# -- names


@pytest.mark.parametrize("depth", [1, 0])
@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
@pytest.mark.parametrize(
    ("before", "after"), [("feature", "feature/x"), ("feature/x", "feature"), ("a/b/c/d", "a/b"), ("a/b", "a/b/c/d")]
)
def test_a_branch_takes_the_place_of_its_parent_or_child(
    copy: Copy, before: str, after: str, packed: bool, depth: int
) -> None:
    copy.origin.commit("a.txt", "old\n", branch=before)
    copy.done(branch=before, depth=depth)
    if packed:
        git(copy.directory, "pack-refs", "--all")
    git(copy.origin.work, "push", "-q", "origin", f":{before}")
    commit = copy.origin.commit("a.txt", "new\n", branch=after)
    assert copy.done(branch=after, depth=depth)["commit"] == commit
    assert copy.files() == {"a.txt": "new\n"}
    assert git(copy.directory, "symbolic-ref", "--short", "HEAD") == after


@pytest.mark.parametrize(("before", "after"), [("v1", "v1/final"), ("v1/rc", "v1"), ("v1/rc/2", "v1/rc")])
def test_a_tag_takes_the_place_of_its_parent_or_child(copy: Copy, before: str, after: str) -> None:
    work = copy.origin.work
    git(work, "tag", before)
    git(work, "push", "-q", "origin", f"refs/tags/{before}")
    copy.done(tag=before)
    git(work, "tag", "-d", before)
    git(work, "push", "-q", "origin", f":refs/tags/{before}")
    commit = copy.origin.commit("a.txt", "new\n")
    git(work, "tag", "-a", "-m", "x", after)
    git(work, "push", "-q", "origin", f"refs/tags/{after}")
    assert copy.done(tag=after)["commit"] == commit


@pytest.mark.parametrize("kind", ["heads", "tags"])
def test_a_short_commit_is_found_among_names_that_took_the_place_of_others(copy: Copy, kind: str) -> None:
    work = copy.origin.work
    for name in ("feature", "feature/x"):
        commit = copy.origin.commit("a.txt", f"{name}\n")
        git(work, "push", "-q", "-f", "origin", f"HEAD:refs/{kind}/{name}")
        assert copy.done(commit=commit[:12])["commit"] == commit
        git(work, "push", "-q", "origin", f":refs/{kind}/{name}")


def test_a_tag_that_moved_is_followed(copy: Copy) -> None:
    for text in ("two\n", "three\n"):
        commit = copy.origin.commit("a.txt", text)
        git(copy.origin.work, "tag", "-f", "v1")
        git(copy.origin.work, "push", "-q", "-f", "origin", "v1")
        assert copy.done(tag="v1")["commit"] == commit


def test_branches_that_differ_in_case_alone_are_two(copy: Copy) -> None:
    for branch in ("Topic", "topic", "TOPIC", "Topic"):
        commit = copy.origin.commit("a.txt", f"{branch}\n", branch=branch)
        assert copy.done(branch=branch)["commit"] == commit


def test_a_branch_that_is_gone_is_told_and_changes_nothing(copy: Copy) -> None:
    copy.origin.commit("a.txt", "x\n", branch="gone")
    copy.done(branch="gone")
    git(copy.origin.work, "push", "-q", "origin", ":gone")
    result = copy.run(branch="gone")
    assert (result.status, "couldn't find remote ref" in result.error) == (Status.FAILED, True)
    assert copy.files() == {"a.txt": "x\n"}
    assert b"damaged" not in copy.log


def test_branch_tag_commit_and_back(copy: Copy) -> None:
    """From a detached HEAD too, shallow and not."""
    git(copy.origin.work, "tag", "main")
    git(copy.origin.work, "push", "-q", "origin", "refs/tags/main")
    first = git(copy.origin.work, "rev-parse", "HEAD")
    last = copy.origin.commit("b.txt", "two\n", branch="refs/heads/main")
    for depth in (1, 0, 1):
        assert copy.done(depth=depth, branch="main")["commit"] == last
        assert copy.done(depth=depth, tag="main")["commit"] == first
        assert copy.done(depth=depth, commit=last)["commit"] == last
        assert copy.done(depth=depth, commit=first[:10])["commit"] == first


# -- damage


def emptied(pattern: str) -> Callable[[Path], None]:
    return lambda store: [path.write_bytes(b"") for path in matching(store, pattern)] and None


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


# -- packing


def test_a_store_stays_small_however_often_it_is_brought_up_to_date(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = tuple("gc.autoPackLimit=4" if word.startswith("gc.autoPackLimit") else word for word in store.PACKING)
    monkeypatch.setattr(store, "PACKING", few)
    for number in range(14):
        git(copy.origin.work, "commit", "-q", "--amend", "--allow-empty", "-m", f"rewritten {number}")
        copy.origin.commit("a.txt", f"{number}\n")
        copy.done()
        assert len(list((copy.store / "objects" / "pack").glob("*.pack"))) <= 5
    assert git(copy.directory, "count-objects").split()[0] == "0"
    git(copy.directory, "fsck", "--strict")
    assert git(copy.directory, "rev-list", "--count", "--all") == "1"
    assert not (copy.store / "packing").exists()


def test_packing_that_takes_too_long_costs_no_task(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    copy.done()
    monkeypatch.setattr(store, "PACKING", ("-c", "alias.x=y", "-c", "gc.autoPackLimit=bad"))
    copy.done()
    assert b"was not packed" in copy.log
    copy.log = b""
    copy.done()  # not tried again so soon
    assert b"was not packed" not in copy.log
    os.utime(copy.store / "packing", (1, 1))
    copy.done()
    assert b"was not packed" in copy.log


def test_a_limit_for_packing_ends_it_alone(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    copy.done()
    real = copy.processes.run
    limits = []

    def run(command: Any, cancel: Any) -> Any:
        if "gc" not in command.argv:
            return real(command, cancel)
        limits.append(command.timeout)
        return real(type(command)(argv=("sleep", "30"), cwd=None, environment=command.environment, timeout=0.2), cancel)

    monkeypatch.setattr(copy.processes, "run", run)
    result = copy.run()
    assert (result.end_reason, limits) == (EndReason.COMPLETED, [store.PACK_LIMIT])
