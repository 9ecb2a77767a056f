"""How an http task reads the bytes of an answer: whole or not at all, and never garbage for content."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest

from adapters.runners.http import HttpRunner
from adapters.testkit.scripted import PeerConnection, ScriptedPeer
from domain.result import Result

TEXT = b"some text " * 400
GZIP = gzip.compress(TEXT, mtime=0)  # the same bytes in every run


def raw_deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(data) + machine.flush()


def head(*lines: str, status: str = "200 OK", version: str = "1.1") -> bytes:
    return "\r\n".join([f"HTTP/{version} {status}", *lines, "", ""]).encode()


def sized(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    return head(f"Content-Length: {len(body)}", *lines, status=status) + body


def chunked(body: bytes, *lines: str) -> bytes:
    chunks = b"".join(b"1\r\n" + body[at : at + 1] + b"\r\n" for at in range(len(body)))
    return head("Transfer-Encoding: chunked", *lines) + chunks + b"0\r\nX-Trailer: a\r\n\r\n"


def answered(raw: bytes, timeout: float = 10.0, **args: Any) -> Result:
    def script(peer: PeerConnection) -> None:
        peer.read_head()
        peer.write(raw)

    runner = HttpRunner()
    with ScriptedPeer(script) as peer:
        runner.parse_args("", json.dumps({"url": f"http://127.0.0.1:{peer.port}/"} | args))
        runner.set_timeout(timeout)
        try:
            return runner.execute()
        finally:
            runner.cleanup()


WHOLE = {
    "gzip": sized(GZIP, "Content-Encoding: gzip"),
    "x-gzip": sized(GZIP, "Content-Encoding: X-GZip"),
    "gzip in two members": sized(gzip.compress(TEXT[:77]) + gzip.compress(TEXT[77:]), "Content-Encoding: gzip"),
    "gzip with something behind it": sized(GZIP + b"\0\0\0", "Content-Encoding: gzip"),
    "gzip in gzip": sized(gzip.compress(GZIP), "Content-Encoding: gzip, gzip"),
    "gzip in gzip, two lines": sized(gzip.compress(GZIP), "Content-Encoding: gzip", "Content-Encoding: gzip"),
    "gzip in chunks": chunked(GZIP, "Content-Encoding: gzip"),
    "gzip until the end": head("Content-Encoding: gzip", version="1.0") + GZIP,
    "deflate": sized(zlib.compress(TEXT), "Content-Encoding: deflate"),
    "deflate without a head": sized(raw_deflate(TEXT), "Content-Encoding: deflate"),
    "deflate in chunks": chunked(zlib.compress(TEXT), "Content-Encoding: deflate"),
    "identity": sized(TEXT, "Content-Encoding: identity"),
    "an encoding that is a charset": sized(TEXT, "Content-Encoding: UTF-8"),
    "more than its length": sized(TEXT) + b"and more",
    "folded header": sized(TEXT, "X-Folded: a", "  b"),
    "equal lengths": sized(TEXT, f"Content-Length: {len(TEXT)}"),
    "hundreds of headers": sized(TEXT, *[f"X-{at}: a" for at in range(900)]),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_answer_is_unpacked(kind: str) -> None:
    result = answered(WHOLE[kind])
    assert (result.status, json.loads(result.output)["message"]) == ("success", TEXT.decode()), result.error


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_without_a_body_may_name_any_encoding(status: str) -> None:
    assert answered(head("Content-Encoding: br", status=status)).status == "success"


CUT = {
    "gzip": sized(GZIP[: len(GZIP) // 2], "Content-Encoding: gzip"),
    "gzip without its last byte": sized(GZIP[:-1], "Content-Encoding: gzip"),
    "first byte of gzip": sized(GZIP[:1], "Content-Encoding: gzip"),
    "second member": sized(GZIP + GZIP[:-9], "Content-Encoding: gzip"),
    "gzip in chunks": chunked(GZIP[:-9], "Content-Encoding: gzip"),
    "gzip until the end": head("Content-Encoding: gzip", version="1.0") + GZIP[:-9],
    "inner gzip": sized(gzip.compress(GZIP[:-9]), "Content-Encoding: gzip, gzip"),
    "deflate": sized(zlib.compress(TEXT)[:-5], "Content-Encoding: deflate"),
    "deflate without a head": sized(raw_deflate(TEXT)[:-5], "Content-Encoding: deflate"),
    "less than its length": head("Content-Length: 50") + b"less",
    "chunk": head("Transfer-Encoding: chunked") + b"9\r\nhalf",
    "between chunks": head("Transfer-Encoding: chunked") + b"4\r\nhalf\r\n",
}


@pytest.mark.parametrize("kind", CUT)
def test_an_answer_that_was_cut_is_a_failure(kind: str) -> None:
    result = answered(CUT[kind])
    assert (result.status, result.exit_code) == ("failed", -1)
    assert result.error.endswith("the answer was cut")


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("br", b"\x0b\x02\x80hello\x03"),
        ("zstd", b"(\xb5/\xfd\x04\x00"),
        ("gzip, br", GZIP),
        ("compress", b"\x1f\x9d\x90"),
    ],
    ids=["br", "zstd", "br in gzip", "compress"],
)
def test_an_answer_in_an_encoding_that_cannot_be_read_fails_with_its_status(encoding: str, body: bytes) -> None:
    for status in (200, 404):
        result = answered(sized(body, f"Content-Encoding: {encoding}", status=f"{status} Said"))
        assert (result.status, result.exit_code) == ("failed", status)
        assert f"HTTP status {status}; the answer is encoded as {encoding.rpartition(' ')[2]}" in result.error
        assert json.loads(result.output)["message"] == ""


@pytest.mark.parametrize("body", [b"plain text", GZIP[:-8] + b"\0" * 8], ids=["no gzip", "wrong checksum"])
def test_an_answer_that_is_not_what_its_header_says_fails(body: bytes) -> None:
    result = answered(sized(body, "Content-Encoding: gzip"))
    assert (result.status, "the answer is not gzip" in result.error) == ("failed", True)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (sized(TEXT, *[f"X-{at}: a" for at in range(2000)]), "more than 1000 headers"),
        (sized(TEXT, "X: " + "a" * 70_000), "more than 65536 bytes"),
        (sized(TEXT, "Content-Length: 5"), "Content-Length"),
    ],
)
def test_an_answer_with_an_impossible_head_says_what_is_wrong(raw: bytes, words: str) -> None:
    result = answered(raw)
    assert (result.status, words in result.error) == ("failed", True), result.error


def test_a_packed_answer_above_the_limit_is_cut_and_no_failure() -> None:
    result = answered(sized(gzip.compress(b"\0" * 20_000_000), "Content-Encoding: gzip"), max_response_bytes=1000)
    assert (result.status, result.truncated, json.loads(result.output)["truncated"]) == ("success", True, True)


def test_a_time_out_that_no_socket_can_hold_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpRunner, "_arm_deadline", lambda _: lambda: None)  # only the sockets are looked at here
    assert answered(sized(TEXT), timeout=1e10).status == "success"
