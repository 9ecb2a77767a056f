"""A fake of the Docker Engine API, on a unix socket or on TCP. Containers run their command as a local process."""

from __future__ import annotations

import fnmatch
import functools
import http.server
import io
import json
import os
import re
import signal
import socketserver
import ssl
import struct
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.dockerbox import Box, Problem, refusal, run

__all__ = ["Box", "FakeDocker"]


NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
PRUNED = {"images": "Images", "containers": "Containers", "volumes": "Volumes", "networks": "Networks"}


class FakeDocker:
    """``requests`` records (method, path, query, body).

    A request is named by its path, its last word (``create``) or a pattern over method and path (``GET info*``).
    Those in ``silent`` are neither carried out nor answered, those in ``lost`` are carried out and not answered.
    ``stream_errors`` maps pull, push or build to the error line their stream ends with. With ``tcp`` it listens on a
    port of loopback (``host``), with ``tls`` by TLS. Its manners are those of Docker 20.10, or with ``podman`` those of
    Podman 4.3, as both showed them.
    """

    def __init__(
        self, directory: Path, *, tcp: bool = False, tls: ssl.SSLContext | None = None, podman: bool = False
    ) -> None:
        self.socket = str(directory / "docker.sock")
        self.host = ""
        self._tcp, self._tls, self.podman = tcp, tls, podman
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.headers: list[dict[str, str]] = []
        self.images = {"busybox:latest"}
        self.volumes: set[str] = set()
        self.boxes: dict[str, Box] = {}
        self.execs: dict[str, dict[str, Any]] = {}
        self.silent: set[str] = set()
        self.lost: set[str] = set()
        self.asked = threading.Event()
        self.stream_errors: dict[str, str] = {}
        self.over = threading.Event()

    def __enter__(self) -> FakeDocker:
        engine = self

        kind: Any = socketserver.ThreadingTCPServer if self._tcp else socketserver.ThreadingUnixStreamServer

        class Server(kind):  # type: ignore[misc]
            daemon_threads = False
            block_on_close = True

            def handle_error(self, *_: Any) -> None: ...  # clients hang up in tests on purpose

        class Bound(_Handler):
            docker = engine

        self._server = Server(("127.0.0.1", 0) if self._tcp else self.socket, Bound)
        if self._tcp:
            self.host = "{}:{}".format(*self._server.server_address)
        if self._tls is not None:
            listener = self._server.socket
            self._server.socket = self._tls.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for box in self.boxes.values():
            box.signal(signal.SIGKILL)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def box(self, name: str) -> Box:
        for box in list(self.boxes.values()):
            if name in (box.id, box.name):
                return box
        raise Problem(404, f"No such container: {name}")

    def image(self, name: str) -> str:
        tagged = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
        if tagged not in self.images:
            raise Problem(404, f"No such image: {tagged}")
        return tagged

    def create(self, name: str, body: dict[str, Any]) -> Box:
        if name and not NAME.fullmatch(name):
            raise Problem(400, f"Invalid container name ({name}), only {NAME.pattern[:-1]} are allowed")
        if any(box.name == name for box in self.boxes.values()):
            raise Problem(409, f'Conflict. The container name "/{name}" is already in use')
        self.image(body["Image"])
        host = body.get("HostConfig") or {}
        named = {bind.split(":")[0] for bind in host.get("Binds") or []}
        self.volumes |= {one for one in named if not one.startswith("/")}
        box = Box(uuid.uuid4().hex, name or f"box{uuid.uuid4().hex[:8]}", body)
        if host.get("AutoRemove"):
            box.gone = functools.partial(self.boxes.pop, box.id, None)
        self.boxes[box.id] = box
        return box

    def prune(self, kind: str) -> list[str]:
        """What is in no use goes; every image of the fake has a name, and stays."""
        if kind == "containers":
            gone = [box.id for box in self.boxes.values() if box.state != "running"]
            for one in gone:
                self.boxes.pop(one, None)
            return gone
        binds = [bind for box in self.boxes.values() for bind in (box.body.get("HostConfig") or {}).get("Binds") or []]
        gone = sorted(self.volumes - {bind.split(":")[0] for bind in binds}) if kind == "volumes" else []
        self.volumes -= set(gone)
        return gone


