"""Each HTTP answer has one defined reaction (G55); the key goes nowhere else (G69); tokens rotate (G56)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from adapters.apiserver.http import ApiClient
from adapters.testkit.scripted import PeerConnection, ScriptedPeer
from adapters.wire.endpoints import ApiAddress, ProxyAddress
from domain.errors import ConfigError, CoordinationError, NotFound, Refused, Unavailable

KEY = "k3y-of-the-test"
GOOD = json.dumps({"code": 0, "data": {"a": 1}, "message": "ok"}).encode()


def error_body(code: int, message: str = "no") -> bytes:
    return json.dumps({"code": code, "message": message}).encode()


def client_of(peer: ScriptedPeer, timeout: float = 5.0, token: Callable[[], str] = lambda: KEY) -> ApiClient:
    return ApiClient(ApiAddress.parse(f"http://127.0.0.1:{peer.port}"), token, timeout=timeout)


def call(script: Callable[[PeerConnection], None], timeout: float = 5.0) -> object:
    with ScriptedPeer(script) as peer:
        client = client_of(peer, timeout)
        try:
            return client.get("/task/x/")
        finally:
            client.close()


def answering(status: int, body: bytes, *headers: str) -> Callable[[PeerConnection], None]:
    def script(peer: PeerConnection) -> None:
        while True:
            peer.read_head()
            peer.answer(status, body, *headers)

    return script


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"])
def test_the_end_of_the_worker_ends_calls_that_wait_for_an_answer(part: bytes) -> None:
    reached = threading.Event()

    def script(peer: PeerConnection) -> None:
        peer.read_head()
        peer.write(part)
        reached.set()
        peer.wait_closed()

    with ScriptedPeer(script) as peer:
        client = client_of(peer, timeout=60.0)
        told: list[str] = []

        def wait() -> None:
            with pytest.raises(Unavailable) as caught:
                client.get("/task/x/")
            told.append(str(caught.value))

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert reached.wait(5)
        client.close()
        waiting.join(5)
        assert len(told) == 1
        with pytest.raises(Unavailable, match="the worker ends"):
            client.get("/task/x/")


@pytest.mark.parametrize("status", [200, 201])
def test_a_good_envelope_gives_its_data(status: int) -> None:
    assert call(answering(status, GOOD)) == {"a": 1}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, error_body(404), NotFound),
        (200, error_body(401), Refused),
        (200, error_body(400), Refused),
        (200, error_body(503), Unavailable),
        (200, error_body(7), Unavailable),
        (200, b'{"code": false, "data": {}}', Unavailable),
        (200, b"<html>log in</html>", Unavailable),
        (200, b"", Unavailable),
        (200, b'{"code": 0, "da', Unavailable),
        (200, b"[1]", Unavailable),
        (200, b"[" * 100_000, Unavailable),
        (204, b"", Unavailable),
        (304, b"", Unavailable),
        (400, error_body(400), Refused),
        (401, error_body(401), Refused),
        (403, error_body(403), Refused),
        (403, b"<html>", Refused),
        (404, error_body(404), NotFound),
        (404, b"404 page not found", Unavailable),
        (408, error_body(408), Unavailable),
        (409, error_body(409), Refused),
        (413, b"<html>", Refused),
        (418, b"", Refused),
        (429, error_body(429), Unavailable),
        (500, b"", Unavailable),
        (502, b"<html>", Unavailable),
        (503, error_body(503), Unavailable),
        (504, b"", Unavailable),
    ],
)
def test_each_odd_answer_has_its_one_reaction(status: int, body: bytes, kind: type[CoordinationError]) -> None:
    with pytest.raises(kind) as caught:
        call(answering(status, body))
    assert "GET /task/x/" in str(caught.value)


@pytest.mark.parametrize(
    ("wish", "low", "high"),
    [("7", 7, 7), ("999999999", 300, 300), ("Fri, 01 Jan 2100 00:00:00 GMT", 300, 300)],
)
def test_the_servers_wish_to_wait_is_told_and_capped(wish: str, low: float, high: float) -> None:
    with pytest.raises(Unavailable) as caught:
        call(answering(429, b"", f"Retry-After: {wish}"))
    assert caught.value.retry_after is not None
    assert low <= caught.value.retry_after <= high


@pytest.mark.parametrize("wish", ["", "soon", "-5", "Mon, 01 Jan 1990 00:00:00 GMT", "1" * 5000])
def test_an_unusable_wish_to_wait_is_none_or_capped(wish: str) -> None:
    with pytest.raises(Unavailable) as caught:
        call(answering(503, b"", f"Retry-After: {wish}"))
    assert caught.value.retry_after in (None, 300.0)


@pytest.mark.parametrize("drip", [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b""])
def test_a_dripping_answer_ends_at_the_deadline(drip: bytes) -> None:
    over = threading.Event()

    def script(peer: PeerConnection) -> None:
        peer.read_head()
        peer.write(drip)
        while not over.wait(0.05):
            peer.write(b"x")

    started = time.monotonic()
    with pytest.raises(Unavailable, match="in time"):
        call(script, timeout=0.5)
    over.set()
    assert time.monotonic() - started < 2


def test_a_silent_server_ends_at_the_deadline() -> None:
    with pytest.raises(Unavailable, match="in time"):
        call(PeerConnection.wait_closed, timeout=0.3)


def test_an_endless_body_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.apiserver.exchange.BODY_LIMIT", 1 << 20)

    def script(peer: PeerConnection) -> None:
        peer.read_head()
        peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        while True:
            peer.write(b"x" * 65536)

    with pytest.raises(Unavailable, match="larger"):
        call(script)


def test_a_compressed_answer_is_not_unpacked() -> None:
    with pytest.raises(Unavailable, match="compressed"):
        call(answering(200, b"\x1f\x8b", "Content-Encoding: gzip"))


def test_an_answer_shorter_than_announced_is_no_answer() -> None:
    def script(peer: PeerConnection) -> None:
        peer.read_head()
        peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + GOOD)

    with pytest.raises(Unavailable, match="broke"):
        call(script)


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_broken_connection_is_tried_once_more_only_where_repeating_is_safe(repeatable: bool) -> None:
    calls = []

    def script(peer: PeerConnection) -> None:
        peer.read_head()
        calls.append(1)
        if len(calls) == 1:
            peer.reset()
        else:
            peer.answer(200, GOOD)

    with ScriptedPeer(script) as peer:
        client = client_of(peer)
        if repeatable:
            assert client.get("/x/") == {"a": 1}
        else:
            with pytest.raises(Unavailable):
                client.get("/x/", repeatable=False)
        client.close()
    assert len(calls) == (2 if repeatable else 1)


def test_a_connection_that_the_server_has_closed_is_not_used_for_the_next_call() -> None:
    """Protocol 1.5: also for calls that must not be repeated."""

    def script(peer: PeerConnection) -> None:
        peer.read_head()
        peer.read(2)
        peer.answer(200, GOOD)

    with ScriptedPeer(script) as peer:
        client = client_of(peer)
        for amount in range(1, 4):
            assert client.post("/x/", {}) == {"a": 1}
            assert peer.accepted == amount
            peer.wait_idle()
        client.close()


@pytest.mark.parametrize("answer", [GOOD, b"<html>", b""])
def test_no_lock_value_and_no_key_is_logged(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The HTTP library logs whole URLs unless it is told not to."""
    caplog.set_level("DEBUG")
    with ScriptedPeer(answering(200, answer, "bad header line")) as peer:
        client = client_of(peer)
        with suppress(Unavailable):
            client.get("/lock/refresh", {"value": "secret-lock-value"})
        client.close()
    assert "secret-lock-value" not in caplog.text
    assert KEY not in caplog.text


