"""The spool in memory: what is its own beside the contract of all spools."""

from __future__ import annotations

import pytest

from adapters.spool.memory import MemorySpool


@pytest.fixture
def spool() -> MemorySpool:
    made = MemorySpool(limit=10)
    made.open("t")
    return made


def test_what_a_crash_leaves_is_looked_at_again(spool: MemorySpool) -> None:
    spool.write("t", b"text")
    spool.finish("t")
    spool.take_over()
    piece = spool.peek("t", 100)
    assert piece.history.inherited()
    spool.advance("t", 4, settled=False)
    assert spool.pending() == ["t"], "all is told and nothing is sure"
    spool.advance("t", 4, settled=True)
    assert spool.drained("t")


def test_a_log_that_was_begun_and_never_written_to_is_inherited_too(spool: MemorySpool) -> None:
    spool.take_over()
    spool.finish("t")
    assert spool.pending() == ["t"]


def test_past_the_limit_nothing_is_kept_and_the_end_says_how_much(spool: MemorySpool) -> None:
    spool.write("t", b"0123456\xe2")
    spool.write("t", b"\x82\xac")
    spool.write("t", "\u20ac".encode())
    spool.write("t", b"x")
    spool.finish("t")
    assert spool.peek("t", 1000).data == b"0123456\xe2\x82\xac\n[... 4 bytes of output left out ...]\n"


def test_an_unknown_log_takes_nothing_and_is_at_its_end(spool: MemorySpool) -> None:
    spool.write("u", b"text")
    spool.advance("u", 4, settled=True)
    spool.finish("u")
    spool.discard("u")
    piece = spool.peek("u", 10)
    assert (piece.offset, piece.data, piece.ended) == (0, b"", True)
    assert not spool.finished("u")


def test_a_mark_stays_with_the_log_until_it_is_forgotten(spool: MemorySpool) -> None:
    assert spool.peek("t", 1).history.mark() == ""
    spool.peek("t", 1).history.remember("here")
    assert spool.peek("t", 1).history.mark() == "here"
    spool.discard("t")
    spool.open("t")
    assert spool.peek("t", 1).history.mark() == ""


def test_output_after_the_end_is_dropped_until_the_log_is_opened_again(spool: MemorySpool) -> None:
    spool.write("t", b"one ")
    spool.finish("t")
    spool.finish("t")
    spool.write("t", b"late")
    piece = spool.peek("t", 100)
    assert (piece.data, piece.ended, piece.history.text()) == (b"one ", True, b"one ")
    assert spool.finished("t")
    spool.open("t")
    assert not spool.finished("t")
    spool.write("t", b"two\xe2")
    spool.finish("t")
    assert spool.peek("t", 100).data == "one two\ufffd".encode()
