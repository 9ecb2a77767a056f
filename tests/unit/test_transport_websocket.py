"""The WebSocket transport against peers that do what no good server does (G47-G53)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from adapters.apiserver.stream import LinkOptions, WebSocketTransport
from adapters.testkit.scripted import PeerConnection, ScriptedPeer, frame_bytes
from adapters.wire.endpoints import ApiAddress, ProxyAddress
from adapters.wire.framing import SEPARATOR, FrameDecoder
from adapters.wire.messages import encode_report, encode_running
from application.ports import Identity, Offer, Report, Stop, Verb
from domain.errors import ConfigError, ConnectionLost, ConnectionRefused, NotFound, Refused, Unavailable
from domain.status import Status

IDENTITY = Identity("5f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c11", "w1", tasks=("default", "command"))
TASK_ID = "269e926b-ffce-4ce9-aa68-71df36d15a7e"
VALUE = "4351f9663d8877fea96c90e86b49248e"
EVENT = json.dumps({"action": "run", "tasks": [{"id": TASK_ID, "category": "command", "name": "a" * 50}]}).encode()
WIRE = SEPARATOR + EVENT + SEPARATOR
Script = Callable[[PeerConnection], None]
ROOM = 100


class MemoryGate:
    """The HTTP side, as far as connecting needs it."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}
        self.row: Identity | Exception = IDENTITY
        self.acquired: str | Exception | None = VALUE

    def acquire(self, key: str, ttl: float, timeout: float) -> str | None:
        if isinstance(self.acquired, Exception):
            raise self.acquired
        if self.acquired:
            self.held[key] = self.acquired
        return self.acquired

    def refresh(self, key: str, value: str, ttl: float, timeout: float) -> bool:
        return self.held.get(key) == value

    def release(self, key: str, value: str, timeout: float) -> bool:
        return self.held.pop(key, None) is not None

    def registered(self, worker_id: str, timeout: float) -> Identity:
        if isinstance(self.row, Exception):
            raise self.row
        return self.row


class Counts:
    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def count(self, name: str, amount: int = 1) -> None:
        self.values[name] = self.values.get(name, 0) + amount

    def snapshot(self) -> Mapping[str, float]:
        return dict(self.values)


class Link:
    """A transport and what it was made of."""

    def __init__(self, port: int, **options: Any) -> None:
        self.gate = MemoryGate()
        self.counts = Counts()
        self.token: str | Exception = "k3y"
        scheme = "https" if options.get("tls") else "http"
        options = {"connect_timeout": 3.0, "send_timeout": 3.0} | options
        self.transport = WebSocketTransport(
            ApiAddress.parse(f"{scheme}://127.0.0.1:{port}"),
            self.gate,
            self._token,
            self.counts,
            LinkOptions(**options),
        )

    def _token(self) -> str:
        if isinstance(self.token, Exception):
            raise self.token
        return self.token

    def connect(self) -> WebSocketTransport:
        self.transport.connect(IDENTITY)
        return self.transport


@contextmanager
def linked(script: Script, **options: Any) -> Iterator[Link]:
    with ScriptedPeer(script) as peer:
        link = Link(peer.port, **options)
        try:
            yield link
        finally:
            link.transport.close()


def welcome(peer: PeerConnection) -> list[bytes]:
    """Upgrade, take the registration, answer the ping; returns the registration's messages."""
    peer.upgrade()
    messages: list[bytes] = []
    decoder = FrameDecoder()
    while True:
        opcode, payload = peer.read_frame()
        if opcode == 9:
            peer.send_frame(payload, opcode=10)
            return messages
        messages += decoder.feed(payload)


def serving(then: Script) -> Script:
    def script(peer: PeerConnection) -> None:
        welcome(peer)
        then(peer)
        peer.wait_closed()

    return script


def collect(transport: WebSocketTransport, amount: int, seconds: float = 5.0) -> list[Offer | Stop]:
    events: list[Offer | Stop] = []
    until = time.monotonic() + seconds
    while len(events) < amount and time.monotonic() < until:
        events += transport.receive(ROOM, 0.2)
    return events


def ids(events: Sequence[Offer | Stop]) -> list[str]:
    """The tasks that are offered."""
    return [event.task.id for event in events if isinstance(event, Offer)]


def running(identity: Identity, key: str) -> bytes:
    return encode_running(TASK_ID, identity, key)


