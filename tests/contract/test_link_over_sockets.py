"""The link, the HTTP side and the WebSocket transport together, over real sockets (G45, G47)."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from adapters.apiserver.http import ApiClient
from adapters.apiserver.locks import HttpGate
from adapters.apiserver.stream import LinkOptions, WebSocketTransport
from adapters.guardian.unguarded import NoWatchdog
from adapters.observability.metrics import MemoryMetrics
from adapters.process.orphans import NoOrphans
from adapters.runtime.threads import ThreadRuntime
from adapters.testkit.scripted import PeerConnection, ScriptedPeer
from adapters.wire.endpoints import ApiAddress
from adapters.wire.framing import SEPARATOR, FrameDecoder
from application.link import Link, Listener
from application.ports import Host, Identity, LinkTimes, Offer, Stop

IDENTITY = Identity("5f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c11", "w1")
TASK_ID = "269e926b-ffce-4ce9-aa68-71df36d15a7e"


class SmallServer:
    """One port for both sides. ``fault`` is asked for each step and may break it."""

    def __init__(self, fault: Callable[[str, PeerConnection], bool]) -> None:
        self._fault = fault
        self._locks: dict[str, str] = {}
        self._row: dict[str, Any] | None = None
        self._values = itertools.count(1)
        self.registrations = 0
        self.registered = threading.Semaphore(0)

    def serve(self, peer: PeerConnection) -> None:
        while True:
            head = peer.read_head()
            target = urlsplit(head.split(" ", 2)[1])
            step = target.path.removeprefix("/api/v1").strip("/").split("/")[0]
            if self._fault(step, peer):
                break
            query = {key: values[0] for key, values in parse_qs(target.query).items()}
            if step == "ws":
                self._stream(peer, head, query)
                break
            self._answer(peer, target.path, query)

    def _answer(self, peer: PeerConnection, path: str, query: dict[str, str]) -> None:
        data: dict[str, Any] | None = self._row
        if path.endswith("acquire"):
            taken = query["key"] in self._locks
            value = "" if taken else self._locks.setdefault(query["key"], f"value{next(self._values)}")
            data = {"success": not taken, "value": value}
        elif path.endswith("release"):
            self._locks.pop(query["key"], None)
            data = {}
        status = 404 if data is None else 200
        peer.answer(status, json.dumps({"code": 0 if status == 200 else status, "data": data}).encode())

    def _stream(self, peer: PeerConnection, head: str, query: dict[str, str]) -> None:
        if self._locks.pop(query["key"], "") != query["value"]:
            peer.answer(403, b"{}")
            return
        peer.upgrade(head)
        decoder = FrameDecoder()
        while True:
            opcode, payload = peer.read_frame()
            if opcode == 9:
                if self._fault("pong", peer):
                    continue
                peer.send_frame(payload, opcode=10)
            elif opcode == 1 and (messages := decoder.feed(payload)) and not self._fault("register", peer):
                self._row = json.loads(messages[0])["data"]
                event = json.dumps({"action": "run", "tasks": [{"id": TASK_ID, "category": "default"}]}).encode()
                peer.send_frame(SEPARATOR + event + SEPARATOR)
                self.registrations += 1
                self.registered.release()


class Running:
    """A link that runs on its own two threads."""

    def __init__(self, port: int, times: LinkTimes, connect_timeout: float = 5.0) -> None:
        address = ApiAddress.parse(f"http://127.0.0.1:{port}")
        self.client = ApiClient(address, lambda: "k3y", timeout=2)
        stream = WebSocketTransport(
            address,
            HttpGate(self.client),
            lambda: "k3y",
            MemoryMetrics(),
            LinkOptions(connect_timeout=connect_timeout),
        )
        host = Host(ThreadRuntime(), MemoryMetrics(), NoOrphans(), NoWatchdog())
        self.link = Link(host, stream, times, lambda: IDENTITY)
        self.events: list[Offer | Stop] = []
        self.arrived = threading.Semaphore(0)
        self.up = threading.Semaphore(0)
        self._closing = threading.Event()
        listener = Listener(lambda: 1, self._handle, self.up.release)
        self._threads = [
            threading.Thread(target=lambda: self.link.run(self._closing.is_set, listener)),
            threading.Thread(target=lambda: self.link.heartbeat(self._closing.is_set)),
        ]
        for thread in self._threads:
            thread.start()

    def _handle(self, event: Offer | Stop) -> None:
        self.events.append(event)
        self.arrived.release()

    def end(self) -> bool:
        self._closing.set()
        self.link.close()
        for thread in self._threads:
            thread.join(5)
        self.client.close()
        return not any(thread.is_alive() for thread in self._threads)


@pytest.fixture
def running() -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def start(port: int, times: LinkTimes | None = None, connect_timeout: float = 5.0) -> Running:
        made.append(Running(port, times or LinkTimes(reconnect_cap=0.05), connect_timeout))
        return made[-1]

    yield start
    assert all([one.end() for one in made]), "a loop did not end"  # noqa: C419 - all of them must be ended


def test_a_worker_registers_and_gets_its_events(running: Callable[..., Running]) -> None:
    server = SmallServer(lambda step, peer: False)
    with ScriptedPeer(server.serve) as peer:
        one = running(peer.port)
        assert one.up.acquire(timeout=5)
        assert one.arrived.acquire(timeout=5)
        one.end()
    (offer,) = one.events
    assert isinstance(offer, Offer)
    assert offer.task.id == TASK_ID
    assert server.registrations == 1


def _reset(peer: PeerConnection) -> bool:
    peer.reset()
    return True


def _busy(peer: PeerConnection) -> bool:
    peer.answer(503, b"<html>busy</html>")
    return True


def _silent(peer: PeerConnection) -> bool:
    peer.wait_closed()
    return True


@pytest.mark.parametrize("way", [_reset, _busy, _silent])
@pytest.mark.parametrize("broken", ["lock", "ws", "worker", "register"])
def test_whatever_step_fails_the_worker_is_connected_once_it_heals(
    broken: str, way: Callable[[PeerConnection], bool], running: Callable[..., Running]
) -> None:
    """G47."""
    left = itertools.count()

    def fault(step: str, peer: PeerConnection) -> bool:
        return step == broken and next(left) < 2 and way(peer)

    server = SmallServer(fault)
    with ScriptedPeer(server.serve) as peer:
        one = running(peer.port, connect_timeout=0.3)
        assert one.up.acquire(timeout=20)
        one.end()


def test_a_reset_connection_is_told_once_and_made_again(
    running: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    pongs = itertools.count()
    server = SmallServer(lambda step, peer: step == "pong" and next(pongs) == 1 and _reset(peer))
    with ScriptedPeer(server.serve) as peer:
        one = running(peer.port, LinkTimes(reconnect_cap=0.05, ping_interval=0.1))
        for _ in range(2):
            assert one.up.acquire(timeout=10)
        one.end()
    assert server.registrations == 2
    (told,) = [record.getMessage() for record in caplog.records if "lost" in record.getMessage()]
    assert told in ("the connection is lost: Connection reset by peer", "the connection is lost: the peer closed it")


def test_a_server_that_falls_silent_is_left_in_time(running: Callable[..., Running]) -> None:
    """G45: the connection stays open, only nothing comes any more."""
    pongs = itertools.count()
    server = SmallServer(lambda step, peer: step == "pong" and 0 < next(pongs) < 20)
    with ScriptedPeer(server.serve) as peer:
        one = running(
            peer.port, LinkTimes(reconnect_cap=0.05, ping_interval=0.1, pong_timeout=0.4), connect_timeout=0.3
        )
        for _ in range(2):
            assert one.up.acquire(timeout=10)
        one.end()
    assert server.registrations >= 2
