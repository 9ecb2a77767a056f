"""Files of another machine: who is let in, where a task may go there, and how it ends."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import stat
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.net.connections import Connections
from adapters.process import tree
from adapters.runners.file.login import login_of
from adapters.runners.file.ports import FileTrouble
from adapters.runners.file.remote import RemoteFiles
from adapters.runners.file.runner import FileRunner
from adapters.runners.file.sftp import Sftp
from adapters.runners.file.ssh import SshConnection
from adapters.runners.file.task import FileArgs
from adapters.runners.file.walk import Policy
from domain.errors import InvalidTask
from domain.result import EndReason, Result
from domain.runner import CancelRequest, Credential, ExecutionContext, Urgency
from domain.status import Status
from tests.support.sftp_peer import PasswordPeer
from tests.support.ssh_peer import SSHD, SshPeer

PROMISED = 1.5 + 3.0  # seconds, and a margin for a machine that does much else
HUGE = 1 << 40  # bytes of a file that takes no room on disk


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshPeer]:
    if not Path(SSHD).exists():
        pytest.skip("sshd is missing: install openssh-server to test remote files")
    with SshPeer(tmp_path_factory.mktemp("ssh") / "peer") as peer:
        yield peer


class Remote:
    """One remote task: its runner, its credential, its log."""

    def __init__(self, peer: Any, category: str = "ssh_private_key", known_hosts: str = "", **value: str) -> None:
        self.runner = FileRunner([], known_hosts)
        self.log = b""
        self._peer, self._category = peer, category
        self._value = value or {"private_key": peer.plain_key, "username": peer.user}

    def credential(self, credential_id: str) -> Credential:
        return Credential(credential_id, self._category, "the key", self._value)

    def execute(self, **args: Any) -> Result:
        hosts = {"known_hosts": self._peer.known_hosts} if "known_hosts" not in args else {}
        args = {"host": "127.0.0.1", "port": self._peer.port, "credential": "c"} | hosts | args
        self.runner.parse_args("", json.dumps(args))
        return self.runner.execute(ExecutionContext(credentials=self, log=self._take))

    def _take(self, data: bytes) -> None:
        self.log += data


# -- who is let in


def test_a_key_with_a_passphrase_and_without_its_last_newline_opens(sshd: SshPeer, tmp_path: Path) -> None:  # F12
    task = Remote(sshd, private_key=sshd.key.strip(), passphrase=sshd.passphrase, username=sshd.user)
    result = task.execute(action="stat", path=str(tmp_path))
    assert result.status is Status.SUCCESS, result.error
    assert f"as {sshd.user}".encode() in task.log


@pytest.mark.parametrize(
    ("value", "word"),
    [({"passphrase": "canary-wrong"}, "wrong passphrase"), ({}, "needs a passphrase"), ({"private_key": "x"}, "cannot be read"),
     ({"private_key": ""}, "has no private_key")],
)  # fmt: skip
def test_a_key_that_cannot_be_read_is_told_without_it(sshd: SshPeer, value: dict[str, str], word: str) -> None:
    task = Remote(sshd, **{"private_key": sshd.key} | value)
    result = task.execute(action="stat", path="/tmp")
    assert (result.status, result.end_reason) == (Status.ERROR, EndReason.INVALID_TASK)
    assert word in result.error
    assert "canary" not in result.error
    assert sshd.key.split()[4] not in result.error + task.log.decode()


def test_the_user_is_the_tasks_then_the_credentials_then_root(tmp_path: Path) -> None:  # F12
    with PasswordPeer(tmp_path, "eve", "right-5e1c") as peer:
        credential = {"category": "username_password", "password": "right-5e1c"}
        for value, args in (({"username": "eve"}, {}), ({"username": "bob"}, {"username": "eve"})):
            result = Remote(peer, **credential | value).execute(action="stat", path=str(tmp_path), **args)
            assert result.status is Status.SUCCESS, result.error
        refused = Remote(peer, **credential).execute(action="stat", path=str(tmp_path))
        assert (refused.status, "not let in as root" in refused.error) == (Status.FAILED, True)


def test_a_wrong_password_is_refused_and_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:  # G63
    with PasswordPeer(tmp_path, "eve", "right-5e1c") as peer, caplog.at_level(logging.DEBUG):
        task = Remote(peer, "username_password", username="eve", password="wr0ng-5e1c")
        result = task.execute(action="stat", path=str(tmp_path))
    assert (result.status, "not let in as eve" in result.error) == (Status.FAILED, True)
    assert "wr0ng" not in result.error + result.execute_log + task.log.decode() + caplog.text


def test_a_credential_of_another_kind_is_refused(sshd: SshPeer) -> None:
    result = Remote(sshd, "api_token", token="t").execute(action="stat", path="/tmp")
    assert (result.end_reason, "api_token" in result.error) == (EndReason.INVALID_TASK, True)


# -- known hosts


def test_an_unknown_or_changed_host_key_is_refused(sshd: SshPeer) -> None:  # F12, G68
    for hosts, word in (
        ("elsewhere.example ssh-ed25519 AAAA\n", "unknown"),
        (f"[127.0.0.1]:{sshd.port} ssh-ed25519 AAAA\n", "changed"),
        (f"{sshd.known_hosts}@revoked {sshd.known_hosts}", "revoked"),
    ):
        for check in ("yes", "accept-new") if word != "unknown" else ("yes",):
            result = Remote(sshd).execute(action="stat", path="/tmp", known_hosts=hosts, host_key_check=check)
            assert (result.status, f"is {word}" in result.error) == (Status.FAILED, True), result.error


def test_a_new_host_key_is_remembered_where_the_task_says_so(sshd: SshPeer, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    for check, status in (("yes", Status.FAILED), ("accept-new", Status.SUCCESS), ("yes", Status.SUCCESS)):
        task = Remote(sshd, known_hosts=str(hosts))  # the worker's setting
        assert task.execute(action="stat", path=str(tmp_path), known_hosts="", host_key_check=check).status is status
    assert hosts.read_text().split() == sshd.known_hosts.split()[:3]


# -- where a task may go


@pytest.mark.parametrize(
    "path", ["/etc", "/tmp/../etc/x", "//etc", "/root/", "/tmp/..//boot/", "tmp", "./tmp", "/tmp/../../usr//lib"]
)
def test_a_forbidden_path_is_refused_before_anything_is_asked(path: str) -> None:
    for args in ({"action": "cleanup", "path": path, "pattern": "*"}, {"action": "compress", "source": path},
                 {"action": "backup", "source": "/srv", "target": f"{path}/x"}):  # fmt: skip
        with pytest.raises(InvalidTask):
            FileRunner([]).parse_args("", json.dumps(args | {"host": "h", "credential": "c"}))


def test_a_link_into_a_forbidden_directory_is_refused(sshd: SshPeer, tmp_path: Path) -> None:  # G70
    (tmp_path / "way").symlink_to("/etc")
    assert led_astray(sshd, tmp_path) == 0


def test_a_server_that_resolves_no_link_leads_nowhere_else(tmp_path: Path) -> None:  # G70
    (tmp_path / "way").symlink_to("/etc")
    with PasswordPeer(tmp_path, "eve", "pass") as peer:
        assert led_astray(peer, tmp_path) == 0


def led_astray(peer: Any, root: Path) -> int:
    """How many tasks went through the link ``way``."""
    given = (
        {"category": "username_password", "username": "eve", "password": "pass"}
        if isinstance(peer, PasswordPeer)
        else {}
    )
    count = 0
    for args in (
        {"action": "stat", "path": f"{root}/way"}, {"action": "stat", "path": f"{root}/way/ssh"},
        {"action": "cleanup", "path": f"{root}/way/", "pattern": "no such name"},
        {"action": "backup", "source": f"{root}/way/passwd", "target": f"{root}/out"},
        {"action": "compress", "source": f"{root}/way/ssh", "target": f"{root}/out.tar"},
    ):  # fmt: skip
        result = Remote(peer, **given).execute(**args)
        count += result.status is Status.SUCCESS
        assert "not followed" in result.error, result.error
    return count


def test_an_unreadable_directory_costs_only_itself_there(tmp_path: Path) -> None:  # F13
    for name in ("a", "b", "secret"):
        (tmp_path / "t" / name).mkdir(parents=True)
        (tmp_path / "t" / name / "x.log").write_text("x")
    with PasswordPeer(tmp_path, "eve", "pass") as peer:
        peer.unreadable = "secret"
        task = Remote(peer, "username_password", username="eve", password="pass")
        result = task.execute(action="cleanup", path=str(tmp_path / "t"), pattern="*.log", recursive=True)
    assert (result.status, json.loads(result.output)["deleted_count"]) == (Status.SUCCESS, 2)
    assert b"secret: Permission denied" in task.log


def test_a_server_without_extensions_is_served_as_well(tmp_path: Path) -> None:
    base = tmp_path / "t"
    base.mkdir()
    (base / "a.log").write_bytes(os.urandom(3_000_000))
    (tmp_path / "x.tar").write_text("former")
    with PasswordPeer(tmp_path, "eve", "pass") as peer:
        task = Remote(peer, "username_password", username="eve", password="pass")
        result = task.execute(action="compress", source=str(base), target=str(tmp_path / "x.tar"))
    assert result.status is Status.SUCCESS, result.error
    assert (tmp_path / "x.tar").stat().st_size > 3_000_000


@pytest.mark.parametrize("room", [1_000_000, 2_900_000], ids=["early", "late"])
@pytest.mark.parametrize("forgetful", [False, True], ids=["refused", "forgotten"])
def test_a_write_that_fails_leaves_nothing(tmp_path: Path, room: int, forgetful: bool) -> None:  # F5, F9
    base = tmp_path / "t"
    base.mkdir()
    (base / "a.log").write_bytes(bytes(3_000_000))
    with PasswordPeer(tmp_path, "eve", "pass") as peer:
        peer.room, peer.forgetful = room, forgetful
        for args in (
            {"action": "compress", "level": 0, "remove_source": True},
            {"action": "backup", "target": f"{tmp_path}/b/x"},
        ):
            task = Remote(peer, "username_password", username="eve", password="pass")
            result = task.execute(source=str(base), **args)
            assert result.status is Status.FAILED, args
    assert (base / "a.log").stat().st_size == 3_000_000
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["b", "t", "t/a.log"]


# -- ends


def growing(folder: Path) -> Path | None:
    found = [path for path in folder.glob(".out*.part") if path.is_file() or any(path.iterdir())]
    return found[0] if found else None


def until(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + 10
    while not (found := what()) and time.monotonic() < end:
        threading.Event().wait(0.01)
    assert found
    return found


def tell(pid: int, number: int) -> None:
    """The processes of a session end each other."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


