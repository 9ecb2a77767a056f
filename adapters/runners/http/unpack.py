"""Undoes the content encoding of an answer.

The HTTP library would do it too, but takes a stream that ends in its middle for a whole one, and an encoding that it
does not know for none.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import chain

PIECE = 65_536  # bytes of one step, so that no bomb is unpacked whole
NONE = ("identity", "none", "utf-8", "binary", "chunked")  # no packing at all: what servers write, and how they send
LAYERS = 5
MEMBER = b"\x1f\x8b"  # what each part of a gzip begins with


class Unreadable(ValueError):
    """The answer is packed in another way than it says, or in one that nobody asked for."""


class Cut(OSError):
    """The answer ends in its middle."""


def unpack(pieces: Iterator[bytes], encodings: str) -> Iterator[bytes]:
    """The content of an answer, by its headers Content-Encoding and Transfer-Encoding.

    Raises Unreadable, Cut. An empty answer is never wrong, as those to HEAD are.
    """
    beginning = next(pieces, b"")
    if not beginning:
        return iter(())
    pieces = chain((beginning,), pieces)
    for coding in _codings(encodings):
        pieces = _undone(pieces, coding)
    return pieces


def _codings(header: str) -> list[str]:
    """What must be undone, in that order."""
    found = [name for part in header.split(",") if (name := part.strip().lower()) and name not in NONE]
    unknown = [name for name in found if name not in ("gzip", "x-gzip", "deflate")]
    if unknown or len(found) > LAYERS:
        raise Unreadable(
            f"the answer is encoded as {', '.join(unknown or found)[:100]}, which cannot be read: "
            "ask for gzip, deflate or identity in the header Accept-Encoding"
        )
    return found[::-1]


def _undone(pieces: Iterator[bytes], coding: str) -> Iterator[bytes]:
    machine, start, whole = None, b"", False
    for piece in pieces:
        rest, full, start = start + piece, False, b""
        while rest or full:
            if machine is None:
                if len(rest) < len(MEMBER):
                    start = rest  # the next piece tells what it is
                    break
                if whole and (coding == "deflate" or not rest.startswith(MEMBER)):
                    return  # what stands behind the end is no part of the content, as for other clients
                machine = zlib.decompressobj(_window(coding, rest))
            try:
                found = machine.decompress(rest, PIECE)
            except zlib.error:
                raise Unreadable(f"the answer is not {coding}, though its header says so") from None
            if found:
                yield found
            full = len(found) == PIECE and not machine.eof
            rest = machine.unconsumed_tail
            if machine.eof:
                rest, machine, whole = machine.unused_data, None, True
    if machine is not None or (start and not whole):
        raise Cut("the answer was cut")


def _window(coding: str, beginning: bytes) -> int:
    """zlib's word for the format; servers say deflate for two of them."""
    if coding != "deflate":
        return 16 + zlib.MAX_WBITS
    wrapped = beginning[0] & 15 == 8 and int.from_bytes(beginning[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS
