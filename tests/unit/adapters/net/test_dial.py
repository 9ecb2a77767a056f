"""From an address to a connected socket, or an error in words."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from pytest_mock import MockerFixture

from adapters.net.dial import dial
from adapters.net.duplex import boottime
from adapters.testkit.scripted import PeerConnection, ScriptedPeer
from adapters.wire.endpoints import ApiAddress, ProxyAddress
from domain.errors import ConnectionLost, ConnectionRefused


def address_at(port: int, secure: bool = False) -> ApiAddress:
    return ApiAddress(secure, "127.0.0.1", port, "/api/v1")


def soon() -> float:
    return boottime() + 10.0


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def answering(text: bytes) -> Callable[[PeerConnection], None]:
    """A proxy that answers so to CONNECT."""

    def script(peer: PeerConnection) -> None:
        peer.read_head()
        peer.write(text)
        peer.wait_closed()

    return script


def test_a_connection_is_quick_and_ends_by_itself_when_nobody_is_there() -> None:
    with ScriptedPeer(PeerConnection.wait_closed) as peer, dial(address_at(peer.port), soon()) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


def test_every_address_of_the_host_is_tried(mocker: MockerFixture) -> None:
    with ScriptedPeer(PeerConnection.wait_closed) as peer:
        places: list[Any] = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, peer.port)) for host in ("127.0.0.2", "127.0.0.1")
        ]
        mocker.patch("socket.getaddrinfo", return_value=places)
        with dial(address_at(peer.port), soon()) as sock:
            assert sock.getpeername() == ("127.0.0.1", peer.port)


def test_nobody_there_is_told_with_host_port_and_reason() -> None:
    port = closed_port()
    with pytest.raises(ConnectionLost, match=f"cannot connect to 127.0.0.1 port {port}: Connection refused"):
        dial(address_at(port), soon())


@pytest.mark.parametrize("failure", [socket.gaierror(-2, "Name or service not known"), UnicodeError("empty label")])
def test_a_name_that_cannot_be_resolved_is_told(mocker: MockerFixture, failure: Exception) -> None:
    mocker.patch("socket.getaddrinfo", side_effect=failure)
    with pytest.raises(ConnectionLost, match=r"the host name 127\.0\.0\.1 cannot be resolved: "):
        dial(address_at(1), soon())


def test_a_deadline_that_is_over_dials_nobody() -> None:
    with ScriptedPeer(PeerConnection.wait_closed) as peer:
        with pytest.raises(ConnectionLost, match="in time"):
            dial(address_at(peer.port), boottime() - 1.0)
        assert peer.accepted == 0


def test_a_peer_that_speaks_no_tls_is_lost_and_not_refused() -> None:
    with (
        ScriptedPeer(answering(b"")) as peer,
        ScriptedPeer(lambda it: it.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as plain,
    ):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with pytest.raises(ConnectionLost, match=r"TLS with 127\.0\.0\.1 failed: "):
            dial(address_at(plain.port, secure=True), soon(), tls)
        with pytest.raises(ConnectionLost, match="in time"):
            dial(address_at(peer.port, secure=True), boottime() + 0.05, tls)


def test_a_proxy_opens_a_tunnel_and_what_follows_its_answer_belongs_to_that() -> None:
    heads: list[str] = []

    def script(peer: PeerConnection) -> None:
        heads.append(peer.read_head())
        peer.write(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 200 OK\r\nA: b\r\n\r\nfirst bytes")

    with (
        ScriptedPeer(script) as peer,
        dial(address_at(7), soon(), proxy=ProxyAddress("127.0.0.1", peer.port, "u:p")) as sock,
    ):
        assert sock.recv(100) == b"first bytes"
    assert heads == ["CONNECT 127.0.0.1:7 HTTP/1.1\r\nHost: 127.0.0.1:7\r\nProxy-Authorization: Basic dTpw"]


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        (b"HTTP/1.1 407 Who are you\r\n\r\n", ConnectionRefused, "answered 407 to CONNECT"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", ConnectionLost, "does not answer like a proxy"),
        (b"HTTP/1.1 abc\r\n\r\n", ConnectionLost, "does not answer like a proxy"),
        (b"\r\n\r\n", ConnectionLost, "does not answer like a proxy"),
        (b"x" * 20_000, ConnectionLost, "gave no usable answer"),
    ],
)
def test_a_proxy_that_opens_no_tunnel_is_told(text: bytes, kind: type[Exception], reason: str) -> None:
    with ScriptedPeer(answering(text)) as peer:
        proxy = ProxyAddress("127.0.0.1", peer.port, "u:secret")
        with pytest.raises(kind, match=f"127.0.0.1:{peer.port} {reason}") as told:
            dial(address_at(7), soon(), proxy=proxy)
        assert "secret" not in str(told.value)