class _Handler(http.server.BaseHTTPRequestHandler):
    docker: FakeDocker
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.split("/") if part]
        if parts and parts[0].startswith("v1."):
            parts = parts[1:]
        self.query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        raw = self._body()
        body = json.loads(raw) if raw and self.headers.get("Content-Type") == "application/json" else raw
        self.docker.requests.append((self.command, "/".join(parts), self.query, body))
        self.docker.headers.append(dict(self.headers))
        if self._named(self.docker.silent, parts):
            self._never_answer()
            return
        plain = self.wfile
        if lost := self._named(self.docker.lost, parts):
            self.wfile = io.BytesIO()
        try:
            self._route(parts, body)
        except Problem as problem:
            self._json({"message": str(problem)}, problem.status)
        if lost:
            self.wfile = plain
            self._never_answer()

    def _named(self, names: set[str], parts: list[str]) -> bool:
        path = "/".join(parts)
        return bool({path, parts[-1]} & names) or any(
            fnmatch.fnmatchcase(f"{self.command} {path}", name) for name in names
        )

    def _never_answer(self) -> None:
        self.docker.asked.set()
        self.docker.over.wait(20)
        self.close_connection = True

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _json(self, value: Any, status: int = 200) -> None:
        data = b"" if status in (204, 304) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _begin(self, kind: str, **headers: str) -> None:
        self.send_response(200)
        for name, value in ({"Content-Type": kind} | headers).items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _stream(self, what: str, lines: list[dict[str, Any]]) -> None:
        error = self.docker.stream_errors.get(what)
        self._begin("application/json")
        for line in [*lines, *([{"error": error, "errorDetail": {"message": error}}] if error else [])]:
            self._chunk(json.dumps(line).encode() + b"\r\n")
        self._chunk(b"")

    def _route(self, parts: list[str], body: Any) -> None:
        match (self.command, *parts):
            case ("GET", "version"):
                self._json({"Version": "20.10.24", "ApiVersion": "1.41"})
            case ("GET", "_ping"):
                self._begin("text/plain", **{"Api-Version": "1.41"})
                self._chunk(b"OK")
                self._chunk(b"")
            case ("POST", "build"):
                self.docker.images.add(self.query["t"])
                self._stream("build", [{"stream": "Step 1/1\n"}, {"aux": {"ID": "sha256:abc"}}])
            case ("POST", "images", "create"):
                name = f"{self.query['fromImage']}:{self.query.get('tag', 'latest')}"
                if "pull" not in self.docker.stream_errors:
                    self.docker.images.add(name)
                self._stream("pull", [{"status": "Pulling", "id": "layer"}])
            case ("POST", "images", *name, "push"):
                self._stream("push", [{"status": "Pushed", "id": "/".join(name)}])
            case ("POST", "images", *name, "tag"):
                self.docker.image("/".join(name))
                self.docker.images.add(f"{self.query['repo']}:{self.query.get('tag', 'latest')}")
                self._json({}, 201)
            case ("GET", "images", *name, "json"):
                self.docker.image("/".join(name))
                self._json({"Id": "sha256:abc"})
            case ("DELETE", "images", *name):
                self.docker.images.discard(found := self.docker.image("/".join(name)))
                self._json([{"Untagged": found}])
            case ("POST", kind, "prune"):
                # Docker says null where it found nothing.
                self._json({f"{PRUNED[kind]}Deleted": self.docker.prune(kind) or None, "SpaceReclaimed": 0})
            case ("POST", "exec", name, "start"):
                self._exec(self.docker.execs[name])
            case ("GET", "exec", name, "json"):
                self._json({"ExitCode": self.docker.execs[name].get("code")})
            case (_, "containers", *rest):
                self._containers(rest, body)
            case _:
                raise Problem(404, "page not found")

    def _exec(self, made: dict[str, Any]) -> None:
        self._upgrade()
        try:
            process = run(made["Cmd"], [])
            out, err = process.communicate(timeout=20)
            made["code"] = process.returncode
        except OSError as error:  # told in the stream, and no error of the request
            out, err, made["code"] = f"{refusal(made['Cmd'][0], error)}\r\n".encode(), b"", 126
        for number, data in ((1, out), (2, err)):
            if data:
                self.wfile.write(struct.pack(">BxxxL", number, len(data)) + data)
        self.close_connection = True

    def _containers(self, rest: list[str], body: Any) -> None:
        docker = self.docker
        match (self.command, *rest):
            case ("POST", "create"):
                self._json({"Id": docker.create(self.query.get("name", ""), body).id, "Warnings": []}, 201)
            case ("GET", "json"):
                wanted = json.loads(self.query.get("filters", "{}")).get("label", [])
                rows = [
                    {"Id": box.id, "Names": [f"/{box.name}"], "Labels": box.body.get("Labels"), "State": box.state}
                    for box in list(docker.boxes.values())
                    if (box.state == "running" or self.query.get("all") in ("1", "true", "True"))
                    and all(item in [f"{k}={v}" for k, v in (box.body.get("Labels") or {}).items()] for item in wanted)
                ]
                self._json(rows)
            case ("DELETE", name):
                box = docker.box(name)
                if box.state == "running" and self.query.get("force") not in ("1", "true", "True"):
                    raise Problem(409, "cannot remove a running container: stop it, or use force")
                box.signal(signal.SIGKILL)
                docker.boxes.pop(box.id, None)
                self._json({}, 204)
            case (_, name, verb):
                self._verb(docker.box(name), verb, body)
            case _:
                raise Problem(404, "page not found")

    def _verb(self, box: Box, verb: str, body: Any) -> None:
        match verb:
            case "start" | "stop" if (verb == "start") == (box.state == "running"):
                self._json({}, 304)
            case "kill" if box.state != "running":
                raise Problem(409, f"Cannot kill container: {box.id}: Container {box.id} is not running")
            case "start":
                box.start()
                self._json({}, 204)
            case "kill":
                box.signal(signal.SIGKILL)
                self._json({}, 204)
            case "stop" | "restart":
                if box.state == "running":
                    box.stop(float(self.query.get("t", 10)))
                if verb == "restart":
                    box.start()
                self._json({}, 204)
            case "wait":
                while not (box.ended.wait(0.02) or self.docker.over.is_set()):
                    continue
                self._json({"StatusCode": box.code})
            case "json":
                health = {"Status": "healthy"} if box.body.get("Healthcheck") else None
                state: dict[str, Any] = {"Status": box.state, "ExitCode": box.code} | (
                    {"Health": health} if health else {}
                )
                if self.docker.podman:
                    state["Health"] = health or {"Status": ""}
                    state["Status"] = "stopped" if box.state == "exited" else box.state  # before it has cleaned up
                config = {"Image": box.body["Image"], "Tty": False}
                self._json(
                    {"Id": box.id, "Name": f"/{box.name}", "State": state, "Config": config, "Created": "2024-01-01"}
                )
            case "logs":
                self._logs(box)
            case "attach":
                self._attach(box)
            case "exec" if box.state != "running":
                raise Problem(409, f"Container {box.id} is not running")
            case "exec":
                made = uuid.uuid4().hex
                self.docker.execs[made] = dict(body)
                self._json({"Id": made}, 201)
            case "stats":
                self._stats(box)
            case _:
                raise Problem(404, "page not found")

    def _stats(self, box: Box) -> None:
        """Docker takes two samples and has zeros for what does not run; Podman takes one, or says nothing at all."""
        if self.docker.podman and box.state != "running":
            self._begin("application/json")
            self._chunk(b"")
            return
        before = _sample(box)
        if not self.docker.podman and box.state == "running":
            self.docker.over.wait(0.3)
        usage = {"usage": 60, "limit": 200, "stats": {"inactive_file": 10}} if box.state == "running" else {}
        empty = {"cpu_usage": {"total_usage": 0}}
        read = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        earlier = empty if self.docker.podman or box.state != "running" else before
        self._json({"read": read, "cpu_stats": _sample(box), "precpu_stats": earlier, "memory_stats": usage})

    def _attach(self, box: Box) -> None:
        """The output from now on, also of one that is started later; the end comes with that of the container."""
        self._upgrade()
        sent = len(box.output)
        over = False
        while not over:
            over = box.ended.wait(0.01) or self.docker.over.is_set()
            for number, _, line in box.output[sent:]:
                self.wfile.write(struct.pack(">BxxxL", number, len(line)) + line)
                sent += 1
        self.close_connection = True

    def _upgrade(self) -> None:
        self.send_response(101, "UPGRADED")
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "tcp")
        self.end_headers()

    def _logs(self, box: Box) -> None:
        self._begin("application/vnd.docker.multiplexed-stream")
        tail = self.query.get("tail", "all")
        sent = 0 if tail == "all" else max(0, len(box.output) - int(tail))
        follow, stamped = (self.query.get(it) in ("1", "true", "True") for it in ("follow", "timestamps"))
        while True:
            over = box.ended.is_set() or self.docker.over.is_set() or not follow
            for number, told, line in box.output[sent:]:
                data = f"{told} ".encode() + line if stamped else line
                self._chunk(struct.pack(">BxxxL", number, len(data)) + data)
                sent += 1
            if over:
                break
            time.sleep(0.01)
        self._chunk(b"")


def _sample(box: Box) -> dict[str, Any]:
    """``system_cpu_usage`` is that of all processors."""
    cores = os.cpu_count() or 1
    return {
        "cpu_usage": {"total_usage": box.used()}, "system_cpu_usage": time.monotonic_ns() * cores, "online_cpus": cores,
    }  # fmt: skip