@pytest.mark.parametrize("args", [{"action": "backup"}, {"action": "compress"}], ids=["copy", "archive"])
@pytest.mark.parametrize("ending", ["stop", "kill", "time-out", "stop of a frozen server"])
def test_a_large_file_is_left_in_the_middle(sshd: SshPeer, tmp_path: Path, args: dict[str, Any], ending: str) -> None:
    """F8"""
    (tmp_path / "in").mkdir()
    with (tmp_path / "in" / "huge").open("wb") as file:
        file.truncate(HUGE)
    task, results = Remote(sshd), []
    if ending == "time-out":
        task.runner.set_timeout(1.5)
    before = {proc.pid for proc in tree.below(os.getpid())}
    paths = {"source": str(tmp_path / "in"), "target": str(tmp_path / "out")}
    thread = threading.Thread(target=lambda: results.append(task.execute(**paths | args)))
    thread.start()
    until(lambda: growing(tmp_path))
    sessions = [proc.pid for proc in tree.below(os.getpid()) if proc.pid not in before]
    assert sessions
    if ending == "stop of a frozen server":
        for pid in sessions:
            tell(pid, signal.SIGSTOP)
    began = time.monotonic()
    if ending != "time-out":
        task.runner.kill() if ending == "kill" else task.runner.stop()
    thread.join(PROMISED + 2)
    took = time.monotonic() - began
    for pid in sessions:
        tell(pid, signal.SIGCONT)
    assert [result.status for result in results] == [Status.TIMEOUT if ending == "time-out" else Status.STOPPED]
    assert took < PROMISED + (1.5 if ending == "time-out" else 0)
    assert not list(tmp_path.glob("out*"))
    if ending in ("stop", "time-out"):
        assert sorted(os.listdir(tmp_path)) == ["in"]
    else:  # the line is dead: what has begun to grow cannot be removed
        assert growing(tmp_path) is None or b"is left there" in task.log
        assert ending == "kill" or growing(tmp_path)


