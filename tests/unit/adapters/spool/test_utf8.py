"""Bytes of a log to valid UTF-8, piece by piece."""

from __future__ import annotations

import pytest

from adapters.spool.utf8 import cap_marker, cut_between_characters, repair

EURO = "\u20ac".encode()
ODD = "\ufffd".encode()


@pytest.mark.parametrize(
    ("data", "final", "text", "rest"),
    [
        (b"", False, b"", b""),
        (b"plain", False, b"plain", b""),
        (b"a" + EURO, False, b"a" + EURO, b""),
        (b"a" + EURO[:2], False, b"a", EURO[:2]),
        (b"a" + EURO[:2], True, b"a" + ODD, b""),
        (b"a\xffb", False, b"a" + ODD + b"b", b""),
        (EURO[:1] + b"b", False, ODD + b"b", b""),
        (b"\xed\xa0\x80", True, ODD * 3, b""),
    ],
)
def test_what_is_no_text_is_shown_as_such_and_half_a_character_waits(
    data: bytes, final: bool, text: bytes, rest: bytes
) -> None:
    assert repair(data, final) == (text, rest)


@pytest.mark.parametrize(
    ("limit", "cut"), [(0, 0), (1, 1), (2, 1), (3, 1), (4, 4), (5, 5), (6, 5), (8, 8), (9, 9), (100, 9), (-1, -1)]
)
def test_a_cut_goes_back_to_the_last_whole_character(limit: int, cut: int) -> None:
    assert cut_between_characters(b"a" + EURO + b"b" + EURO + b"c", limit) == cut


def test_a_gap_tells_how_much_is_missing_on_a_line_of_its_own() -> None:
    assert cap_marker(12) == b"\n[... 12 bytes of output left out ...]\n"
