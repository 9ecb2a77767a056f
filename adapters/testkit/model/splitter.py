"""The API server's own event splitter, with its trap (protocol 3.2)."""

from __future__ import annotations

from adapters.wire.framing import SEPARATOR


class ServerSplitter:
    """Keeps what follows the last separator, the separator included, unless nothing follows it: then that separator is
    forgotten, and with it an event that it was to open."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, message: bytes) -> list[bytes]:
        full = self._buffer + message
        parts = full.split(SEPARATOR)
        separators = len(parts) - 1
        if separators == 0:
            self._buffer = full
            return []
        if separators == 1:
            self._buffer = SEPARATOR + parts[1]
            return []
        self._buffer = SEPARATOR + parts[-1] if parts[-1] else b""
        return [part.strip() for part in parts[1:-1] if part.strip()]
