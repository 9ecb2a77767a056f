"""The content of an answer that is packed, and what is wrong with one."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.runners.http.unpack import LAYERS, PIECE, Cut, Unreadable, unpack

TEXT = b"some text, " * 1000


def sliced(data: bytes, step: int) -> Iterator[bytes]:
    return (data[at : at + step] for at in range(0, len(data), step))


def unpacked(data: bytes, encodings: str, step: int = 1000) -> bytes:
    return b"".join(unpack(sliced(data, step), encodings))


def raw(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(data) + machine.flush()


GZIP = gzip.compress(TEXT, mtime=0)
PACKED = {
    "plain": (TEXT, ""), "in chunks": (TEXT, "identity, chunked"), "gzip": (GZIP, "gzip"), "x-gzip": (GZIP, " X-GZip "),
    "zlib": (zlib.compress(TEXT), "deflate"), "raw deflate": (raw(TEXT), "deflate"),
    "two members": (gzip.compress(TEXT[:50]) + gzip.compress(TEXT[50:]), "gzip"),
    "two layers": (gzip.compress(zlib.compress(TEXT)), "deflate, gzip"),
    "text behind gzip": (GZIP + b"rubbish", "gzip"), "one byte behind gzip": (GZIP + b"\n", "gzip"),
    "zeros behind gzip": (GZIP + b"\0" * 600, "gzip"), "text behind zlib": (zlib.compress(TEXT) + b"rubbish", "deflate"),
}  # fmt: skip


@pytest.mark.parametrize("what", PACKED)
@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
def test_the_content_comes_out_however_it_was_sliced(what: str, step: int) -> None:
    assert unpacked(*PACKED[what], step) == TEXT


@given(st.binary(min_size=1, max_size=200), st.integers(1, 50))
def test_any_content_survives(data: bytes, step: int) -> None:
    assert unpacked(gzip.compress(data), "gzip", step) == data


@pytest.mark.parametrize("step", [1, 1000])
def test_nothing_that_was_packed_is_nothing(step: int) -> None:
    assert unpacked(gzip.compress(b""), "gzip", step) == unpacked(gzip.compress(b""), "gzip, gzip", step) == b""


@pytest.mark.parametrize("header", ["gzip", "deflate", "br"])
def test_an_empty_answer_is_never_wrong(header: str) -> None:
    assert list(unpack(iter(()), header)) == []


@pytest.mark.parametrize("what", ["gzip", "zlib", "two members", "two layers"])
def test_an_answer_that_ends_in_its_middle_is_cut(what: str) -> None:
    packed, header = PACKED[what]
    with pytest.raises(Cut):
        unpacked(packed[:-3], header)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("br", "encoded as br"),
        ("gzip, zstd", "zstd"),
        (", ".join(["gzip"] * (LAYERS + 1)), "cannot be read"),
        ("gzip", "is not gzip"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_name(header: str, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        unpacked(TEXT, header)


def test_a_bomb_comes_out_in_pieces() -> None:
    bomb = gzip.compress(b"\0" * (PIECE * 100))
    pieces = unpack(iter([bomb]), "gzip")
    assert max(len(piece) for piece in pieces) <= PIECE
