"""HTTP answers past all interim ones."""

from __future__ import annotations

import http.client
import socket

import pytest

from adapters.wire.interim import FinalResponse, interim


def read(data: bytes) -> FinalResponse:
    ours, peer = socket.socketpair()
    with ours, peer:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        response = FinalResponse(ours)
        try:
            response.begin()
            response.body = response.read()  # type: ignore[attr-defined]  # kept while the socket is open
        finally:
            response.close()
    return response


@pytest.mark.parametrize(
    ("status", "to_come"), [(100, True), (102, True), (103, True), (199, True), (101, False), (200, False), (99, False)]
)
def test_the_real_answer_is_still_to_come_after_all_of_the_first_hundred_but_one(status: int, to_come: bool) -> None:
    assert interim(status) is to_come


@pytest.mark.parametrize(
    "before", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" * 3]
)
def test_the_answer_behind_interim_ones_is_read_with_its_own_headers(before: bytes) -> None:
    response = read(before + b"HTTP/1.1 200 OK\r\nC: d\r\nContent-Length: 2\r\n\r\nok")
    assert (response.status, response.getheader("A"), response.getheader("C")) == (200, None, "d")


def test_an_answer_of_many_headers_is_read_and_one_of_too_many_is_not() -> None:
    def answer(count: int) -> bytes:
        return b"HTTP/1.1 204 No\r\n" + b"".join(b"H%d: x\r\n" % number for number in range(count)) + b"\r\n"

    assert read(answer(900)).getheader("H899") == "x"
    with pytest.raises(http.client.HTTPException, match="got more than 1000 headers"):
        read(answer(1100))


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", b"nonsense\r\n\r\n"])
def test_no_answer_is_an_error(data: bytes) -> None:
    with pytest.raises(http.client.HTTPException):
        read(data)
