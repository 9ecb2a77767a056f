"""What is remembered of the output of processes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.process.output import HeadTail, Lines, trim_end, trim_start


@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(2, 60))
def test_head_and_tail_keep_what_fits(pieces: list[bytes], limit: int) -> None:
    memory = HeadTail(limit)
    for piece in pieces:
        memory.feed(piece)
    whole, value = b"".join(pieces), memory.value()
    if memory.cut == 0:
        assert value == whole
    else:
        assert len(whole) > limit
        assert value.count(b"bytes left out") >= 1


@given(st.text(max_size=20), st.integers(0, 60), st.integers(0, 60))
def test_trimming_leaves_whole_characters(text: str, start: int, end: int) -> None:
    data = text.encode("utf-8", "replace")
    trim_end(data[:end]).decode()
    trim_start(data[start:]).decode()


def test_lines_wait_for_their_end() -> None:
    seen: list[bytes] = []
    lines = Lines(seen.append)
    for piece in (b"a", b"b\nc", b"\n", b"d"):
        lines.feed(piece)
    lines.flush()
    assert seen == [b"ab\n", b"c\n", b"d"]