def test_connections_are_kept_alive() -> None:
    with ScriptedPeer(answering(200, GOOD)) as peer:
        client = client_of(peer)
        for _ in range(5):
            client.get("/x/")
        client.close()
        assert peer.accepted == 1


def test_a_connection_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.apiserver.connection.IDLE_LIMIT", 0.0)
    with ScriptedPeer(answering(200, GOOD)) as peer:
        client = client_of(peer)
        client.get("/x/")
        client.get("/x/")
        client.close()
        assert peer.accepted == 2


def test_nobody_listening_is_unavailable_and_the_error_shows_no_query() -> None:
    with ScriptedPeer(answering(200, GOOD)) as peer:
        client = client_of(peer)
    with pytest.raises(Unavailable) as caught:
        client.get("/lock/refresh", {"key": "k", "value": "secret-lock-value"})
    assert "secret-lock-value" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_within_the_server_is_followed_with_the_key(status: int) -> None:
    heads = []

    def script(peer: PeerConnection) -> None:
        while True:
            heads.append(peer.read_head())
            if len(heads) == 1:
                peer.answer(status, b"", "Location: /api/v1/there/")
            else:
                peer.answer(200, GOOD)

    assert call(script) == {"a": 1}
    assert heads[1].startswith("GET /api/v1/there/ ")
    assert KEY in heads[1]


