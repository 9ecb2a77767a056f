"""Reads HTTP answers as ``http.client`` does, but past all interim ones, and with room for many headers."""

from __future__ import annotations

import http.client

# The library's own limit of 100 ends exchanges that every other client takes. It offers no other way to set it.
http.client._MAXHEADERS = 1000  # type: ignore[attr-defined]


def interim(status: int) -> bool:
    """Whether the real answer is still to come. 101 is one: from there on the connection speaks another protocol."""
    return 100 <= status < 200 and status != 101


class FinalResponse(http.client.HTTPResponse):
    """The library itself skips the interim status 100 only, and takes 103 (Early Hints) for the answer."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not interim(status):
                return version, status, reason
            http.client.parse_headers(self.fp)
