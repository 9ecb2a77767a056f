"""A socket that one thread reads while others write."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from adapters.net.duplex import DuplexSocket, PastInterim, boottime


class Pair:
    def __init__(self, send_timeout: float) -> None:
        ours, self.peer = socket.socketpair()
        self.peer.settimeout(10)
        self.duplex = DuplexSocket(ours, send_timeout)
        self.duplex.read_deadline = boottime() + 10.0
        self.number = ours.fileno

    def fill(self) -> None:
        """Send until the peer has no room for more."""
        try:
            while True:
                self.duplex.send(b"x" * 65_536)
        except TimeoutError:
            pass


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair(send_timeout=0.01)
    yield made
    made.duplex.close()
    made.peer.close()


def test_bytes_go_both_ways_and_the_last_one_is_remembered(pair: Pair) -> None:
    before = pair.duplex.last_byte = boottime() - 5.0
    pair.peer.sendall(b"in")
    assert pair.duplex.recv(10) == b"in"
    assert pair.duplex.last_byte > before
    assert pair.duplex.send(b"out") == 3
    assert pair.peer.recv(10) == b"out"


def test_a_read_ends_at_its_deadline_and_a_write_without_progress_too(pair: Pair) -> None:
    pair.duplex.read_deadline = boottime() - 1.0
    with pytest.raises(TimeoutError):
        pair.duplex.recv(1)
    pair.fill()
    with pytest.raises(TimeoutError):
        pair.duplex.send(b"x")


def test_what_is_there_is_read_even_past_the_deadline(pair: Pair) -> None:
    pair.peer.sendall(b"late")
    pair.duplex.read_deadline = boottime() - 1.0
    assert pair.duplex.recv(10) == b"late"


def test_no_more_is_read_than_the_budget_allows(pair: Pair) -> None:
    pair.peer.sendall(b"0123456789")
    pair.duplex.budget = 4
    assert (pair.duplex.recv(3), pair.duplex.recv(3)) == (b"012", b"3")
    with pytest.raises(ConnectionError, match="more than allowed"):
        pair.duplex.recv(1)
    pair.duplex.budget = None
    assert pair.duplex.recv(100) == b"456789"


@pytest.mark.parametrize("call", [lambda it: it.recv(1), lambda it: it.send(b"x")])
def test_an_abort_wakes_who_waits_and_refuses_who_comes_later(
    pair: Pair, call: Callable[[DuplexSocket], object]
) -> None:
    pair.fill()
    pair.duplex._send_timeout = 10.0
    seen: list[BaseException | object] = []

    def wait() -> None:
        try:
            seen.append(call(pair.duplex))
        except OSError as error:
            seen.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while thread.is_alive() and not pair.duplex._users:
        thread.join(0.001)
    pair.duplex.abort()
    pair.duplex.abort()
    thread.join()
    assert isinstance(seen[0], OSError) or seen == [b""]
    with pytest.raises(ConnectionAbortedError):
        call(pair.duplex)
    assert pair.number() == -1, "closed by the last who used it"


def test_the_number_is_nobody_else_s_while_somebody_uses_it(pair: Pair) -> None:
    with pair.duplex._in_use():
        pair.duplex.abort()
        assert pair.number() >= 0
    assert pair.number() == -1


def test_a_peer_that_is_gone_is_an_end_and_an_error(pair: Pair) -> None:
    pair.peer.close()
    assert pair.duplex.recv(1) == b""
    with pytest.raises(OSError, match="Broken pipe"):
        pair.duplex.send(b"x")


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 101 Go\r\n\r\nrest", b"HTTP/1.1 101 Go\r\n\r\nrest"),
        (b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 102 P\r\nA: b\r\n\r\nHTTP/1.1 200 O\r\n", b"HTTP/1.1 200 O\r\n"),
        (b"HTTP/1.1 401 No\r\n\r\n", b"HTTP/1.1 401 No\r\n\r\n"),
        (b"nonsense", b"nonsense"),
        (b"", b""),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_interim_answers_are_passed_over_and_nothing_else(pair: Pair, sent: bytes, read: bytes, step: int) -> None:
    pair.peer.sendall(sent)
    pair.peer.close()
    past, found = PastInterim(pair.duplex), b""
    while data := past.recv(step):
        found += data
    assert found == read
    assert past.gettimeout() == pair.duplex.gettimeout()
