"""What a command printed: a bounded memory per stream, and a live log in lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

PIECE = 64 * 1024


class HeadTail:
    """Keeps the first half and the last half of ``limit`` bytes; ``cut`` counts what lies between and is gone."""

    def __init__(self, limit: int) -> None:
        self._head_limit = limit - limit // 2
        self._tail_limit = limit // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.cut = 0

    def feed(self, data: bytes) -> None:
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if not data:
            return
        self._tail.append(data)
        self._tail_size += len(data)
        while self._tail and self._tail_size - len(self._tail[0]) >= self._tail_limit:
            gone = self._tail.popleft()
            self._tail_size -= len(gone)
            self.cut += len(gone)

    def value(self) -> bytes:
        """All of it, or head, a mark and tail; cuts are between characters of UTF-8 where the text is UTF-8."""
        tail = b"".join(self._tail)
        if len(tail) > self._tail_limit:
            self.cut += len(tail) - self._tail_limit
            tail = tail[len(tail) - self._tail_limit :]
            self._tail, self._tail_size = deque([tail]), len(tail)
        head = bytes(self._head)
        if not self.cut:
            return head + tail
        mark = f"\n[... {self.cut} bytes left out ...]\n".encode()
        return trim_end(head) + mark + trim_start(tail)


def trim_end(data: bytes) -> bytes:
    """Without the beginning of a character that was cut off at the end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            size = 1 if byte < 0x80 else 2 if byte >> 5 == 6 else 3 if byte >> 4 == 14 else 4 if byte >> 3 == 30 else 1
            return data[:-back] if size > back else data
    return data


def trim_start(data: bytes) -> bytes:
    """Without the rest of a character that was cut off at the start."""
    start = 0
    while start < min(3, len(data)) and data[start] & 0xC0 == 0x80:
        start += 1
    return data[start:]


class Lines:
    """Hands output on in whole lines; a partial line waits until ``flush``."""

    def __init__(self, log: Callable[[bytes], None]) -> None:
        self._log = log
        self._rest = b""

    @property
    def waiting(self) -> bool:
        return bool(self._rest)

    def feed(self, data: bytes) -> None:
        end = data.rfind(b"\n") + 1
        if end:
            self._log(self._rest + data[:end] if self._rest else data[:end])
            self._rest = data[end:]
        else:
            self._rest += data
        if len(self._rest) >= PIECE:
            self.flush()

    def flush(self) -> None:
        if self._rest:
            rest, self._rest = self._rest, b""
            self._log(rest)
