"""Which repositories, refs and directories a git task may name (G75)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.process.supervisor import Supervisor
from adapters.runners.git import GitRunner
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