def test_a_redirect_leads_where_its_bytes_say() -> None:
    heads = []

    def script(peer: PeerConnection) -> None:
        while True:
            heads.append(peer.read_head())
            if len(heads) == 1:
                peer.sock.sendall("HTTP/1.1 301 x\r\nContent-Length: 0\r\nLocation: /api/v1/grün/\r\n\r\n".encode())
            else:
                peer.answer(200, GOOD)

    assert call(script) == {"a": 1}
    assert heads[1].startswith("GET /api/v1/gr%C3%BCn/ ")


@pytest.mark.parametrize("location", ["http://localhost:{port}/x", "https://127.0.0.1:{port}/x", "http://[", ""])
def test_a_redirect_elsewhere_is_not_followed(location: str) -> None:
    """G69: the key would go along."""
    heads = []

    def script(peer: PeerConnection) -> None:
        heads.append(peer.read_head())
        peer.answer(301, b"", f"Location: {location.format(port=peer.sock.getsockname()[1])}")
        if location:
            heads.append(peer.read_head())

    with pytest.raises(Unavailable, match="redirect"):
        call(script)


def test_a_post_is_not_turned_into_a_get() -> None:
    with ScriptedPeer(answering(301, b"", "Location: /api/v1/there/")) as peer:
        client = client_of(peer)
        with pytest.raises(Unavailable, match="redirect"):
            client.post("/x", {"a": 1})
        client.close()


def test_a_redirect_loop_ends() -> None:
    with pytest.raises(Unavailable, match="more than"):
        call(answering(301, b"", "Location: /api/v1/task/x/"))


def test_a_rotated_key_is_asked_for_after_401() -> None:
    """G56."""
    keys = iter(["old", "new"])
    heads = []

    def script(peer: PeerConnection) -> None:
        while True:
            heads.append(peer.read_head())
            if "Bearer old" in heads[-1]:
                peer.answer(401, error_body(401))
            else:
                peer.answer(200, GOOD)

    with ScriptedPeer(script) as peer:
        client = client_of(peer, token=lambda: next(keys))
        assert client.get("/x/") == {"a": 1}
        client.close()


def test_a_key_that_stays_wrong_is_tried_once() -> None:
    with ScriptedPeer(answering(401, error_body(401))) as peer:
        client = client_of(peer)
        with pytest.raises(Refused, match="API key"):
            client.get("/x/")
        client.close()


def test_a_server_that_echoes_the_key_does_not_get_it_into_the_error() -> None:
    with pytest.raises(Refused) as caught:
        call(answering(403, error_body(403, f"{KEY} is not welcome")))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "with space", "caf\u00e9"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(token: str) -> None:
    with ScriptedPeer(answering(200, GOOD)) as peer:
        client = client_of(peer, token=lambda: token)
        with pytest.raises(Refused) as caught:
            client.get("/x/")
        assert token not in str(caught.value)
        assert peer.accepted == 0


def test_a_key_that_cannot_be_read_may_be_readable_later() -> None:
    def token() -> str:
        raise ConfigError("api_key_file: no such file")

    with ScriptedPeer(answering(200, GOOD)) as peer:
        client = client_of(peer, token=token)
        with pytest.raises(Unavailable, match="api_key_file"):
            client.get("/x/")


def test_no_key_means_no_header() -> None:
    heads = []

    def script(peer: PeerConnection) -> None:
        heads.append(peer.read_head())
        peer.answer(200, GOOD)

    with ScriptedPeer(script) as peer:
        client = client_of(peer, token=lambda: "")
        client.get("/x/")
        client.close()
    assert "authorization" not in heads[0].lower()


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """G69."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert call(answering(200, GOOD)) == {"a": 1}


def test_a_proxy_that_refuses_is_quoted() -> None:
    def script(peer: PeerConnection) -> None:
        peer.read_head()
        peer.answer(407)

    with ScriptedPeer(script) as proxy:
        address = ProxyAddress.parse(f"http://user:wr0ng@127.0.0.1:{proxy.port}")
        client = ApiClient(ApiAddress.parse("https://api.example.test"), lambda: KEY, proxy=address)
        with pytest.raises(Unavailable, match="the proxy answered 407 to CONNECT"):
            client.get("/x/")
        client.close()


def test_a_configured_proxy_is_used_with_its_password() -> None:
    heads = []

    def script(peer: PeerConnection) -> None:
        heads.append(peer.read_head())
        peer.answer(200, GOOD)

    with ScriptedPeer(script) as proxy:
        client = ApiClient(
            ApiAddress.parse("http://api.example.test", allow_plain=True),
            lambda: KEY,
            proxy=ProxyAddress.parse(f"http://user:p%40ss@127.0.0.1:{proxy.port}"),
        )
        assert client.get("/x/") == {"a": 1}
        client.close()
    assert heads[0].startswith("GET http://api.example.test:80/api/v1/x/ ")
    assert "roxy-" in heads[0]
