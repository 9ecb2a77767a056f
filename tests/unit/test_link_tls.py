"""TLS is verified on both sides of the link (G68)."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from adapters.apiserver.http import ApiClient
from adapters.apiserver.stream import LinkOptions
from adapters.apiserver.tls import tls_context
from adapters.apiserver.websocket import FrameKind, WebSocketConnection, open_connection
from adapters.net.duplex import boottime
from adapters.testkit.scripted import PeerConnection, ScriptedPeer
from adapters.wire.endpoints import ApiAddress, ProxyAddress
from domain.errors import ConfigError, ConnectionLost, ConnectionRefused, Unavailable


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(cert: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    return context


def good_cert(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1")


def wrong_authority(_: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert("127.0.0.1")


def wrong_host(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("api.example.test")


def expired(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) - timedelta(days=1))


def not_yet_valid(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1", not_before=datetime.now(UTC) + timedelta(days=1))


def answer(peer: PeerConnection) -> None:
    while True:
        peer.read_head()
        peer.answer(200, b'{"code": 0, "data": 1}')


@contextmanager
def opened(port: int, context: ssl.SSLContext) -> Iterator[WebSocketConnection]:
    address = ApiAddress.parse(f"https://127.0.0.1:{port}")
    connection = open_connection(
        address, address.websocket("k", "v"), LinkOptions(tls=context), boottime() + 5, lambda _: None
    )
    try:
        yield connection
    finally:
        connection.abort()


def get(port: int, context: ssl.SSLContext) -> object:
    client = ApiClient(ApiAddress.parse(f"https://127.0.0.1:{port}"), lambda: "k3y", tls=context, timeout=5)
    try:
        return client.get("/x/")
    finally:
        client.close()


def test_an_own_authority_is_accepted_over_http(authority: trustme.CA, ca_file: str) -> None:
    with ScriptedPeer(answer, server_context(good_cert(authority))) as peer:
        assert get(peer.port, tls_context(ca_file)) == 1


def test_frames_pass_both_ways_over_tls(authority: trustme.CA, ca_file: str) -> None:
    big = b"x" * 300_000

    def echo(peer: PeerConnection) -> None:
        peer.upgrade()
        while True:
            opcode, payload = peer.read_frame()
            peer.send_frame(payload, opcode)

    with (
        ScriptedPeer(echo, server_context(good_cert(authority))) as peer,
        opened(peer.port, tls_context(ca_file)) as connection,
    ):
        connection.send_text(big)
        frame = connection.read(boottime() + 10)
    assert frame is not None
    assert (frame.kind, frame.payload) == (FrameKind.DATA, big)


@pytest.mark.parametrize("certificate", [wrong_authority, wrong_host, expired, not_yet_valid])
def test_a_bad_certificate_is_refused_on_both_sides(
    certificate: Callable[[trustme.CA], trustme.LeafCert], authority: trustme.CA, ca_file: str
) -> None:
    heads: list[str] = []

    def never(peer: PeerConnection) -> None:
        heads.append(peer.read_head())

    with ScriptedPeer(never, server_context(certificate(authority))) as peer:
        with pytest.raises(Unavailable, match="certificate"):
            get(peer.port, tls_context(ca_file))
        with pytest.raises(ConnectionRefused, match="certificate"), opened(peer.port, tls_context(ca_file)):
            pass
    assert heads == []


def test_a_missing_intermediate_is_refused(authority: trustme.CA, ca_file: str, tmp_path: Path) -> None:
    leaf = authority.create_child_ca().issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "leaf.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "leaf.pem", tmp_path / "key.pem")
    with ScriptedPeer(answer, context) as peer, pytest.raises(Unavailable, match="certificate"):
        get(peer.port, tls_context(ca_file))


def test_tls_goes_through_a_proxy_and_the_proxy_sees_no_key(authority: trustme.CA, ca_file: str) -> None:
    heads: list[str] = []
    server = server_context(good_cert(authority))

    def proxy_and_server(peer: PeerConnection) -> None:
        heads.append(peer.read_head())
        peer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with server.wrap_socket(peer.sock, server_side=True) as inner:
            inside = PeerConnection(inner)
            if "upgrade" in (head := inside.read_head()).lower():
                inside.upgrade(head)
                inside.send_frame(b"hello")
                inside.wait_closed()
            else:
                inside.answer(200, b'{"code": 0, "data": 1}')

    address = ApiAddress.parse("https://127.0.0.1:9")
    context = tls_context(ca_file)
    with ScriptedPeer(proxy_and_server) as peer:
        proxy = ProxyAddress.parse(f"http://u:p@127.0.0.1:{peer.port}")
        client = ApiClient(address, lambda: "k3y", tls=context, proxy=proxy, timeout=5)
        assert client.get("/x/") == 1
        client.close()
        connection = open_connection(
            address, address.websocket("k", "v"), LinkOptions(tls=context, proxy=proxy), boottime() + 5, lambda _: None
        )
        frame = connection.read(boottime() + 5)
        connection.abort()
    assert frame is not None
    assert frame.payload == b"hello"
    assert len(heads) == 2
    assert all(head.startswith("CONNECT 127.0.0.1:9 HTTP/1.") for head in heads)
    assert all("roxy-" in head and "k3y" not in head for head in heads)


@pytest.mark.parametrize("with_certificate", [True, False])
def test_a_server_that_wants_a_client_certificate_gets_it(
    with_certificate: bool, authority: trustme.CA, ca_file: str, tmp_path: Path
) -> None:
    server = server_context(good_cert(authority))
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    pem = tmp_path / "client.pem"
    authority.issue_cert("worker.example.test").private_key_and_cert_chain_pem.write_to_path(str(pem))
    context = tls_context(ca_file, str(pem) if with_certificate else "")
    with ScriptedPeer(answer, server) as peer:
        if with_certificate:
            assert get(peer.port, context) == 1
        else:
            with pytest.raises(Unavailable):
                get(peer.port, context)
            with pytest.raises(ConnectionLost), opened(peer.port, context) as connection:
                connection.read(boottime() + 1)


def test_a_server_without_tls_is_not_talked_to(ca_file: str) -> None:
    with ScriptedPeer(lambda peer: peer.answer(200, b"{}")) as peer:
        with pytest.raises(Unavailable, match="TLS"):
            get(peer.port, tls_context(ca_file))
        with pytest.raises(ConnectionLost, match="TLS"), opened(peer.port, tls_context(ca_file)):
            pass


@pytest.mark.parametrize(
    ("ca", "certificate", "named"),
    [("/nonexistent/ca.pem", "", "server.tls.ca_file"), ("", "/nonexistent/client.pem", "server.tls.cert_file")],
)
def test_unreadable_certificate_files_are_named(ca: str, certificate: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        tls_context(ca, certificate)