@pytest.mark.parametrize(
    ("urgency", "connected", "at_once"),
    [(Urgency.NOW, True, True), (Urgency.NOW, False, True), (Urgency.POLITE, False, True), (Urgency.POLITE, True, False)],
)  # fmt: skip
def test_only_a_stop_of_an_open_connection_leaves_time_to_clear_up(
    sshd: SshPeer, monkeypatch: pytest.MonkeyPatch, urgency: Urgency, connected: bool, at_once: bool
) -> None:  # F8
    credential = Credential("c", "ssh_private_key", "key", {"private_key": sshd.plain_key, "username": sshd.user})
    args = FileArgs(host="127.0.0.1", port=sshd.port, known_hosts=sshd.known_hosts)
    line = SshConnection(login_of(args, credential, ""), lambda _: None)
    cuts: list[str] = []
    if connected:
        line.sftp()
    with monkeypatch.context() as patch:
        patch.setattr(Connections, "hang_up", lambda self: cuts.append("cut"))
        line.cancel(CancelRequest(EndReason.STOPPED, urgency))
        assert bool(cuts) is at_once
    line.close()


def test_a_stop_ends_a_walk_there(sshd: SshPeer, tmp_path: Path) -> None:  # F8
    for number in range(300):
        (tmp_path / f"{number}.log").write_text("x")
    task = Remote(sshd)
    task._take = lambda data: task.runner.stop() if b"deleted" in data else None  # type: ignore[method-assign]
    result = task.execute(action="cleanup", path=str(tmp_path), pattern="*.log")
    assert (result.status, len(os.listdir(tmp_path))) == (Status.STOPPED, 299)


