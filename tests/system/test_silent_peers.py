"""Every runner waits on a peer that never answers, and is ended: by a stop, a kill, its time-out (G25, G26, G27).

It has to return within the grace time and a second, with the right status, and to leave no process, no thread, no
temporary and no half-written file, while its peer still says nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sqlite3
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from adapters.apiserver.coordination import HttpCoordination

from adapters.apiserver.http import ApiClient
from adapters.process import tree
from adapters.process.ports import Command
from adapters.process.supervisor import Supervisor
from adapters.runners.approval import ApprovalRunner
from adapters.runners.command import CommandRunner, ProcessOptions
from adapters.runners.container import ContainerRunner
from adapters.runners.database import DatabaseRunner
from adapters.runners.file.runner import FileRunner
from adapters.runners.git import GitRunner
from adapters.runners.http import HttpRunner
from adapters.runners.message import MessageRunner
from adapters.runners.script import ScriptRunner
from adapters.wire.endpoints import ApiAddress
from domain.result import Result
from domain.runner import CancelToken, Credential, ExecutionContext, Runner
from domain.status import Status
from tests.support.livelog import Log

GRACE = 0.5
PROMISED = GRACE + 1.0
MARGIN = 3.0  # for a machine that does much else
STUBBORN = "trap '' TERM; echo READY; while :; do sleep 0.05; done"
HUGE = 1 << 40  # bytes of a file that takes no room on disk


@dataclass
class Key:
    category: str
    value: dict[str, Any]

    def credential(self, credential_id: str) -> Credential:
        return Credential(credential_id, self.category, "peer", self.value)


@dataclass
class Silence:
    """Makes peers that take what comes and never say a word, until the stage is cleared."""

    root: Path
    processes: Supervisor
    stack: contextlib.ExitStack
    log: Log = field(default_factory=Log)
    address: Any = None
    lingering: tuple[str, ...] = ()  # threads that may wait for their peer a little longer than the run

    @property
    def options(self) -> ProcessOptions:
        return ProcessOptions(grace=GRACE)

    def tcp(self) -> int:
        listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.address = listener
        port: int = listener.getsockname()[1]
        return port

    def unix(self) -> str:
        listener = self.stack.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX)))
        listener.bind(str(self.root / "s"))
        listener.listen()
        self.address = listener
        return str(self.root / "s")

    def asked(self) -> None:
        """Return when somebody has connected."""
        self.address.settimeout(10)
        line, _ = self.address.accept()
        self.stack.callback(line.close)

    def says(self, text: bytes) -> Callable[[], None]:
        return lambda: self.log.wait_for(text)

    def context(self, key: Key | None = None, **more: Any) -> ExecutionContext:
        given = {"task_id": str(uuid.uuid4()), "working_dir": self.root / "work", "log": self.log, "credentials": key}
        return ExecutionContext(**given | more)


@dataclass
class Waiting:
    """A runner, what it is given, and how to know that it waits."""

    runner: Runner
    context: ExecutionContext
    waits: Callable[[], None]
    args: dict[str, Any] = field(default_factory=dict)
    command: str = ""


def command(peer: Silence) -> Waiting:
    return Waiting(CommandRunner(peer.processes, peer.options), peer.context(), peer.says(b"READY"), command=STUBBORN)


def script(peer: Silence) -> Waiting:
    args = {"language": "sh", "type": "inline", "code": STUBBORN}
    return Waiting(ScriptRunner(peer.processes, peer.options), peer.context(), peer.says(b"READY"), args)


def http(peer: Silence, scheme: str = "http") -> Waiting:
    return Waiting(HttpRunner(), peer.context(), peer.asked, {"url": f"{scheme}://127.0.0.1:{peer.tcp()}/"})


def https(peer: Silence) -> Waiting:
    return http(peer, "https")


def database(kind: str) -> Callable[[Silence], Waiting]:
    def make(peer: Silence) -> Waiting:
        key = Key("username_password", {"username": "u", "password": "p"})
        args = {"db_type": kind, "credential_id": "c", "host": "127.0.0.1", "port": peer.tcp(), "database": "1"}
        args |= {"command": "PING"} if kind == "redis" else {"sql": "SELECT 1"}
        return Waiting(DatabaseRunner(), peer.context(key), peer.asked, args)

    return make


def sqlite(peer: Silence) -> Waiting:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    args = {"db_type": "sqlite", "database": "a.db", "sql": endless}
    return Waiting(DatabaseRunner(), peer.context(), peer.says(b"connected"), args)


def sqlite_locked(peer: Silence) -> Waiting:
    """Another program writes, and does not end."""
    waiting = sqlite(peer)
    waiting.args["sql"] = "CREATE TABLE t (a)"
    other = sqlite3.connect(peer.root / "work" / "a.db", isolation_level=None)
    peer.stack.callback(other.close)
    other.execute("BEGIN EXCLUSIVE")
    return waiting


def file(peer: Silence, **args: Any) -> Waiting:
    tree_root = peer.root / "work"
    (tree_root / "in").mkdir()
    os.mkfifo(tree_root / "in" / "a pipe")
    with (tree_root / "in" / "huge").open("wb") as huge:
        huge.truncate(HUGE)
    given = {"source": str(tree_root / "in"), "target": str(tree_root / "out")} | args
    return Waiting(FileRunner([str(tree_root)]), peer.context(), peer.says(b"a pipe"), given)


def archive(peer: Silence) -> Waiting:
    return file(peer, action="compress", target=str(peer.root / "work" / "out.tar.gz"))


def zipped(peer: Silence) -> Waiting:
    return file(peer, action="compress", target=str(peer.root / "work" / "out.zip"))


def copy(peer: Silence) -> Waiting:
    return file(peer, action="backup")


def sftp(peer: Silence) -> Waiting:
    args = {"action": "stat", "path": "/srv", "host": "127.0.0.1", "port": peer.tcp(), "credential": "c"}
    key = Key("username_password", {"username": "u", "password": "p"})
    return Waiting(FileRunner(), peer.context(key), peer.asked, args)


def git(scheme: str) -> Callable[[Silence], Waiting]:
    def make(peer: Silence) -> Waiting:
        if scheme == "ssh" and shutil.which("ssh") is None:
            pytest.skip("ssh is missing: install openssh-client to test git over ssh")
        args = {"url": f"{scheme}://127.0.0.1:{peer.tcp()}/x.git"}
        return Waiting(GitRunner(peer.processes, peer.options), peer.context(), peer.asked, args)

    return make


def docker(peer: Silence) -> Waiting:
    args = {"action": "run", "image": "busybox", "detach": False, "socket": peer.unix()}
    return Waiting(ContainerRunner(peer.processes, peer.options), peer.context(), peer.asked, args)


def docker_tcp(peer: Silence) -> Waiting:
    args = {"action": "run", "image": "busybox", "detach": False, "host": f"127.0.0.1:{peer.tcp()}"}
    return Waiting(ContainerRunner(peer.processes, peer.options), peer.context(), peer.asked, args)


def docker_tls(peer: Silence) -> Waiting:
    authority = trustme.CA()
    mine = authority.issue_cert("worker@example.com")
    pems = authority.cert_pem, mine.cert_chain_pems[0], mine.private_key_pem
    names = ("ca_cert", "client_cert", "client_key")
    key = Key("key_value", {name: pem.bytes().decode() for name, pem in zip(names, pems, strict=True)})
    waiting = docker_tcp(peer)
    return replace(waiting, context=peer.context(key), args=waiting.args | {"tls": True, "tls_cred": "c"})


def containerd(peer: Silence) -> Waiting:
    program = peer.root / "nerdctl"
    program.write_text(f"#!/bin/bash\n{STUBBORN}\n")
    program.chmod(0o755)
    options = ProcessOptions(grace=GRACE, environment={"PATH": f"{peer.root}:{os.environ['PATH']}"})
    args = {"action": "run", "image": "busybox", "detach": False, "runtime": "containerd", "env": {"A": "b"}}
    return Waiting(ContainerRunner(peer.processes, options), peer.context(), peer.says(b"READY"), args)


def mail(peer: Silence) -> Waiting:
    value = {"smtp_host": "127.0.0.1", "smtp_port": peer.tcp(), "username": "u@x", "password": "p"}
    args = {"type": "email", "credential_id": "c", "to": ["a@x"], "subject": "s", "content": "c"}
    return Waiting(MessageRunner(), peer.context(Key("email", value)), peer.asked, args)


def webhook(peer: Silence) -> Waiting:
    key = Key("webhook", {"webhook": f"http://127.0.0.1:{peer.tcp()}/hook"})
    return Waiting(
        MessageRunner(), peer.context(key), peer.asked, {"type": "slack", "credential_id": "c", "content": "c"}
    )


def approval(peer: Silence) -> Waiting:
    client = ApiClient(ApiAddress.parse(f"http://127.0.0.1:{peer.tcp()}"), lambda: "token", timeout=20)
    peer.stack.callback(client.close)
    peer.lingering = ("approval",)  # it withdraws the question if an answer still comes
    context = peer.context(approvals=HttpCoordination(client))
    return Waiting(ApprovalRunner(), context, peer.asked, {"title": "Release?", "user_ids": ["u"]})


def credential(make: Callable[[], Runner], **args: Any) -> Callable[[Silence], Waiting]:
    """The API server says nothing when it is asked for the credential."""

    def waiting(peer: Silence) -> Waiting:
        client = ApiClient(ApiAddress.parse(f"http://127.0.0.1:{peer.tcp()}"), lambda: "token", timeout=20)
        peer.stack.callback(client.close)
        peer.lingering = ("credential", "message")
        return Waiting(make(), peer.context(credentials=HttpCoordination(client)), peer.asked, args)

    return waiting


SECRET = str(uuid.uuid4())
SHOP = {"db_type": "mysql", "host": "127.0.0.1", "database": "shop", "sql": "SELECT 1"}
CREDENTIALS = {
    "http": credential(HttpRunner, url="http://127.0.0.1:1/", credential_id=SECRET),
    "database": credential(DatabaseRunner, credential_id=SECRET, **SHOP),
    "git": credential(GitRunner, url="https://127.0.0.1:1/x.git", credential=SECRET),
    "file": credential(FileRunner, action="stat", path="/srv", host="127.0.0.1", credential=SECRET),
    "container": credential(ContainerRunner, action="pull", image="x", registry_cred=SECRET),
    "message": credential(MessageRunner, type="slack", content="c", credential_id=SECRET),
}

CASES: dict[str, Callable[[Silence], Waiting]] = {
    "command": command, "script": script, "http": http, "https": https, "mysql": database("mysql"),
    "postgresql": database("postgresql"), "redis": database("redis"), "sqlite": sqlite,
    "sqlite-locked": sqlite_locked, "archive": archive,
    "zip": zipped, "copy": copy, "sftp": sftp, "git-https": git("https"), "git-ssh": git("ssh"), "docker": docker,
    "docker-tcp": docker_tcp, "docker-tls": docker_tls,
    "containerd": containerd, "mail": mail, "webhook": webhook, "approval": approval,
} | {f"credential-{name}": case for name, case in CREDENTIALS.items()}  # fmt: skip
ENDINGS = {"stop": Status.STOPPED, "kill": Status.STOPPED, "time-out": Status.TIMEOUT}


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Silence]:
    for name in ("work", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with contextlib.ExitStack() as stack:
        processes = Supervisor()
        stack.callback(processes.close)
        processes.run(Command(["true"], None, os.environ), CancelToken())  # its thread is there before the count
        yield Silence(tmp_path, processes, stack)
    tempfile.tempdir = None


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("case", CASES)
def test_a_silent_peer_is_left(peer: Silence, case: str, ending: str) -> None:
    """C2, C6, S4, S8, H1, M3, M6, D9, F8, GIT7, K1, A4."""
    waiting = CASES[case](peer)
    waiting.runner.parse_args(waiting.command, json.dumps(waiting.args) if waiting.args else "")
    threads, processes = set(threading.enumerate()), alive()
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(waiting.runner.execute(waiting.context)))
    if ending == "time-out":
        waiting.runner.set_timeout(0.5)
        thread.start()
        thread.join(0.5 + PROMISED + MARGIN)
    else:
        thread.start()
        waiting.waits()
        waiting.runner.stop() if ending == "stop" else waiting.runner.kill()
        thread.join(PROMISED + MARGIN)
    assert [result.status for result in results] == [ENDINGS[ending]]
    assert waiting.runner.status is ENDINGS[ending]  # G12 of the runners
    waiting.runner.cleanup()
    assert settled(lambda: sorted(it.name for it in set(threading.enumerate()) - threads), peer.lingering) == []
    assert settled(lambda: sorted(alive() - processes)) == []
    assert os.listdir(peer.root / "temporary") == []
    assert [path.name for path in (peer.root / "work").iterdir() if "out" in path.name] == []


def alive() -> set[int]:
    return {proc.pid for proc in tree.below(os.getpid())}


def settled(what: Callable[[], list[Any]], allowed: tuple[str, ...] = ()) -> list[Any]:
    """What is still there, after a while for a busy machine."""
    until = time.monotonic() + 1.0 + MARGIN / 2
    while (left := [one for one in what() if one not in allowed]) and time.monotonic() < until:
        threading.Event().wait(0.02)
    return left
