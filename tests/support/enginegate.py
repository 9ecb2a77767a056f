"""Stands in front of an engine's socket, real or fake, and keeps from it, or from its client, what a test names."""

from __future__ import annotations

import contextlib
import fnmatch
import socket
import socketserver
import threading
from pathlib import Path
from typing import Any


class EngineGate:
    """Requests are named by patterns over method and path: ``POST containers/*/start``. Any thread may change them.

    Those in ``silent`` are neither passed on nor answered, those in ``lost`` are passed on and not answered, those in
    ``refused`` are answered with an error, as often as the number says. Each answer comes ``delay`` seconds late.
    """

    def __init__(self, target: str, place: Path) -> None:
        self.socket = str(place)
        self.silent: set[str] = set()
        self.lost: set[str] = set()
        self.refused: dict[str, int] = {}
        self.delay = 0.0
        self.asked = threading.Event()
        self.requests: list[str] = []
        self.away = False  # nobody answers at all
        self.over = threading.Event()
        self._target = target
        self._lines: list[socket.socket] = []

    def __enter__(self) -> EngineGate:
        gate = self

        class Passage(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as engine:
                    if gate.away:
                        return
                    gate._lines += [engine, self.connection]
                    engine.connect(gate._target)
                    _Line(gate, self.rfile, self.connection, engine).serve()

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = False
            block_on_close = True

        self._server = Server(self.socket, Passage)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="engine-gate")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.leave()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def leave(self) -> None:
        """End every connection there is, and answer none, as an engine does that ends."""
        self.away = True
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)


class _Line:
    """One connection: requests one by one, answers as they come."""

    def __init__(self, gate: EngineGate, requests: Any, client: socket.socket, engine: socket.socket) -> None:
        self._gate, self._requests, self._client, self._engine = gate, requests, client, engine
        self._mute = False

    def serve(self) -> None:
        back = threading.Thread(target=self._answers, name="engine-gate-back")
        back.start()
        try:
            while head := self._head():
                body = self._body(head)
                if not self._passes(_named(head)):
                    continue
                self._engine.sendall(head + body)
        finally:
            with contextlib.suppress(OSError):
                self._engine.shutdown(socket.SHUT_RDWR)
            back.join()

    def _passes(self, name: str) -> bool:
        gate = self._gate
        gate.requests.append(name)
        for pattern, times in gate.refused.items():
            if times and fnmatch.fnmatchcase(name, pattern):
                gate.refused[pattern] = times - 1
                body = b'{"message": "the engine has a bad day"}'
                head = f"HTTP/1.1 500 No\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                self._client.sendall(head.encode() + body)
                return False
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in gate.silent):
            gate.asked.set()
            return False
        self._mute = any(fnmatch.fnmatchcase(name, pattern) for pattern in gate.lost)
        return True

    def _answers(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._engine.recv(65536):
                if self._mute:
                    self._gate.asked.set()
                    continue
                self._gate.over.wait(self._gate.delay)
                self._client.sendall(data)
        if not self._mute:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)

    def _head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._requests.readline()
            if not line:
                return b""
            head += line
        return head

    def _body(self, head: bytes) -> bytes:
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        if fields.get(b"transfer-encoding") != b"chunked":
            data: bytes = self._requests.read(int(fields.get(b"content-length", b"0")))
            return data
        body = b""
        while True:
            size = self._requests.readline()
            body += bytes(size + self._requests.read(int(size, 16) + 2))
            if int(size, 16) == 0:
                return body


def _named(head: bytes) -> str:
    method, path = head.split(b" ", 2)[:2]
    words = path.decode().split("?")[0].strip("/").split("/")
    return " ".join([method.decode(), "/".join(words[1:] if words[0].startswith("v1.") else words)])