def test_the_root_itself_is_refused() -> None:
    with pytest.raises(InvalidTask, match="directory of the system"):
        FileRunner([]).parse_args("", json.dumps({"action": "stat", "path": "//", "host": "h", "credential": "c"}))


def test_another_file_system_is_not_entered(sshd: SshPeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G71"""
    for name in ("here", "mounted"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.log").write_text("x")
    real = Sftp.device

    def device(self: Sftp, path: Path) -> int | None:
        told = real(self, path)
        assert told is not None
        return told + (path.name == "mounted")

    monkeypatch.setattr(Sftp, "device", device)
    result = Remote(sshd).execute(action="cleanup", path=str(tmp_path), pattern="*.log", recursive=True)
    assert json.loads(result.output)["deleted_files"] == [f"{tmp_path}/here/x.log (1 B)"]


def test_a_cleanup_of_many_misses_none(sshd: SshPeer, tmp_path: Path) -> None:
    """Files are deleted while the server is still listing them."""
    (tmp_path / "keep.txt").write_text("x")
    for number in range(1_000):
        os.mknod(tmp_path / f"{number}.log", 0o600 | stat.S_IFREG)
    result = Remote(sshd).execute(action="cleanup", path=str(tmp_path), pattern="*.log")
    assert json.loads(result.output)["deleted_count"] == 1_000
    assert os.listdir(tmp_path) == ["keep.txt"]


def test_what_changes_while_a_cleanup_stands_at_it_is_kept(sshd: SshPeer, tmp_path: Path) -> None:  # G71
    for name in ("a.log", "b.log", "c.log"):
        (tmp_path / name).write_text("old")
    task = Remote(sshd)

    def change(data: bytes) -> None:
        task.log += data
        for path in tmp_path.iterdir() if b"deleted" in data else ():
            path.write_text("new and longer")

    task._take = change  # type: ignore[method-assign]
    result = task.execute(action="cleanup", path=str(tmp_path), pattern="*.log")
    assert json.loads(result.output)["deleted_count"] == 1
    assert [path.read_text() for path in tmp_path.iterdir()] == ["new and longer"] * 2
    assert task.log.count(b"something else meanwhile") == 2


def test_a_file_swapped_for_a_link_is_not_read(sshd: SshPeer, tmp_path: Path) -> None:  # G70, G72
    (tmp_path / "a").write_text("a")
    credential = Credential("c", "ssh_private_key", "key", {"private_key": sshd.plain_key, "username": sshd.user})
    args = FileArgs(host="127.0.0.1", port=sshd.port, known_hosts=sshd.known_hosts)
    line = SshConnection(login_of(args, credential, ""), lambda _: None)
    try:
        files = RemoteFiles(Sftp(line.sftp(), "h"), Policy(None), lambda: False, lambda _: None)
        with files.entry(tmp_path / "a") as found:
            (tmp_path / "a").rename(tmp_path / "b")
            (tmp_path / "a").symlink_to("b")
            with pytest.raises(FileTrouble, match="something else"), files.read(found):
                pass
    finally:
        line.close()


def test_a_server_that_says_nothing_more_is_given_up(
    sshd: SshPeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.runners.file.ssh.ANSWER", 0.3)
    before = {proc.pid for proc in tree.below(os.getpid())}
    frozen: list[int] = []
    task = Remote(sshd)

    def freeze(data: bytes) -> None:
        if b"connected" in data:
            frozen.extend(proc.pid for proc in tree.below(os.getpid()) if proc.pid not in before)
            for pid in frozen:
                tell(pid, signal.SIGSTOP)

    task._take = freeze  # type: ignore[method-assign]
    result = task.execute(action="stat", path=str(tmp_path))
    for pid in frozen:
        tell(pid, signal.SIGCONT)
    assert (result.status, "no answer in time" in result.error) == (Status.FAILED, True), result.error


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_server_that_dies_ends_the_task_as_failed(sshd: SshPeer, tmp_path: Path, dry_run: bool) -> None:
    for number in range(300):
        (tmp_path / f"{number % 3}").mkdir(exist_ok=True)
        (tmp_path / f"{number % 3}" / f"{number}.log").write_text("x")
    before = {proc.pid for proc in tree.below(os.getpid())}
    task = Remote(sshd)

    def end_session(data: bytes) -> None:
        if b" delete" in data or data.startswith(b"delete"):
            for proc in tree.below(os.getpid()):
                if proc.pid not in before:
                    tell(proc.pid, signal.SIGKILL)

    task._take = end_session  # type: ignore[method-assign]
    result = task.execute(action="cleanup", path=str(tmp_path), pattern="*.log", recursive=True, dry_run=dry_run)
    assert (result.status, "connection was lost" in result.error) == (Status.FAILED, True), result.error


def test_no_secret_is_in_any_log(sshd: SshPeer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:  # G63
    with caplog.at_level(logging.DEBUG):
        task = Remote(sshd, private_key=sshd.key, passphrase=sshd.passphrase, username=sshd.user)
        result = task.execute(action="stat", path=str(tmp_path))
    told = caplog.text + task.log.decode() + result.output + result.execute_log
    assert sshd.passphrase not in told
    assert sshd.key.split()[5] not in told
    assert "paramiko" not in caplog.text


@pytest.mark.torture
def test_a_directory_of_100_000_entries_takes_little_memory(sshd: SshPeer, tmp_path: Path) -> None:
    import tracemalloc

    folder = tmp_path / str(uuid.uuid4())
    folder.mkdir()
    for number in range(100_000):
        os.mknod(folder / f"{number:06}.log", 0o600 | stat.S_IFREG)
    tracemalloc.start()
    try:
        task = Remote(sshd)
        task._take = lambda data: None  # type: ignore[method-assign]
        result = task.execute(action="cleanup", path=str(folder), pattern="*.log", dry_run=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert json.loads(result.output)["deleted_count"] == 100_000
    assert peak < 16 << 20
