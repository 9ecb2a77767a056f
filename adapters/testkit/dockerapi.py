"""A fake of the Docker Engine API, on a unix socket or on TCP. Containers run their command as a local process."""

from __future__ import annotations

import contextlib
import fnmatch
import http.server
import io
import json
import os
import signal
import socketserver
import ssl
import struct
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Box:
    """One container."""

    id: str
    name: str
    body: dict[str, Any]
    state: str = "created"
    code: int = 0
    output: list[tuple[int, bytes]] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        argv = [*(self.body.get("Entrypoint") or []), *(self.body.get("Cmd") or ["true"])]
        self.state = "running"
        self.ended.clear()
        try:
            self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0)
        except OSError as error:
            self.state = "created"
            raise Problem(400, f"exec: {argv[0]}: {error.strerror}") from None
        threading.Thread(target=self._follow, args=(self.process,), daemon=True).start()

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        readers = [
            threading.Thread(target=self._read, args=(number, pipe), daemon=True)
            for number, pipe in ((1, process.stdout), (2, process.stderr))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        code = process.wait()
        self.code = code if code >= 0 else 128 - code
        self.state = "exited"
        self.ended.set()

    def _read(self, number: int, pipe: Any) -> None:
        for line in pipe:
            self.output.append((number, line))
        pipe.close()

    def signal(self, number: int) -> None:
        if self.process is not None and not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):  # dead already, which its follower has yet to notice
                os.killpg(self.process.pid, number)


class Problem(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FakeDocker:
    """``requests`` records (method, path, query, body).

    A request is named by its path, its last word (``create``) or a pattern over method and path (``GET info*``).
    Those in ``silent`` are neither carried out nor answered, those in ``lost`` are carried out and not answered.
    ``stream_errors`` maps pull, push or build to the error line their stream ends with. With ``tcp`` it listens on a
    port of loopback (``host``), with ``tls`` by TLS.
    """

    def __init__(self, directory: Path, *, tcp: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self.socket = str(directory / "docker.sock")
        self.host = ""
        self._tcp, self._tls = tcp, tls
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.headers: list[dict[str, str]] = []
        self.images = {"busybox:latest"}
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
        for box in self.boxes.values():
            if name in (box.id, box.name):
                return box
        raise Problem(404, f"No such container: {name}")


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
        data = b"" if status == 204 else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
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
                self._json({"Version": "27.0", "ApiVersion": "1.46"})
            case ("GET", "_ping"):
                self._json("OK")
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
            case ("POST", "images", *_, "tag"):
                self._json({}, 201)
            case ("GET", "images", *name, "json"):
                wanted = "/".join(name)
                if not {wanted, f"{wanted}:latest"} & self.docker.images:
                    raise Problem(404, f"No such image: {wanted}")
                self._json({"Id": "sha256:abc"})
            case ("DELETE", "images", *_):
                self._json([])
            case ("POST", kind, "prune"):
                key = {"images": "Images", "containers": "Containers", "volumes": "Volumes", "networks": "Networks"}
                self._json({f"{key[kind]}Deleted": ["x"], "SpaceReclaimed": 10})
            case ("POST", "exec", name, "start"):
                self._exec(self.docker.execs[name])
            case ("GET", "exec", name, "json"):
                self._json({"ExitCode": self.docker.execs[name].get("code")})
            case (_, "containers", *rest):
                self._containers(rest, body)
            case _:
                raise Problem(404, "page not found")

    def _exec(self, made: dict[str, Any]) -> None:
        self.send_response(101, "UPGRADED")
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "tcp")
        self.end_headers()
        done = subprocess.run(made["Cmd"], capture_output=True, check=False, timeout=20)
        made["code"] = done.returncode
        for number, data in ((1, done.stdout), (2, done.stderr)):
            if data:
                self.wfile.write(struct.pack(">BxxxL", number, len(data)) + data)
        self.close_connection = True

    def _containers(self, rest: list[str], body: Any) -> None:
        docker = self.docker
        match (self.command, *rest):
            case ("POST", "create"):
                box = Box(uuid.uuid4().hex, self.query.get("name", f"box{len(docker.boxes)}"), body)
                docker.boxes[box.id] = box
                self._json({"Id": box.id, "Warnings": []}, 201)
            case ("GET", "json"):
                wanted = json.loads(self.query.get("filters", "{}")).get("label", [])
                rows = [
                    {"Id": box.id, "Labels": box.body.get("Labels"), "State": box.state}
                    for box in docker.boxes.values()
                    if all(item in [f"{k}={v}" for k, v in (box.body.get("Labels") or {}).items()] for item in wanted)
                ]
                self._json(rows)
            case ("DELETE", name):
                box = docker.box(name)
                if box.state == "running" and self.query.get("force") not in ("1", "true", "True"):
                    raise Problem(409, "cannot remove a running container: stop it, or use force")
                box.signal(signal.SIGKILL)
                del docker.boxes[box.id]
                self._json({}, 204)
            case (_, name, verb):
                self._verb(docker.box(name), verb, body)
            case _:
                raise Problem(404, "page not found")

    def _verb(self, box: Box, verb: str, body: Any) -> None:
        match verb:
            case "start":
                box.start()
                self._json({}, 204)
            case "stop" | "restart" | "kill":
                box.signal(signal.SIGKILL if verb == "kill" else signal.SIGTERM)
                if verb != "kill" and not box.ended.wait(float(self.query.get("t", 10))):
                    box.signal(signal.SIGKILL)
                if verb == "restart":
                    box.start()
                self._json({}, 204)
            case "wait":
                while not (box.ended.wait(0.02) or self.docker.over.is_set()):
                    continue
                self._json({"StatusCode": box.code})
            case "json":
                state = {"Status": box.state, "ExitCode": box.code, "Health": {"Status": "healthy"}}
                config = {"Image": box.body["Image"], "Tty": False}
                self._json(
                    {"Id": box.id, "Name": f"/{box.name}", "State": state, "Config": config, "Created": "2024-01-01"}
                )
            case "logs":
                self._logs(box)
            case "exec":
                made = uuid.uuid4().hex
                self.docker.execs[made] = dict(body)
                self._json({"Id": made}, 201)
            case "stats":
                cpu = {"cpu_usage": {"total_usage": 300}, "system_cpu_usage": 2000, "online_cpus": 2}
                before = {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 1000}
                memory = {"usage": 60, "limit": 200, "stats": {"inactive_file": 10}}
                self._json({"cpu_stats": cpu, "precpu_stats": before, "memory_stats": memory})
            case _:
                raise Problem(404, "page not found")

    def _logs(self, box: Box) -> None:
        self._begin("application/vnd.docker.multiplexed-stream")
        sent = 0
        follow = self.query.get("follow") in ("1", "true", "True")
        while True:
            over = box.ended.is_set() or self.docker.over.is_set() or not follow
            for number, data in box.output[sent:]:
                self._chunk(struct.pack(">BxxxL", number, len(data)) + data)
                sent += 1
            if over:
                break
            time.sleep(0.01)
        self._chunk(b"")
