"""Framing: any slicing of the same bytes gives the same messages (G49)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.wire.framing import SEPARATOR, FrameDecoder, encode

MESSAGES = st.lists(
    st.binary(min_size=1, max_size=60).map(lambda b: b.replace(b"\x00", b"0").strip() or b"x"), max_size=6
)


def test_the_separator_has_seventeen_bytes_and_starts_with_nul() -> None:
    assert len(SEPARATOR) == 17
    assert SEPARATOR[0] == 0


@given(MESSAGES, st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_any_slicing_gives_the_same_messages(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"stray" + b"".join(SEPARATOR + message + SEPARATOR for message in messages)
    decoder, seen, at, turn = FrameDecoder(), [], 0, 0
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        seen += decoder.feed(stream[at : at + step])
        at, turn = at + step, turn + 1
    assert seen == messages


def test_one_shared_separator_between_two_messages_is_enough() -> None:
    assert FrameDecoder().feed(SEPARATOR + b"A" + SEPARATOR + b"B" + SEPARATOR) == [b"A", b"B"]


def test_a_message_over_the_limit_is_dropped_and_the_next_one_is_seen() -> None:
    decoder = FrameDecoder(limit=100)
    assert decoder.feed(SEPARATOR + b"x" * 300) == []
    assert decoder.feed(b"y" * 50 + SEPARATOR + SEPARATOR + b"good" + SEPARATOR) == [b"good"]
    assert decoder.dropped == 1


@given(st.binary(max_size=400), st.integers(18, 64))
def test_no_piece_ends_right_behind_the_opening_separator(message: bytes, limit: int) -> None:
    pieces = encode(message, limit=limit)
    assert b"".join(pieces) == SEPARATOR + message + SEPARATOR
    assert all(len(piece) <= limit for piece in pieces)
    assert pieces[0] != SEPARATOR