# --- connecting ---------------------------------------------------------------------------------------------------


def test_connecting_uses_the_lock_and_registers_first() -> None:
    heads: list[str] = []
    registrations: list[bytes] = []

    def script(peer: PeerConnection) -> None:
        heads.append(peer.upgrade())
        registrations.extend(FrameDecoder().feed(peer.read_frame()[1]))
        peer.send_frame(peer.read_frame()[1], opcode=10)
        peer.wait_closed()

    with linked(script) as link:
        link.connect()
    assert heads[0].startswith(f"GET /api/v1/ws/task/?key=%2Fws%2F{IDENTITY.id}&value={VALUE} HTTP/1.1")
    assert json.loads(registrations[0])["action"] == "regist_worker"


def test_a_taken_lock_refuses_the_connection() -> None:
    with linked(lambda peer: None) as link:
        link.gate.acquired = None
        with pytest.raises(ConnectionRefused, match="lock"):
            link.connect()


@pytest.mark.parametrize(
    ("error", "kind", "wish"),
    [
        (Unavailable("down"), ConnectionLost, None),
        (Unavailable("slow down", 7.0), ConnectionRefused, 7.0),
        (Refused("bad key"), ConnectionRefused, None),
    ],
)
def test_trouble_with_the_lock_is_trouble_with_the_connection(error: Exception, kind: type, wish: float | None) -> None:
    with linked(lambda peer: None) as link:
        link.gate.acquired = error
        with pytest.raises(kind) as caught:
            link.connect()
        assert getattr(caught.value, "retry_after", None) == wish


def test_a_failed_dial_gives_the_lock_back() -> None:
    """C-class of protocol 2.3: a lock left behind blocks every reconnect until it expires."""
    with ScriptedPeer(lambda peer: None) as peer:
        link = Link(peer.port)
    with pytest.raises(ConnectionLost, match="cannot connect"):
        link.connect()
    assert not link.gate.held


@pytest.mark.parametrize(("status", "header", "wish"), [(403, "X: y", None), (503, "Retry-After: 9", 9.0)])
def test_a_refused_upgrade_tells_the_status_and_the_servers_wish(status: int, header: str, wish: float | None) -> None:
    def script(peer: PeerConnection) -> None:
        peer.read_head()
        peer.answer(status, b"secret body", header)

    with linked(script) as link:
        with pytest.raises(ConnectionRefused, match=str(status)) as caught:
            link.connect()
        assert caught.value.retry_after == wish
        assert "secret" not in str(caught.value)
        assert not link.gate.held


def test_a_redirected_upgrade_is_not_followed() -> None:
    """G69."""

    def script(peer: PeerConnection) -> None:
        peer.read_head()
        peer.answer(301, b"", "Location: ws://127.0.0.1:9/evil")

    with linked(script) as link, pytest.raises(ConnectionRefused, match="redirect"):
        link.connect()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n",
        b"HTTP/1.1 500 Oh\r\nContent-Length: 1000000000000\r\n\r\nx",
    ],
)
def test_an_upgrade_that_never_ends_is_given_up_in_time(answer: bytes) -> None:
    def script(peer: PeerConnection) -> None:
        peer.read_head()
        peer.write(answer)
        peer.wait_closed()

    with linked(script, connect_timeout=0.4) as link:
        started = time.monotonic()
        with pytest.raises(ConnectionLost, match="in time"):
            link.connect()
        assert time.monotonic() - started < 1.5


def test_a_dripping_upgrade_is_given_up_in_time() -> None:
    over = threading.Event()

    def script(peer: PeerConnection) -> None:
        peer.read_head()
        while not over.wait(0.05):
            peer.write(b"H")

    with linked(script, connect_timeout=0.4) as link:
        with pytest.raises(ConnectionLost, match="in time"):
            link.connect()
        over.set()


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1\r\n\r\n", b"\x00\xff\r\n\r\n", b"HTTP/1.1 101 X\r\n\r\n", b"x" * 100_000]
)
def test_nonsense_instead_of_an_upgrade_is_a_lost_connection(answer: bytes) -> None:
    def script(peer: PeerConnection) -> None:
        peer.read_head()
        peer.write(answer)

    with linked(script) as link, pytest.raises(ConnectionLost):
        link.connect()


