"""Requests to chat services, and what their answers say."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from adapters.net.connections import Connections
from adapters.runners.message.task import NotSent
from adapters.runners.message.web import Web, check
from domain.errors import InvalidTask
from tests.support.peers_small import answer, http_peer


@pytest.fixture
def web() -> Iterator[Web]:
    connections = Connections()
    yield Web(connections, "", 10.0)
    connections.hang_up()
    connections.close()


def test_a_request_is_json_and_goes_to_the_whole_address(web: Web) -> None:
    seen: list[tuple[str, str, bytes, str | None]] = []

    def respond(request: BaseHTTPRequestHandler, body: bytes) -> None:
        seen.append((request.command, request.path, body, request.headers["Content-Type"]))
        answer(request, 200, b'{"errcode": 0}')

    with http_peer(respond) as peer:
        assert web.ask("POST", f"http://127.0.0.1:{peer.port}?key=a", {"a": "ü"}) == {"errcode": 0}
        assert web.ask("GET", f"http://127.0.0.1:{peer.port}/x", None) == {"errcode": 0}
    assert seen == [
        ("POST", "/?key=a", '{"a": "ü"}'.encode(), "application/json"), ("GET", "/x", b"", "application/json"),
    ]  # fmt: skip


@pytest.mark.parametrize("status", [302, 404, 500])
def test_another_status_than_a_good_one_is_not_sent(web: Web, status: int) -> None:
    peer = http_peer(lambda request, _: answer(request, status, Location="/elsewhere"))
    with peer, pytest.raises(NotSent, match=f"HTTP status {status}") as caught:
        web.ask("POST", f"http://127.0.0.1:{peer.port}/s3cret", {})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"ok", b"[1]", b"\xff", b"{"])
def test_an_answer_that_is_no_object_is_an_empty_one(web: Web, body: bytes) -> None:
    with http_peer(lambda request, _: answer(request, 200, body)) as peer:
        assert web.ask("POST", f"http://127.0.0.1:{peer.port}/", {}) == {}


@pytest.mark.parametrize("url", ["", "s3cret", "ftp://h/s3cret", "http://", "file:///s3cret"])
def test_what_is_no_address_is_refused_and_not_shown(web: Web, url: str) -> None:
    with pytest.raises(InvalidTask, match="begins with http") as caught:
        web.ask("POST", url, {})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("found", [{}, {"code": 1}, {"code": "0"}, {"code": False, "x": 1} | {"code": None}])
def test_success_is_told_and_not_assumed(found: dict[str, Any]) -> None:  # M7
    with pytest.raises(NotSent):
        check(found, "code", "msg")
    check({"code": 0}, "code", "msg")


def test_the_services_own_words_are_told_but_not_all_of_them() -> None:
    with pytest.raises(NotSent, match="code 7: xxx") as caught:
        check({"code": 7, "msg": "x" * 5000}, "code", "msg")
    assert len(str(caught.value)) < 250
