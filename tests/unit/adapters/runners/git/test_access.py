"""How a run reaches its remote: a real sshd, and https on loopback."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from adapters.process.supervisor import Supervisor
from adapters.runners.git import GitOptions
from adapters.runners.git.access import Access, secrets_of
from domain.errors import InvalidTask
from domain.runner import Credential, ExecutionContext
from domain.status import Status
from tests.support.canary import Sampler
from tests.support.git_peers import Origin, https_git
from tests.support.git_runs import Vault, made, ran
from tests.support.ssh_peer import SSHD, SshPeer


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


URL = "https://h.example/x.git"


def test_what_steers_git_is_taken_out_of_the_environment_and_ours_is_put_in() -> None:
    with Access(URL, None, "", False) as access:
        found = access.environment(
            {"PATH": "/bin", "GIT_DIR": "/x", "LD_PRELOAD": "y", "DISPLAY": ":0"}, "https", "/ca"
        )
    assert {"GIT_DIR", "LD_PRELOAD", "DISPLAY"} & found.keys() == set()
    assert (found["PATH"], found["GIT_ALLOW_PROTOCOL"], found["GIT_SSL_CAINFO"]) == ("/bin", "https", "/ca")
    assert (found["GIT_ASKPASS"], found["GIT_TERMINAL_PROMPT"]) == ("/bin/false", "0")
    assert "StrictHostKeyChecking=yes" in found["GIT_SSH_COMMAND"]
    assert "BatchMode=yes" in found["GIT_SSH_COMMAND"]


def test_a_key_is_a_private_file_that_goes_with_the_run() -> None:
    key = Credential("c", "ssh_private_key", "deploy", {"private_key": "a\r\nb", "passphrase": "s3cret"})
    with Access("git@h:x", key, "h ssh-ed25519 KEY", True) as access:
        command = access.environment({}, "ssh", "")["GIT_SSH_COMMAND"].split()
        path = Path(command[command.index("-i") + 1])
        assert (path.read_text(), path.stat().st_mode & 0o777) == ("a\nb\n", 0o600)
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert (path.parent / "known_hosts").read_text() == "h ssh-ed25519 KEY"
        assert {"StrictHostKeyChecking=accept-new", "BatchMode=no", "IdentitiesOnly=yes"} <= set(command)
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("category", "value", "url", "told"),
    [
        ("email", {"password": "p"}, URL, "is a email: git takes"), ("api_token", {}, URL, "has no token"),
        ("username_password", {"password": "p"}, URL, "has no username"), ("api_token", {"token": 7}, URL, "has no token"),
        ("api_token", {"token": "t"}, "git@h:x", "is for https, but the url is not"),
    ],
)  # fmt: skip
def test_a_credential_that_does_not_fit_leaves_nothing_behind(
    category: str, value: dict[str, Any], url: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidTask, match=f"credential deploy {told}"):
        Access(url, Credential("c", category, "deploy", value), "", False, f"{tmp_path}/")
    assert list(tmp_path.iterdir()) == []


def test_the_secrets_of_a_credential_are_those_that_are_long_enough_to_be_found() -> None:
    value = {"password": "long-one", "token": "abc", "private_key": 7, "username": "ada"}
    assert secrets_of(Credential("c", "x", "deploy", value)) == ["long-one"]
    assert secrets_of(None) == []