@pytest.mark.parametrize(
    "row",
    [NotFound("no row"), Identity(IDENTITY.id, "other"), Identity(IDENTITY.id, "w1", tasks=("git",)), Refused("no")],
)
def test_a_registration_that_the_server_dropped_in_silence_refuses_the_connection(row: Identity | Exception) -> None:
    """Protocol 5.2: a name clash leaves the connection open, receiving everything and unstoppable."""
    with linked(serving(lambda peer: None)) as link:
        link.gate.row = row
        with pytest.raises(ConnectionRefused):
            link.connect()
        with pytest.raises(ConnectionLost):
            link.transport.receive(ROOM, 0)


def test_without_a_pong_the_row_alone_confirms_the_registration() -> None:
    def script(peer: PeerConnection) -> None:
        peer.upgrade()
        peer.wait_closed()

    with linked(script, connect_timeout=0.5) as link:
        link.connect()


def test_events_that_arrive_before_the_registration_is_confirmed_are_kept() -> None:
    """Protocol 4.4: the first batch may come before the worker has sent anything."""

    def script(peer: PeerConnection) -> None:
        peer.upgrade()
        peer.send_frame(WIRE)
        while True:
            opcode, payload = peer.read_frame()
            if opcode == 9:
                peer.send_frame(payload, opcode=10)

    with linked(script) as link:
        assert ids(collect(link.connect(), 1)) == [TASK_ID]


def test_close_ends_a_handshake_that_hangs() -> None:
    asked = threading.Event()

    def script(peer: PeerConnection) -> None:
        peer.read_head()
        asked.set()
        peer.wait_closed()

    with linked(script, connect_timeout=30.0) as link:
        errors: list[BaseException] = []
        thread = threading.Thread(target=lambda: _keep(errors, link.connect))
        thread.start()
        assert asked.wait(5)
        link.transport.close()
        thread.join(2)
        assert not thread.is_alive()
        assert isinstance(errors[0], ConnectionLost)


def test_a_close_that_comes_before_the_dial_is_not_lost() -> None:
    with linked(serving(lambda peer: None)) as link:
        acquire = link.gate.acquire

        def closing(key: str, ttl: float, timeout: float) -> str | None:
            link.transport.close()
            return acquire(key, ttl, timeout)

        link.gate.acquire = closing  # type: ignore[method-assign]
        with pytest.raises(ConnectionLost):
            link.connect()


def test_a_key_that_cannot_be_read_is_a_lost_connection() -> None:
    """G56: while the file is being replaced the link must live on."""
    with linked(serving(lambda peer: None)) as link:
        transport = link.connect()
        link.token = ConfigError("api_key_file: no such file")
        with pytest.raises(ConnectionLost, match="api_key_file"):
            transport.tell(running)


def _keep(errors: list[BaseException], call: Callable[[], Any]) -> None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - the test looks at it
        errors.append(error)


def test_a_proxy_carries_the_connection() -> None:
    heads: list[str] = []

    def script(peer: PeerConnection) -> None:
        heads.append(peer.read_head())
        peer.write(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
        welcome(peer)
        peer.wait_closed()

    with ScriptedPeer(script) as proxy:
        link = Link(9, proxy=ProxyAddress.parse(f"http://user:pw@127.0.0.1:{proxy.port}"))
        link.connect()
        link.transport.close()
    assert heads[0].splitlines() == [
        "CONNECT 127.0.0.1:9 HTTP/1.1",
        "Host: 127.0.0.1:9",
        "Proxy-Authorization: Basic dXNlcjpwdw==",
    ]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 407 Auth\r\n\r\n", ConnectionRefused),
        (b"nonsense\r\n\r\n", ConnectionLost),
        (b"", ConnectionLost),
        (b"x" * 20_000, ConnectionLost),
    ],
)
def test_a_proxy_that_says_no_is_told_apart_from_one_that_is_none(answer: bytes, kind: type) -> None:
    def script(peer: PeerConnection) -> None:
        peer.read_head()
        peer.write(answer)

    with ScriptedPeer(script) as proxy:
        link = Link(9, proxy=ProxyAddress.parse(f"http://127.0.0.1:{proxy.port}"))
        with pytest.raises(kind, match="prox"):
            link.connect()
        assert not link.gate.held


# --- receiving ----------------------------------------------------------------------------------------------------


def _slices(peer: PeerConnection) -> None:
    for at in range(len(WIRE)):
        peer.send_frame(WIRE[at : at + 1])


