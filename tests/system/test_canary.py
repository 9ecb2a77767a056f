"""Unique secrets for every kind of task, through the real worker at level DEBUG; then everything is searched (G63, G64)."""

from __future__ import annotations

import json
import secrets
import socketserver
import ssl
import stat
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import trustme

from adapters.testkit.apiserver import SimulatedServer
from tests.support.canary import Sampler, files, leaks
from tests.support.dockerapi import FakeDocker
from tests.support.mail_peer import MailBox
from tests.support.peers_small import Served, answer, http_peer
from tests.support.program import Program, Start

# What a killed worker leaves half open in the server is closed by the garbage collector of its event loop.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

OVER = ("success", "failed", "error", "timeout")
PLAIN = ("api key", "url password", "header", "token", "webhook", "key data", "mail")  # of these only ASCII travels


def canaries(*names: str) -> dict[str, str]:
    made = {name: f"Can4ry{secrets.token_hex(8)}" for name in names}
    return {name: text if name in PLAIN else f"{text[:9]} '\"/+ü%&{text[9:]}" for name, text in made.items()}


def private_key(data: str) -> str:
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{data}\n-----END OPENSSH PRIVATE KEY-----"


def echo(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """A server that tells all it was told, as careless ones do; what is asked for below /bad fails."""
    told = f"{request.path}\n{request.headers}\n".encode() + body
    if "/bad" in request.path:
        answer(request, 500, json.dumps({"errcode": 1, "errmsg": told.decode("utf-8", "replace")}).encode())
    else:
        answer(request, 200, told)


class Gossip(socketserver.StreamRequestHandler):
    """Refuses whatever is said, and repeats it (as a server of Redis)."""

    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(b"-WRONGPASS " + data.replace(b"\r\n", b" ") + b"\r\n")


class World:
    """A server with one credential for each kind, and a directory of the program's own."""

    def __init__(self, server: SimulatedServer, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.tasks: dict[str, str] = {}
        self.frames: list[bytes] = []
        self.locks: list[str] = []
        plain_message, plain_acquire = server.model.message, server.model.locks.acquire

        def message(connection: Any, data: bytes) -> bool:
            self.frames.append(data.replace(f'"api_key":"{server.model.token}"'.encode(), b""))  # where it belongs
            return plain_message(connection, data)

        def acquire(key: str, expire: float) -> str | None:
            value = plain_acquire(key, expire)
            self.locks += [value] if value else []
            return value

        server.model.message = message  # type: ignore[method-assign]
        server.model.locks.acquire = acquire  # type: ignore[method-assign]

    def credential(self, category: str, **value: Any) -> str:
        made = str(uuid.uuid4())
        row = {"id": made, "category": category, "name": f"a {category}", "value": value, "is_active": True}
        with self.server.guard:
            self.server.model.credentials[made] = row
        return made

    def add(self, name: str, category: str, **args: Any) -> None:
        self.tasks[name] = self.server.add_task(name=name, category=category, args=json.dumps(args), timeout=8)

    def run(self) -> dict[str, str]:
        """Offer all that were added and return how they ended."""
        self.server.offer(*self.tasks.values())
        return {name: self.server.wait_for(task, *OVER)["status"] for name, task in self.tasks.items()}

    def told(self) -> dict[str, bytes]:
        """What reached the server."""
        found = {f"frame {number}": data for number, data in enumerate(self.frames)}
        for name, task in self.tasks.items():
            found |= {f"output of {name}": self.server.task(task)["output"].encode()}
            found |= {f"log of {name}": self.server.log(task).encode()}
        return found


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer(token=f"Can4ry{secrets.token_hex(8)}") as made:
        yield made


def fill(world: World, known: dict[str, str], engine: FakeDocker, ports: dict[str, int]) -> None:
    def login(name: str) -> str:
        return world.credential("username_password", username="somebody", password=known[name])

    web = f"http://127.0.0.1:{ports['web']}"
    bearer = world.credential("api_token", token=known["token"])
    for state in ("good", "bad"):
        url = f"http://user:{known['url password']}@127.0.0.1:{ports['web']}/{state}"
        world.add(f"http {state} url", "http", url=url)
        header = {"Authorization": f"Bearer {known['header']}"}
        world.add(f"http {state} header", "http", url=f"{web}/{state}", headers=header)
        world.add(f"http {state} basic", "http", url=f"{web}/{state}", credential_id=login("basic"))
        world.add(f"http {state} bearer", "http", url=f"{web}/{state}", credential_id=bearer)
        hook = world.credential("webhook", webhook=f"{web}/{state}/{known['webhook']}", secret=known["hook secret"])
        for kind in ("feishu_bot", "dingtalk_bot"):
            world.add(f"{kind} {state}", "message", type=kind, credential_id=hook, content="x")
    mail = world.credential("email", smtp_host="127.0.0.1", smtp_port=ports["mail"], username="a@b.cd",
                            password=known["mail"], from_name="x")  # fmt: skip
    world.add("mail", "message", type="email", credential_id=mail, content="x", to=["c@d.ef"], subject="s")
    world.add("redis", "database", db_type="redis", host="127.0.0.1", port=ports["redis"], command="GET", args=["a"],
              credential_id=login("redis"))  # fmt: skip
    for kind in ("mysql", "postgresql"):
        world.add(kind, "database", db_type=kind, host="127.0.0.1", port=1, database="d", sql="select 1",
                  credential_id=login("database"))  # fmt: skip
    token = world.credential("api_token", token=known["token"])
    world.add("git https", "git", url=f"https://127.0.0.1:{ports['web']}/bad.git", credential=token)
    ssh = world.credential(
        "ssh_private_key", username="git", private_key=private_key(known["key data"]), passphrase=known["passphrase"]
    )
    world.add("git ssh", "git", url="ssh://git@127.0.0.1:1/x.git", credential=ssh)
    registry = {"image": "a:1", "registry": "reg.example.com", "registry_cred": login("registry")}
    world.add("pull", "container", action="pull", socket=engine.socket, **registry)
    world.add("push", "container", action="push", socket=engine.socket, **registry)
    engine.stream_errors["push"] = f"unauthorized: {known['registry']}"


def test_no_secret_is_written_or_shown_anywhere(server: SimulatedServer, tmp_path: Path) -> None:  # G63, G64
    known = canaries("url password", "header", "token", "basic", "webhook", "hook secret", "mail", "redis",
                     "database", "key data", "passphrase", "registry") | {"api key": server.model.token}  # fmt: skip
    directory, kept = tmp_path / "w", tmp_path / "kept"
    for path in (directory, kept, directory / "tmp"):
        path.mkdir()
    key_file = kept / "api.key"
    key_file.write_text(known["api key"])
    # A single line of a key is known raw only, so the whole of it is there.
    texts = [private_key(text) if name == "key data" else text for name, text in known.items()]
    (kept / "careless").write_text("\n".join(texts))
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(kept / "ca.pem"))
    world = World(server, directory)
    with (
        FakeDocker(kept) as engine, http_peer(echo) as web, Served(Gossip) as redis, Sampler() as sampler,
        MailBox(tls) as mail,
        Program(server, directory, Start(environment={"API_AUTH_TOKEN": "", "TMPDIR": str(directory / "tmp")}),
                log={"level": "DEBUG"},
                server={"auth_token_file": str(key_file)}, runners={"ca_file": str(kept / "ca.pem")}) as program,
    ):  # fmt: skip
        fill(world, known, engine, {"web": web.port, "redis": redis.port, "mail": mail.port})
        ended = world.run()
        # Tasks that print what they should not have: the secrets are known by now.
        careless = f"env; cat {kept}/careless; base64 -w0 {kept}/careless; xxd -p -c0 {kept}/careless >&2; exit 1"
        for category, args in (
            ("command", {}),
            ("script", {"type": "inline", "language": "shell", "code": careless}),
        ):
            task = server.add_task(
                name=category, category=category, args=json.dumps(args) if args else "", command=careless
            )
            world.tasks[category] = task
            server.offer(task)
            server.wait_for(task, *OVER)
        program.end()
    assert {"http good url", "http good basic", "http good bearer", "pull"} <= {
        n for n, s in ended.items() if s == "success"
    }
    assert [server.task(task)["status"] for task in (world.tasks["command"], world.tasks["script"])] == ["failed"] * 2
    assert {"mail", "redis", "mysql", "git https", "git ssh", "push", "http bad url"} <= {
        n for n, s in ended.items() if s == "failed"
    }
    written = files(directory)
    assert leaks(known, written | world.told()) == []
    assert any(b"fetch" in text for text in sampler.seen)
    assert leaks(known, {"the arguments or the environment of a process": b"\n".join(sampler.seen)}) == []
    journal = {name: data for name, data in written.items() if "/state/journal" not in name}
    assert len(world.locks) > 10
    assert leaks({f"lock {value}": value for value in world.locks}, journal | world.told()) == []
    assert list((directory / "tmp").iterdir()) == []
    assert {oct(path.stat().st_mode & 0o077) for path in (directory / "state").rglob("*")} == {"0o0"}
    assert stat.S_IMODE(program.log.stat().st_mode)  # it is there, and was searched
    assert str(program.log) in written
