"""The git runner against local repositories (G75, GIT1 to GIT11)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from adapters.process.supervisor import Supervisor
from adapters.runners.git import GitRunner
from domain.runner import ExecutionContext
from domain.status import Status
from tests.support.git_peers import Origin, git
from tests.support.git_runs import ROOT, made, ran


def test_a_first_run_clones_and_a_second_tells_what_changed(
    processes: Supervisor, origin: Origin, tmp_path: Path
) -> None:
    first = ran(processes, tmp_path / "d", url=origin.url)
    commit = origin.commit("a.txt", "two\nthree\n")
    second = json.loads(ran(processes, tmp_path / "d", url=origin.url).output)
    assert first.status is Status.SUCCESS, first.error
    assert json.loads(first.output)["action"] == "clone"
    keys = ("action", "commit", "changed_files", "insertions", "deletions")
    assert [second[key] for key in keys] == ["pull", commit, 1, 2, 1]


def test_a_run_without_news_says_where_it_stands(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    """GIT8, GIT10: also where git itself has nothing to say."""
    logged: list[bytes] = []
    for _ in range(2):
        context = ExecutionContext(working_dir=tmp_path / "d", log=logged.append)
        result = made(processes, url=origin.url).execute(context)
    commit = json.loads(result.output)["commit"]
    assert b"".join(logged).decode().splitlines()[-1] == f"done: pull at {commit[:8]}"


def test_rewritten_history_is_followed(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    """GIT6, and local changes to tracked files are undone."""
    origin.commit("a.txt", "two\n")
    ran(processes, tmp_path / "d", url=origin.url)
    (tmp_path / "d" / "a.txt").write_text("mine\n")
    git(origin.work, "reset", "-q", "--hard", "HEAD~1")
    commit = origin.commit("b.txt", "other\n")
    assert json.loads(ran(processes, tmp_path / "d", url=origin.url).output)["commit"] == commit
    assert (tmp_path / "d" / "a.txt").read_text() == "one\n"


@pytest.mark.parametrize("lock", ["index", "HEAD", "shallow", "refs/heads/main", "refs/remotes/origin/main"])
def test_the_lock_of_a_git_that_was_killed_ends_no_later_run(
    processes: Supervisor, origin: Origin, tmp_path: Path, lock: str
) -> None:
    ran(processes, tmp_path / "d", url=origin.url)
    commit = origin.commit("a.txt", "two\n")
    (tmp_path / "d" / ".git" / f"{lock}.lock").touch()
    result = ran(processes, tmp_path / "d", url=origin.url)
    assert result.status is Status.SUCCESS, result.error
    assert json.loads(result.output)["commit"] == commit


def test_another_branch_is_followed(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    """GIT6"""
    ran(processes, tmp_path / "d", url=origin.url)
    origin.commit("c.txt", "c\n", branch="feature/x")
    result = ran(processes, tmp_path / "d", url=origin.url, branch="feature/x")
    assert result.status is Status.SUCCESS, result.error
    assert git(tmp_path / "d", "rev-parse", "--abbrev-ref", "HEAD") == "feature/x"


def test_another_url_is_followed(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    """GIT5"""
    other = Origin(tmp_path / "other")
    commit = other.commit("o.txt", "o\n")
    ran(processes, tmp_path / "d", url=origin.url)
    assert json.loads(ran(processes, tmp_path / "d", url=other.url).output)["commit"] == commit


@pytest.mark.parametrize("short", [False, True])
def test_a_tag_and_a_commit_can_be_wanted(processes: Supervisor, origin: Origin, tmp_path: Path, short: bool) -> None:
    """GIT11"""
    commit = git(origin.work, "rev-parse", "HEAD")
    git(origin.work, "tag", "v1")
    git(origin.work, "push", "-q", "origin", "v1")
    origin.commit("a.txt", "two\n")
    wanted = commit[:10] if short else commit
    assert json.loads(ran(processes, tmp_path / "c", url=origin.url, commit=wanted).output)["commit"] == commit
    assert json.loads(ran(processes, tmp_path / "t", url=origin.url, tag="v1").output)["commit"] == commit


def test_depth_zero_fetches_all_history(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    origin.commit("a.txt", "two\n")
    ran(processes, tmp_path / "d", url=origin.url)
    assert git(tmp_path / "d", "rev-list", "--count", "HEAD") == "1"
    ran(processes, tmp_path / "d", url=origin.url, depth=0)
    assert git(tmp_path / "d", "rev-list", "--count", "HEAD") == "2"


def test_submodules_are_fetched_and_updated(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    """GIT11"""
    inner = Origin(tmp_path / "inner")
    git(origin.work, "-c", "protocol.file.allow=always", "submodule", "add", "-q", inner.url, "sub")
    origin.commit("x.txt", "x\n")
    first = ran(processes, tmp_path / "d", url=origin.url, submodules=True)
    second = ran(processes, tmp_path / "d", url=origin.url, submodules=True)
    assert (first.error, second.error) == ("", "")
    assert (tmp_path / "d" / "sub" / "a.txt").read_text() == "one\n"


def test_the_documented_task_runs(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    text = (ROOT / "docs/runners/git.md").read_text()
    found = re.search(r"```json\n(.*?)```", text, re.S)
    assert found is not None
    args = json.loads(found[1])["args"]
    GitRunner().parse_args("", json.dumps(args))
    assert ran(processes, tmp_path / "d", **args | {"url": origin.url}).error == ""
