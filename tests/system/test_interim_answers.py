"""Whoever speaks HTTP here waits for the real answer: 103 (Early Hints) and its like come before it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from adapters.apiserver.http import ApiClient
from adapters.apiserver.stream import LinkOptions
from adapters.apiserver.websocket import open_connection
from adapters.net.duplex import boottime
from adapters.runners.base import BaseRunner
from adapters.runners.http import HttpRunner
from adapters.runners.message import MessageRunner
from adapters.testkit.scripted import PeerConnection, ScriptedPeer
from adapters.wire.endpoints import ApiAddress, ProxyAddress
from domain.errors import ConnectionLost, ConnectionRefused, Unavailable
from domain.result import Result
from domain.runner import Credential, ExecutionContext

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
BEFORE = [
    HINTS,
    HINTS + HINTS,
    b"HTTP/1.1 100 Continue\r\n\r\n" + HINTS,
    b"HTTP/1.1 102 Processing\n\n",
    b"HTTP/1.1 199\r\n\r\n",
]
INTERIM = pytest.mark.parametrize("interim", BEFORE, ids=["103", "103 twice", "100 and 103", "102", "199"])


def answering(*parts: bytes) -> ScriptedPeer:
    def script(peer: PeerConnection) -> None:
        peer.read_head()
        peer.write(b"".join(parts))

    return ScriptedPeer(script)


def full(status: int, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status} Scripted\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def execute(runner: BaseRunner, context: ExecutionContext | None = None, **args: Any) -> Result:
    runner.parse_args("", json.dumps(args))
    runner.set_timeout(10)
    try:
        return runner.execute(context)
    finally:
        runner.cleanup()


@INTERIM
def test_the_status_of_a_request_is_that_of_the_real_answer(interim: bytes) -> None:
    for status, told in ((500, "failed"), (200, "success")):
        with answering(interim, full(status, b"said")) as peer:
            result = execute(HttpRunner(), url=f"http://127.0.0.1:{peer.port}/")
        assert (result.status, result.exit_code, json.loads(result.output)["message"]) == (told, status, "said")


def test_an_interim_answer_alone_is_none() -> None:
    with answering(HINTS) as peer:
        result = execute(HttpRunner(), url=f"http://127.0.0.1:{peer.port}/")
    assert (result.status, result.exit_code) == ("failed", -1)


def test_a_switch_of_the_protocol_is_a_success_only_where_it_is_expected() -> None:
    for args, status in (({}, "failed"), ({"expected_status": [101]}, "success")):
        with answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n") as peer:
            assert execute(HttpRunner(), url=f"http://127.0.0.1:{peer.port}/", **args).status == status


class Hook:
    def __init__(self, port: int) -> None:
        self._value = {"webhook": f"http://127.0.0.1:{port}/hook"}

    def credential(self, credential_id: str) -> Credential:
        return Credential(credential_id, "webhook", "hook", self._value)


@INTERIM
def test_a_message_counts_as_sent_by_the_real_answer(interim: bytes) -> None:
    for status, told in ((500, "failed"), (200, "success")):
        with answering(interim, full(status)) as peer:
            context = ExecutionContext(credentials=Hook(peer.port))
            assert execute(MessageRunner(), context, type="slack", credential_id="1", content="x").status == told


def called(port: int, timeout: float = 5.0, proxy: ProxyAddress | None = None, secure: bool = False) -> Any:
    address = ApiAddress.parse(f"http{'s' if secure else ''}://127.0.0.1:{port}")
    client = ApiClient(address, lambda: "k3y", timeout=timeout, proxy=proxy)
    try:
        return client.get("/task/x/")
    finally:
        client.close()


@INTERIM
def test_the_api_server_may_send_interim_answers(interim: bytes) -> None:
    with answering(interim, full(200, b'{"code": 0, "data": 7}')) as peer:
        assert called(peer.port) == 7


def test_interim_answers_without_end_are_left_at_the_deadline() -> None:
    def script(peer: PeerConnection) -> None:
        peer.read_head()
        while True:
            peer.write(HINTS)
            time.sleep(0.01)

    with ScriptedPeer(script) as peer, pytest.raises(Unavailable, match="in time"):
        called(peer.port, timeout=0.5)


def test_a_proxy_of_the_api_server_may_send_interim_answers() -> None:
    with answering(HINTS, full(407)) as proxy, pytest.raises(Unavailable, match="the proxy answered 407 to CONNECT"):
        called(9, proxy=ProxyAddress.parse(f"http://127.0.0.1:{proxy.port}"), secure=True)


def opened(port: int, **options: Any) -> None:
    address = ApiAddress.parse(f"http://127.0.0.1:{port}")
    options_of = LinkOptions(**options)
    connection = open_connection(address, address.websocket("k", "v"), options_of, boottime() + 5, lambda _: None)
    try:
        frame = connection.read(boottime() + 5)
        assert frame is not None
        assert frame.payload == b"hello"
    finally:
        connection.abort()


def upgrading(*before: bytes) -> Callable[[PeerConnection], None]:
    def script(peer: PeerConnection) -> None:
        head = peer.read_head()
        if head.startswith("CONNECT"):
            peer.write(HINTS + b"HTTP/1.1 200 Established\r\n\r\n")
            head = peer.read_head()
        peer.write(b"".join(before))
        peer.upgrade(head)
        peer.send_frame(b"hello")
        peer.wait_closed()

    return script


@INTERIM
def test_a_websocket_opens_behind_interim_answers(interim: bytes) -> None:
    with ScriptedPeer(upgrading(interim)) as peer:
        opened(peer.port)


def test_a_websocket_opens_through_a_proxy_that_sends_interim_answers() -> None:
    with ScriptedPeer(upgrading()) as proxy:
        opened(9, proxy=ProxyAddress.parse(f"http://127.0.0.1:{proxy.port}"))


@pytest.mark.parametrize(
    ("after", "kind", "words"),
    [
        (full(503), ConnectionRefused, "answered 503"),
        (b"nonsense\r\n\r\n", ConnectionLost, "breaks the WebSocket protocol"),
        (b"", ConnectionLost, "closed"),
        (HINTS * 2000, ConnectionLost, "more than allowed"),
    ],
)
def test_a_refusal_behind_an_interim_answer_is_told_as_ever(after: bytes, kind: type[Exception], words: str) -> None:
    with answering(HINTS, after) as peer, pytest.raises(kind, match=words):
        opened(peer.port)
