"""Connections of one run: only to addresses that may be asked, and a cancel ends them."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from pytest_mock import MockerFixture

from adapters.net.connections import Connections, Forbidden, by_turns, check_address

V4, V6 = socket.AF_INET, socket.AF_INET6


def answer(address: str, port: int = 80) -> tuple[Any, ...]:
    """As the resolver gives it."""
    if ":" in address:
        return (V6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
    return (V4, socket.SOCK_STREAM, 6, "", (address, port))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(10)
        yield made


@pytest.fixture
def connections() -> Iterator[Connections]:
    made = Connections()
    yield made
    made.close()


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200", "168.63.129.16",
     "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::169.254.169.254"],
)  # fmt: skip
def test_a_metadata_service_is_not_asked_however_its_address_is_written(address: str) -> None:
    with pytest.raises(Forbidden, match="metadata service"):
        check_address(address, public_only=False)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "0.0.0.0"],
)
def test_the_network_at_home_is_asked_unless_only_the_public_one_may_be(address: str) -> None:
    check_address(address, public_only=False)
    with pytest.raises(Forbidden, match="not a public one"):
        check_address(address, public_only=True)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"])
def test_the_public_network_may_always_be_asked(address: str) -> None:
    check_address(address, public_only=True)


def test_kinds_of_addresses_take_turns_and_the_resolver_s_order_stays() -> None:
    answers = [answer(text) for text in ("::1", "::2", "::3", "1.1.1.1", "1.1.1.2")]
    found = [str(it[4][0]) for it in by_turns(answers)]
    assert found == ["::1", "1.1.1.1", "::2", "1.1.1.2", "::3"]
    assert by_turns([]) == []


def test_an_address_that_refuses_leaves_the_others_and_the_last_refusal_is_told(
    connections: Connections, listener: socket.socket, mocker: MockerFixture
) -> None:
    port = port_of(listener)
    mocker.patch("socket.getaddrinfo", return_value=[answer("127.0.0.2", port), answer("127.0.0.1", port)])
    with connections.dial("host", port, 10.0) as sock:
        assert sock.getpeername() == ("127.0.0.1", port)
        assert sock.gettimeout() == 10.0
    mocker.patch("socket.getaddrinfo", return_value=[answer("127.0.0.2", port)])
    with pytest.raises(ConnectionRefusedError):
        connections.dial("host", port, 10.0)


def test_an_address_that_may_not_be_asked_is_not_even_dialled(connections: Connections, mocker: MockerFixture) -> None:
    mocker.patch("socket.getaddrinfo", return_value=[answer("169.254.169.254")])
    dialled = mocker.patch("socket.socket")
    with pytest.raises(Forbidden):
        connections.dial("host", 80, 10.0)
    dialled.assert_not_called()


@pytest.mark.parametrize(
    ("failure", "kind", "text"),
    [(socket.gaierror(-2, "Name or service not known"), socket.gaierror, "not known"),
     (UnicodeError("label too long"), OSError, "'ho st' is not a host name")],
)  # fmt: skip
def test_a_name_that_is_none_is_an_error_of_the_connection(
    connections: Connections, mocker: MockerFixture, failure: Exception, kind: type[Exception], text: str
) -> None:
    mocker.patch("socket.getaddrinfo", side_effect=failure)
    with pytest.raises(kind, match=text):
        connections.dial("ho st", 80, 10.0)


def test_a_silent_name_server_holds_neither_a_limit_nor_a_cancelled_run(
    connections: Connections, mocker: MockerFixture
) -> None:
    asked, let = threading.Event(), threading.Event()

    def resolve(*_: object, **__: object) -> list[Any]:
        asked.set()
        let.wait(10)
        return []

    mocker.patch("socket.getaddrinfo", resolve)
    try:
        with pytest.raises(TimeoutError, match="host: the name was not resolved in time"):
            connections.dial("host", 80, 0.01)
        asked.clear()

        def hang_up_when_asked() -> None:
            asked.wait(10)
            connections.hang_up()

        cancel = threading.Thread(target=hang_up_when_asked)
        cancel.start()
        with pytest.raises(OSError, match="the run was cancelled"):
            connections.dial("host", 80, None)
        cancel.join()
    finally:
        let.set()


def test_hanging_up_ends_what_is_open_and_what_comes_later(connections: Connections, listener: socket.socket) -> None:
    with connections.dial("127.0.0.1", port_of(listener), 10.0) as sock, listener.accept()[0] as peer:
        connections.hang_up()
        connections.hang_up()
        assert (sock.recv(1), peer.recv(1)) == (b"", b"")
    with pytest.raises(OSError, match="the run was cancelled"):
        connections.dial("127.0.0.1", port_of(listener), 10.0)


def test_a_pool_dials_here_and_tells_no_log_where(
    connections: Connections, listener: socket.socket, mocker: MockerFixture
) -> None:
    dial = mocker.spy(connections, "dial")

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65_536)
            peer.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = threading.Thread(target=serve)
    server.start()
    with connections.pool(False, "127.0.0.1", port_of(listener), urllib3.Timeout(10.0)) as pool:
        found = pool.request("GET", "/?key=secret", retries=False)
        assert (found.status, found.data) == (200, b"ok")
    server.join()
    dial.assert_called_once()
    assert logging.getLogger("urllib3").level == logging.ERROR
