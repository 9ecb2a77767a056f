"""Working copies that live for years: names that clash, packs that pile up."""

from __future__ import annotations

import os
from typing import Any

import pytest

from adapters.runners.git import store
from domain.result import EndReason
from domain.status import Status
from tests.support.git_peers import git
from tests.support.git_runs import Copy


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
