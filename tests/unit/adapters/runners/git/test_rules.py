"""Which repositories, refs and directories a git task may name (G75)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.process.supervisor import Supervisor
from adapters.runners.git import GitRunner
from adapters.runners.git.rules import authority, check_commit, check_ref, check_replaceable, check_url
from domain.errors import InvalidTask
from domain.result import EndReason
from tests.support.git_runs import ran


@pytest.mark.parametrize("place", ["/", "/usr", str(Path.home()), str(Path.cwd()), "/tmp"])
def test_a_clean_refuses_directories_that_hold_more(processes: Supervisor, place: str) -> None:
    """GIT3"""
    result = ran(processes, Path(place), url="https://127.0.0.1:1/x.git", clean=True)
    assert result.end_reason is EndReason.INVALID_TASK


@pytest.mark.parametrize(
    "url",
    ["https://git.example.com:8443/a.b/c.d.git", "git@example.com:a/b.c.git", "ssh://git@example.com:22/~u/r.git"],
)
def test_real_urls_are_accepted(url: str) -> None:
    """GIT11"""
    GitRunner().parse_args("", json.dumps({"url": url}))


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch x", "ext::sh -c touch% x", "file:///etc", "ssh://-oProxyCommand=touch x/y", "/tmp/x",
        "https://user:pw@host/x", "http://host/x", "git@-oProxyCommand=x:y", "-x@host:y", "https://host/x\ny",
        "git@host:-x", "HTTPS://host/x", "fd::17/x", "ssh://a@b@c/d", "https://host/x y",
    ],
)  # fmt: skip
def test_a_hostile_url_is_refused(url: str) -> None:
    """G75"""
    with pytest.raises(InvalidTask, match="url"):
        GitRunner().parse_args("", json.dumps({"url": url}))


@pytest.mark.parametrize(
    "name",
    ["--upload-pack=touch x", "-f", ".", "a..b", "a b", "a\nb", "@{-1}", "a.lock", "x/.y", "/a", "a/", "a^", "a:b"],
)
@pytest.mark.parametrize("key", ["branch", "tag"])
def test_a_hostile_ref_is_refused(name: str, key: str) -> None:
    """GIT1"""
    with pytest.raises(InvalidTask, match=key):
        GitRunner().parse_args("", json.dumps({"url": "https://h/x", key: name}))


@pytest.mark.parametrize(
    ("url", "told"),
    [("https://h.example/x", "h.example"), ("https://h:8443/x", "h:8443"), ("ssh://git@h/x", ""), ("git@h:x", ""),
     ("https://u:p@h/x", "")],
)  # fmt: skip
def test_the_authority_is_that_of_https_alone(url: str, told: str) -> None:
    assert authority(url) == told


def test_a_repository_of_this_machine_is_one_only_where_that_is_allowed() -> None:
    check_url("file:///srv/x.git", allow_file=True)
    with pytest.raises(InvalidTask):
        check_url("file:///srv/x.git", allow_file=False)


@pytest.mark.parametrize("text", ["abc", "HEAD", "abcdefg", "0123456 ", "0" * 65, "-1234567"])
def test_what_is_no_commit_is_refused(text: str) -> None:
    with pytest.raises(InvalidTask, match="hexadecimal"):
        check_commit(text)


@pytest.mark.parametrize("name", ["main", "feature/x", "v1.0-rc+1", "ünï", "a@b"])
def test_names_that_git_takes_are_taken(name: str) -> None:
    check_ref(name, "branch")


def test_a_link_to_a_directory_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("d")
    check_replaceable(tmp_path / "d")
    with pytest.raises(InvalidTask, match="refuses to replace"):
        check_replaceable(tmp_path / "link")
