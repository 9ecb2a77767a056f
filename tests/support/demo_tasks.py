"""The ten tasks of the demo, one per category, and their peers: real ones where this machine has them."""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import peers
from tests.support.dockerapi import FakeDocker
from tests.support.git_peers import Origin, git, https_git
from tests.support.mail_peer import MailBox
from tests.support.peers_small import answer, certificate, http_peer

DOCKER_SOCKET = "/var/run/docker.sock"
SECRET = "demo-secret"
SQL = "SELECT 6 * 7 AS answer, version() AS server"


@dataclass(frozen=True, slots=True)
class Sample:
    """One task, how it is to end, and who answers it.

    ``holds`` are keys that its output must have with these values (None: any value), ``logs`` is what its log must
    show. ``peer`` is asked after the end, so that it can tell what it saw; it begins with ``real`` or ``fake``.
    """

    category: str
    peer: Callable[[], str]
    args: Mapping[str, Any] | str = ""
    command: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    status: str = "success"
    holds: Mapping[str, Any] = field(default_factory=dict)
    logs: str = ""

    @property
    def row(self) -> dict[str, Any]:
        """The task as the server stores it; like the real one it names the category where there is no command."""
        args = self.args if isinstance(self.args, str) else json.dumps(self.args, ensure_ascii=False)
        fields = {"category": self.category, "command": self.command or self.category, "args": args, "timeout": 20}
        return fields | {"name": f"demo-{self.category}", "metadata": dict(self.metadata) or None}

    def problem(self, status: str, output: str, log: str) -> str:
        """What is not as it should be, in one line; empty if all is well."""
        if status != self.status:
            return f"it should be {self.status}, but is {status}"
        try:
            document = json.loads(output)
        except ValueError:
            return "its output is not JSON"
        for key, value in self.holds.items():
            if key not in document or (value is not None and document[key] != value):
                return f"its output should hold {key}" + (f" {value!r}" if value is not None else "")
        return "" if self.logs in log else f"its log should show {self.logs!r}"


