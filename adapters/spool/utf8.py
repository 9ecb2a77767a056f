"""Bytes of a log to valid UTF-8, piece by piece."""

from __future__ import annotations

import codecs


def repair(data: bytes, final: bool) -> tuple[bytes, bytes]:
    """Return (valid UTF-8, rest): invalid bytes become U+FFFD, an unfinished character waits in the rest.

    Concatenating what any slicing gives equals repairing the whole at once (G39).
    """
    if data.isascii():
        return data, b""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data, final)
    rest = decoder.getstate()[0]
    return text.encode("utf-8"), rest


def cut_between_characters(data: bytes, limit: int) -> int:
    """The largest cut at or below ``limit`` that is not inside a character of valid UTF-8."""
    if limit >= len(data):
        return len(data)
    while limit > 0 and data[limit] & 0xC0 == 0x80:
        limit -= 1
    return limit


def cap_marker(dropped: int) -> bytes:
    """What stands in a log where output was left out."""
    return f"\n[... {dropped} bytes of output left out ...]\n".encode()
