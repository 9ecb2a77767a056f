"""The git runner against local repositories, a real sshd and https on loopback (G75, GIT1 to GIT11)."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from adapters.process.supervisor import Supervisor
from adapters.runners.command import ProcessOptions
from adapters.runners.git import GitOptions, GitRunner
from adapters.runners.git.askpass import Askpass, https_answers
from adapters.runners.git.directory import alone
from domain.errors import InvalidTask
from domain.result import EndReason, Result
from domain.runner import Credential, ExecutionContext
from domain.status import Status
from tests.support.canary import Sampler
from tests.support.git_peers import Origin, git, https_git
from tests.support.ssh_peer import SSHD, SshPeer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path / "origin")


class Vault:
    def __init__(self, category: str, **value: str) -> None:
        self._credential = Credential("c1", category, "deploy", value)

    def credential(self, credential_id: str) -> Credential:
        return self._credential


def made(processes: Supervisor, options: GitOptions | None = None, **args: Any) -> GitRunner:
    runner = GitRunner(processes, ProcessOptions(grace=1), options or GitOptions(allow_file_urls=True))
    runner.parse_args("", json.dumps(args))
    return runner


def ran(processes: Supervisor, directory: Path, vault: Vault | None = None, **args: Any) -> Result:
    options = args.pop("options", None)
    context = ExecutionContext(task_id="t1", working_dir=directory, credentials=vault)
    return made(processes, options, **args).execute(context)


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


def test_two_tasks_never_work_in_one_directory(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    ran(processes, tmp_path / "d", url=origin.url)
    lock = tmp_path / "d" / ".git" / "index.lock"
    lock.touch()
    with alone(tmp_path / "d"):
        second = ran(processes, tmp_path / "d", url=origin.url)
    assert (second.status, lock.exists()) == (Status.FAILED, True)
    assert "another task works there" in second.error


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


def test_a_clean_that_fails_leaves_everything_as_it_was(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    """GIT3"""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine").write_text("precious")
    result = ran(processes, tmp_path / "d", url=origin.url + "x", clean=True)
    assert result.status is Status.FAILED
    assert sorted(os.listdir(tmp_path)) == ["d", "origin"]
    assert (tmp_path / "d" / "mine").read_text() == "precious"


def test_a_clean_that_was_killed_leaves_nothing_for_ever(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    place = tmp_path / "place"
    (place / ".d.new-abcd1234" / "x").mkdir(parents=True)
    (place / ".d.old-abcd1234").mkdir()
    (place / ".e.new-abcd1234").mkdir()
    assert ran(processes, place / "d", url=origin.url, clean=True).status is Status.SUCCESS
    assert sorted(os.listdir(place)) == [".e.new-abcd1234", "d"]


def test_a_clean_replaces_the_whole_directory(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old").write_text("old")
    assert ran(processes, tmp_path / "d", url=origin.url, clean=True).error == ""
    assert sorted(os.listdir(tmp_path / "d")) == [".git", "a.txt"]
    assert sorted(os.listdir(tmp_path)) == ["d", "origin"]


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


def test_a_prepared_repository_starts_nothing(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    """GIT5, G75: hooks, fsmonitor, filters, sshCommand, aliases, includes of an earlier task."""
    place, marker, evil = tmp_path / "d", tmp_path / "marker", tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {marker}\ncat\n")
    evil.chmod(0o755)
    ran(processes, place, url=origin.url)
    for hook in ("post-checkout", "reference-transaction", "post-merge", "post-index-change"):
        (place / ".git/hooks").mkdir(exist_ok=True)
        (place / ".git/hooks" / hook).symlink_to(evil)
    (place / "inc").write_text(f"[core]\n\tfsmonitor = {evil}\n")
    (place / ".git/config").write_text(
        f"[core]\n\thooksPath = {place}/.git/hooks\n\tfsmonitor = {evil}\n\tsshCommand = {evil}\n\tpager = {evil}\n"
        f"[include]\n\tpath = {place}/inc\n[diff]\n\texternal = {evil}\n"
        f'[filter "x"]\n\tsmudge = {evil}\n\tclean = {evil}\n[remote "origin"]\n\tuploadpack = {evil}\n'
        f'[url "ext::{evil}"]\n\tinsteadOf = {origin.url}\n[alias]\n\tfetch = !{evil}\n'
    )
    (place / ".git/info").mkdir(exist_ok=True)
    (place / ".git/info/attributes").write_text("* filter=x\n")
    origin.commit(".gitattributes", "* filter=x diff=x\n")
    result = ran(processes, place, url=origin.url)
    assert result.error == ""
    assert not marker.exists()


def test_the_tasks_environment_cannot_steer_git(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    """G75"""
    marker = tmp_path / "marker"
    runner = made(processes, url="git@127.0.0.1:x.git")
    environment = {"GIT_SSH_COMMAND": f"touch {marker}", "GIT_PROXY_COMMAND": f"touch {marker}"}
    runner.execute(ExecutionContext(working_dir=tmp_path / "d", environment=environment))
    assert not marker.exists()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def https(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_https_secrets_are_in_no_argv_environment_or_file(
    processes: Supervisor, origin: Origin, tmp_path: Path, authority: trustme.CA
) -> None:
    """GIT2, G63, G64"""
    secret = f"canary-{uuid.uuid4().hex}"  # its own: tests that run beside this one have theirs in sight
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    logged: list[bytes] = []
    with https_git(tmp_path / "origin", "git", secret, https(authority)) as served, Sampler() as sampler:
        url = f"https://127.0.0.1:{served.port}/repo.git"
        runner = made(processes, GitOptions(ca_file=str(ca)), url=url, credential="c1")
        vault = Vault("api_token", token=secret)
        result = runner.execute(ExecutionContext(working_dir=tmp_path / "d", credentials=vault, log=logged.append))
    assert result.error == ""
    files = b"".join(path.read_bytes() for path in (tmp_path / "d").rglob("*") if path.is_file())
    told = result.output + result.execute_log
    assert any(b"fetch" in text for text in sampler.seen)
    assert secret.encode() not in files + told.encode() + b"".join(logged) + b"".join(sampler.seen)


def test_the_helper_answers_from_however_deep_a_directory(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    askpass = Askpass(deep, https_answers("h.example", "ada", "s3cret"))
    try:
        asked = ("Password for 'https://ada@h.example': ", "Password for 'https://ada@other.example': ")
        told = [subprocess.run([str(askpass.program), text], capture_output=True, check=False) for text in asked]
    finally:
        askpass.close()
    assert [(done.stdout, done.returncode) for done in told] == [(b"s3cret\n", 0), (b"", 1)]


def test_a_wrong_password_fails_without_a_question(
    processes: Supervisor, origin: Origin, tmp_path: Path, authority: trustme.CA
) -> None:
    """GIT7"""
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    with https_git(tmp_path / "origin", "git", "right", https(authority)) as served:
        url = f"https://127.0.0.1:{served.port}/repo.git"
        vault = Vault("username_password", username="git", password="wr0ng-5e1c")
        result = ran(processes, tmp_path / "d", vault, url=url, credential="c1", options=GitOptions(ca_file=str(ca)))
    assert result.status is Status.FAILED
    assert "Authentication failed" in result.error
    assert "wr0ng-5e1c" not in result.error


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshPeer]:
    if not Path(SSHD).exists():
        pytest.skip("sshd is missing: install openssh-server to test git over ssh")
    with SshPeer(tmp_path_factory.mktemp("ssh") / "peer") as peer:
        yield peer


def test_ssh_takes_a_stripped_key_with_a_passphrase(
    processes: Supervisor, origin: Origin, tmp_path: Path, sshd: SshPeer
) -> None:
    """GIT4, G64"""
    vault = Vault("ssh_private_key", private_key=sshd.key.strip(), passphrase=sshd.passphrase)
    with Sampler() as sampler:
        result = ran(
            processes, tmp_path / "d", vault, url=sshd.url(origin.bare), credential="c1", known_hosts=sshd.known_hosts
        )
    assert result.error == ""
    assert sshd.passphrase.encode() not in b"".join(sampler.seen)


def test_an_unknown_host_key_is_refused(processes: Supervisor, origin: Origin, tmp_path: Path, sshd: SshPeer) -> None:
    """GIT9"""
    vault = Vault("ssh_private_key", private_key=sshd.key, passphrase=sshd.passphrase)
    hosts = "elsewhere.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEFoAlUW\n"
    result = ran(processes, tmp_path / "d", vault, url=sshd.url(origin.bare), credential="c1", known_hosts=hosts)
    assert result.status is Status.FAILED
    assert "Host key verification failed" in result.error


def test_the_documented_task_runs(processes: Supervisor, origin: Origin, tmp_path: Path) -> None:
    text = (ROOT / "docs/runners/git.md").read_text()
    found = re.search(r"```json\n(.*?)```", text, re.S)
    assert found is not None
    args = json.loads(found[1])["args"]
    GitRunner().parse_args("", json.dumps(args))
    assert ran(processes, tmp_path / "d", **args | {"url": origin.url}).error == ""
