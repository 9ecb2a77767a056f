"""The API server's HTTP side as a list of answers, and a real client in front of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from adapters.apiserver.http import ApiClient
from adapters.testkit.scripted import PeerConnection, ScriptedPeer
from adapters.wire.endpoints import ApiAddress

Answer = tuple[int, Any]


class ScriptedApi:
    """Answers each request with the next of its answers, the last one for ever; remembers the request lines."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.lines: list[str] = []
        self.bodies: list[Any] = []

    def script(self, peer: PeerConnection) -> None:
        while True:
            head = peer.read_head()
            self.lines.append(head.splitlines()[0].removesuffix(" HTTP/1.1"))
            sizes = [line.split(":")[1] for line in head.splitlines() if line.lower().startswith("content-length")]
            self.bodies.append(json.loads(peer.read(int(sizes[0])) or "null") if sizes else None)
            status, answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            peer.answer(status, answer if isinstance(answer, bytes) else json.dumps(answer).encode())


@contextmanager
def api(*answers: Answer) -> Iterator[tuple[ApiClient, ScriptedApi]]:
    server = ScriptedApi(*answers)
    with ScriptedPeer(server.script) as peer:
        client = ApiClient(ApiAddress.parse(f"http://127.0.0.1:{peer.port}"), lambda: "k3y", timeout=5)
        yield client, server
        client.close()


def good(data: Any) -> Answer:
    return 200, {"code": 0, "data": data, "message": "ok"}


def bad(code: int, message: str = "no") -> Answer:
    return code, {"code": code, "message": message}