class Peers:
    """Starts the peers in ``root`` and makes the samples; what ``stack`` closes is all that was started.

    ``credentials`` and ``ca_file`` are what the server and the worker have to know of them.
    """

    def __init__(self, root: Path, stack: contextlib.ExitStack) -> None:
        self._root, self._stack = root, stack
        self.credentials: dict[str, dict[str, Any]] = {}
        self.ca_file = root / "ca.pem"
        self._tls = certificate(self.ca_file, root / "key.pem")

    def samples(self) -> list[Sample]:
        return [
            self.command(), self.default(), self.script(), self.http(), self.database(), self.file(), self.git(),
            self.container(), self.message(), self.approval(),
        ]  # fmt: skip

    def command(self) -> Sample:
        return Sample(
            "command", lambda: "real: bash of this machine", command="echo", args='["two  blanks stay", "$HOME too"]',
            holds={"message": "two  blanks stay $HOME too\n", "exit_code": 0}, logs="$HOME too",
        )  # fmt: skip

    def default(self) -> Sample:
        """The one that is to fail: exit code, output and both streams are kept."""
        return Sample(
            "default", lambda: "real: bash of this machine", command="echo half done; echo 'disk full' >&2; exit 3",
            status="failed", holds={"message": "half done\n", "exit_code": 3}, logs="disk full",
        )  # fmt: skip

    def script(self) -> Sample:
        code = (
            "import json, sys; print(sys.version.split()[0], file=sys.stderr); print(json.dumps({'to': sys.argv[1]}))"
        )
        args = {"language": "python", "type": "inline", "code": code, "args": ["${WHO}"]}
        return Sample(
            "script", lambda: "real: python3 of this machine", args, metadata={"environment": {"WHO": "Ada"}},
            holds={"to": "Ada", "exit_code": 0}, logs="3.",
        )  # fmt: skip

    def http(self) -> Sample:
        seen: list[str] = []

        def respond(request: Any, body: bytes) -> None:
            seen.append(f"{request.command} {request.path}")
            answer(request, 201, json.dumps({"built": json.loads(body)["branch"]}).encode())

        peer = self._stack.enter_context(http_peer(respond))
        args = {"url": f"http://127.0.0.1:{peer.port}/builds", "method": "POST", "body": {"branch": "main"}}
        return Sample(
            "http", lambda: f"real: http.server of Python on 127.0.0.1:{peer.port}, saw {', '.join(seen) or 'nothing'}",
            args | {"expected_status": [201]}, holds={"built": "main", "status_code": 201}, logs="201",
        )  # fmt: skip

    def database(self) -> Sample:
        """The first server that is installed here, else SQLite, which needs none."""
        for kind, make in (("mysql", peers.mariadb_peer), ("postgresql", peers.postgresql_peer)):
            with contextlib.suppress(peers.Missing, KeyError):  # KeyError: the server's user is unknown here
                return self._sql(kind, self._stack.enter_context(make()))
        try:
            return self._redis(self._stack.enter_context(peers.redis_peer()))
        except peers.Missing:
            sql = SQL.replace("version", "sqlite_version")
            return Sample(
                "database", lambda: "real: SQLite (no MariaDB, PostgreSQL or Redis here: `make peers` installs them)",
                {"db_type": "sqlite", "database": "demo.db", "sql": sql},
                holds={"row_count": 1, "rows": None}, logs="1 rows",
            )  # fmt: skip

    def _sql(self, kind: str, peer: peers.Peer) -> Sample:
        name, database = {"mysql": ("MariaDB", "jobs"), "postgresql": ("PostgreSQL", "postgres")}[kind]
        known = self._know("database", "username_password", username=peer.username, password=peer.password)
        args = {"db_type": kind, "sql": SQL, "host": peer.host, "port": peer.port, "database": database}
        return Sample(
            "database", lambda: f"real: {name} on {peer.host}:{peer.port}", args | {"credential_id": known},
            holds={"row_count": 1, "rows": None}, logs="1 rows",
        )  # fmt: skip

    def _redis(self, peer: peers.Peer) -> Sample:
        known = self._know("database", "username_password", username=peer.username, password=peer.password)
        args: dict[str, Any] = {"db_type": "redis", "command": "SET", "args": ["demo", "42", "EX", "60"]}
        args |= {"host": peer.host, "port": peer.port, "credential_id": known}
        return Sample(
            "database", lambda: f"real: Redis on {peer.host}:{peer.port}",
            args, holds={"result": "OK"}, logs="SET demo",
        )  # fmt: skip

    def file(self) -> Sample:
        logs = self._root / "logs"
        logs.mkdir()
        for name in ("old one.log", "new.log", "keep.txt"):
            (logs / name).write_text("x" * 1536)
        os.utime(logs / "old one.log", (time.time() - 8 * 86_400,) * 2)
        args = {"action": "cleanup", "path": str(logs), "pattern": "*.log", "older_than": "7d"}
        return Sample(
            "file", lambda: f"real: the file system; left are {', '.join(sorted(os.listdir(logs)))}", args,
            holds={"deleted_count": 1, "deleted_size": "1.5 KB"}, logs="old one.log",
        )  # fmt: skip

    def git(self) -> Sample:
        origin = Origin(self._root / "origin")
        commit = git(origin.work, "rev-parse", "HEAD")
        peer = self._stack.enter_context(https_git(self._root / "origin", "git", SECRET, self._tls))
        known = self._know("deploy", "api_token", token=SECRET)
        args = {"url": f"https://127.0.0.1:{peer.port}/repo.git", "branch": "main", "credential": known}
        return Sample(
            "git", lambda: f"real: git http-backend behind https on 127.0.0.1:{peer.port}, with a token", args,
            metadata={"working_dir": str(self._root / "clone")}, holds={"action": "clone", "commit": commit},
        )  # fmt: skip

    def container(self) -> Sample:
        """A real engine only if it has the image already: the demo fetches nothing from the network."""
        why = engine_problem(DOCKER_SOCKET)
        args = {"action": "run", "image": "busybox", "command": ["echo", "hello"], "detach": False, "remove": True}
        if not why:
            told, socket = f"real: the engine at {DOCKER_SOCKET}", DOCKER_SOCKET
        else:
            socket = self._stack.enter_context(FakeDocker(self._root)).socket
            told = f"fake: a Docker API without containers, its programs run on this machine ({why})"
        return Sample(
            "container", lambda: told, args | {"socket": socket}, holds={"exit_code": 0, "output": "hello\n"},
            logs="hello",
        )  # fmt: skip

    def message(self) -> Sample:
        box = self._stack.enter_context(MailBox(self._tls, login=("cron@demo", SECRET)))
        known = self._know(
            "mail", "email", smtp_host="127.0.0.1", smtp_port=box.port, username="cron@demo", password=SECRET
        )
        args = {"type": "email", "to": ["ada@demo"], "subject": "Backup", "content": "Done.", "credential_id": known}

        def told() -> str:
            taken = f"{len(box.mails)} mail taken" + (", encrypted" if box.encrypted == [True] else "")
            return f"real: aiosmtpd on 127.0.0.1:{box.port}, which delivers nothing; {taken}"

        return Sample("message", told, args, holds={"message": "email message sent"}, logs="sent")

    def approval(self) -> Sample:
        args = {"title": "Release 2.4?", "content": "All checks are green.", "user_ids": ["ada"], "timeout": 600}
        return Sample(
            "approval", lambda: "fake: the simulated API server; the demo said yes in Ada's place", args,
            holds={"approval_title": "Release 2.4?", "approval_id": None}, logs="waiting for an answer",
        )  # fmt: skip

    def _know(self, name: str, category: str, **value: Any) -> str:
        """Give the server a credential; returns its id."""
        known = str(uuid.uuid4())
        self.credentials[known] = {
            "id": known, "category": category, "name": name, "value": value, "description": "", "is_active": True,
        }  # fmt: skip
        return known


def engine_problem(socket: str) -> str:
    """Why the container engine there cannot be used for the demo; empty if it can."""
    if not os.path.exists(socket):
        return f"there is no engine at {socket}"
    import docker

    try:
        with contextlib.closing(docker.APIClient(f"unix://{socket}", timeout=3)) as api:
            return "" if api.images("busybox") else "the engine has no image busybox: docker pull busybox"
    except Exception as error:  # noqa: BLE001 - whatever is wrong there, the demo goes on without it
        return f"the engine does not answer: {type(error).__name__}"