def _continuations(peer: PeerConnection) -> None:
    peer.send_frame(WIRE[:30], opcode=2, fin=False)
    peer.send_frame(b"", opcode=9)
    peer.send_frame(WIRE[30:90], opcode=0, fin=False)
    peer.send_frame(WIRE[90:], opcode=0)


def _dripped_bytes(peer: PeerConnection) -> None:
    for byte in frame_bytes(WIRE):
        peer.write(bytes([byte]))


@pytest.mark.parametrize("way", [_slices, _continuations, _dripped_bytes])
def test_an_event_arrives_however_it_is_cut(way: Script) -> None:
    """G49."""
    with linked(serving(way)) as link:
        assert ids(collect(link.connect(), 1)) == [TASK_ID]


def test_a_bad_message_is_counted_and_hides_no_neighbour(caplog: pytest.LogCaptureFixture) -> None:
    """G50."""
    bad = SEPARATOR + b'{"secret": ' + SEPARATOR + b'{"action": "dance"}' + SEPARATOR + b'{"action":"run","tasks":[7]}'

    with linked(serving(lambda peer: peer.send_frame(bad + WIRE))) as link:
        events = collect(link.connect(), 1)
    assert ids(events) == [TASK_ID]
    assert link.counts.values["events_invalid"] == 3
    assert "secret" not in caplog.text


def test_a_message_of_several_megabytes_arrives() -> None:
    """G51."""
    big = json.dumps({"action": "run", "tasks": [{"id": TASK_ID, "category": "c", "args": "x" * (8 << 20)}]}).encode()

    with linked(serving(lambda peer: peer.send_frame(SEPARATOR + big + SEPARATOR))) as link:
        (event,) = collect(link.connect(), 1)
    assert isinstance(event, Offer)
    assert len(event.task.args) == 8 << 20


def test_a_frame_above_the_limit_is_refused_by_its_announced_length() -> None:
    """G51: the library would wait for a terabyte."""
    script = serving(lambda peer: peer.write(frame_bytes(b"x", announced=1 << 40)))
    with linked(script) as link:
        transport = link.connect()
        with pytest.raises(ConnectionLost, match="limit"):
            transport.receive(ROOM, 5)


def test_receive_returns_empty_when_its_time_is_over_even_in_half_a_frame() -> None:
    with linked(serving(lambda peer: peer.write(frame_bytes(WIRE)[:20]))) as link:
        transport = link.connect()
        started = time.monotonic()
        assert transport.receive(ROOM, 0.1) == []
        assert time.monotonic() - started < 1


def test_silence_grows_in_half_a_frame_and_ends_with_a_pong() -> None:
    """G45: the library checks no heartbeat inside a frame."""
    go_on = threading.Event()

    def then(peer: PeerConnection) -> None:
        peer.write(frame_bytes(WIRE)[:20])
        go_on.wait(5)
        peer.write(frame_bytes(WIRE)[20:])
        while True:
            opcode, payload = peer.read_frame()
            if opcode == 9:
                peer.send_frame(payload, opcode=10)

    with linked(serving(then)) as link:
        transport = link.connect()
        until = time.monotonic() + 5
        while transport.silence() < 0.3 and time.monotonic() < until:
            assert not transport.receive(ROOM, 0.05)
        assert transport.silence() >= 0.3
        go_on.set()
        assert collect(transport, 1)
        transport.ping()
        transport.receive(ROOM, 0.2)
        assert transport.silence() < 0.3


def test_a_ping_of_the_server_is_answered() -> None:
    answers: list[tuple[int, bytes]] = []
    seen = threading.Event()

    def then(peer: PeerConnection) -> None:
        peer.send_frame(b"are you there", opcode=9)
        answers.append(peer.read_frame())
        seen.set()

    with linked(serving(then)) as link:
        transport = link.connect()
        transport.receive(ROOM, 0.2)
        assert seen.wait(5)
    assert answers == [(10, b"are you there")]


