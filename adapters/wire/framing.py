"""Events between separators: bytes in, messages out, and back. No I/O.

The property that matters: any slicing of the same bytes gives the same messages.
"""

from __future__ import annotations

SEPARATOR = b"\x00223399AABB2233CC"  # one NUL, then sixteen characters
MESSAGE_LIMIT = 4096  # well below the server's read limit of 10240 bytes for one WebSocket message
BUFFER_LIMIT = 64 << 20


class FrameDecoder:
    """Collects what stands between two separators. A new connection needs a new decoder.

    A message larger than ``limit`` is dropped with ``dropped`` counted, and decoding goes on at the next separator.
    """

    def __init__(self, separator: bytes = SEPARATOR, limit: int = BUFFER_LIMIT) -> None:
        self._separator = separator
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0
        self._opened = False  # a separator was seen: what follows belongs to a message
        self.dropped = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take received bytes, return the messages they complete, white space trimmed, empty ones left out."""
        self._buffer += data
        messages: list[bytes] = []
        size = len(self._separator)
        while (at := self._buffer.find(self._separator, self._searched)) >= 0:
            message = bytes(self._buffer[:at]).strip()
            del self._buffer[: at + size]
            self._searched = 0
            if self._opened and message:
                messages.append(message)
            self._opened = True
        self._searched = max(0, len(self._buffer) - size + 1)
        if len(self._buffer) > self._limit:
            self.dropped += 1
            del self._buffer[: self._searched]
            self._searched = 0
            self._opened = False
        return messages


def encode(message: bytes, separator: bytes = SEPARATOR, limit: int = MESSAGE_LIMIT) -> list[bytes]:
    """Wrap one message and cut it into pieces of at most ``limit`` bytes, each to be one WebSocket message.

    The pieces of one message go out back to back. No piece ends right behind the opening separator, because the
    server would forget that separator and with it the message.
    """
    framed = separator + message + separator
    if limit <= len(separator):
        raise ValueError(f"a limit of {limit} bytes leaves no room behind the {len(separator)}-byte separator")
    return [framed[at : at + limit] for at in range(0, len(framed), limit)]