@pytest.mark.parametrize(
    "end",
    [
        lambda peer: peer.sock.close(),
        PeerConnection.reset,
        lambda peer: peer.send_frame(b"\x03\xf1too big", opcode=8),
        lambda peer: peer.write(b"\xff" * 14),
        lambda peer: peer.send_frame(b"orphan", opcode=0),
        lambda peer: peer.send_frame(b"x" * 200, opcode=9),
    ],
    ids=["fin", "reset", "close frame", "garbage", "orphan continuation", "long ping"],
)
def test_every_end_of_a_connection_is_a_lost_connection(end: Script) -> None:
    with linked(serving(end)) as link:
        transport = link.connect()
        with pytest.raises(ConnectionLost):
            collect(transport, 1)
        with pytest.raises(ConnectionLost):
            transport.tell(running)


@pytest.mark.parametrize("cut", range(0, len(WIRE), 7))
def test_nothing_of_a_former_connection_is_seen_on_the_next(cut: int) -> None:
    """G48: cut inside a message, reconnect, and only the good event is seen."""
    ends = iter([WIRE[:cut], WIRE])

    with linked(serving(lambda peer: peer.send_frame(next(ends)))) as link:
        link.connect().receive(ROOM, 0.05)
        events = collect(link.connect(), 1)
    assert len(events) == 1
    assert not link.counts.values


# --- sending ------------------------------------------------------------------------------------------------------


def test_reports_go_out_in_small_ascii_pieces_that_do_not_mix() -> None:
    """G53."""
    received: list[bytes] = []
    messages: list[bytes] = []
    complete = threading.Event()

    def then(peer: PeerConnection) -> None:
        decoder = FrameDecoder()
        while len(messages) < 8:
            _, payload = peer.read_frame()
            received.append(payload)
            messages.extend(decoder.feed(payload))
        complete.set()

    with linked(serving(then)) as link:
        transport = link.connect()
        text = "\u4f60\u597d\x00" * 3000
        report = Report(TASK_ID, Verb.ENDED, Status.SUCCESS, output=text)
        threads = [
            threading.Thread(target=transport.tell, args=(lambda identity, key: encode_report(report, identity, key),))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert complete.wait(10)
    assert max(map(len, received)) <= 4096
    assert all(piece.isascii() for piece in received)
    assert {json.loads(message)["data"]["output"] for message in messages} == {text}


def _fill(transport: WebSocketTransport) -> None:
    report = Report(TASK_ID, Verb.ENDED, Status.SUCCESS, output="x" * 60_000)
    for _ in range(1000):
        transport.tell(lambda identity, key: encode_report(report, identity, key))
    raise AssertionError("a peer that reads nothing took 60 MB")


def test_a_peer_that_stops_reading_is_given_up() -> None:
    stop = threading.Event()
    with linked(serving(lambda peer: (stop.wait(10), None)[1]), send_timeout=0.3) as link:
        transport = link.connect()
        with pytest.raises(ConnectionLost):
            _fill(transport)
        with pytest.raises(ConnectionLost):
            transport.receive(ROOM, 1)
        stop.set()


def test_close_wakes_a_blocked_sender_and_a_blocked_receiver_at_once() -> None:
    stop = threading.Event()
    with linked(serving(lambda peer: (stop.wait(10), None)[1]), send_timeout=30.0) as link:
        transport = link.connect()
        errors: list[BaseException] = []
        threads = [
            threading.Thread(target=_keep, args=(errors, lambda: transport.receive(ROOM, 30))),
            threading.Thread(target=_keep, args=(errors, lambda: _fill(transport))),
        ]
        for thread in threads:
            thread.start()
        threads[1].join(0.5)  # long enough to fill the buffers
        assert all(thread.is_alive() for thread in threads)
        started = time.monotonic()
        transport.close()
        for thread in threads:
            thread.join(5)
        took = time.monotonic() - started
        stop.set()
    assert took < 0.25
    assert [type(error) for error in errors] == [ConnectionLost, ConnectionLost]


def test_without_a_connection_everything_is_lost_and_close_does_no_harm() -> None:
    transport = Link(9).transport
    transport.close()
    for call in (lambda: transport.receive(ROOM, 0), transport.ping, lambda: transport.tell(running)):
        with pytest.raises(ConnectionLost):
            call()
    assert transport.silence() == 0.0


def test_neither_the_lock_value_nor_the_key_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with linked(serving(lambda peer: peer.sock.close())) as link:
        transport = link.connect()
        with pytest.raises(ConnectionLost) as caught:
            transport.receive(ROOM, 2)
    for secret in (VALUE, "k3y"):
        assert secret not in caplog.text + str(caught.value)
