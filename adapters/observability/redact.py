"""Known secrets out of text and out of streams, in the forms they travel in (G63, G65)."""

from __future__ import annotations

import base64
import json
import re
import threading
from urllib.parse import quote, quote_plus

from domain.runner import Credential, CredentialSource

LEAST = 6  # shorter values would blank innocent text
MASK = b"***"


class Redactor:
    """Holds the secrets known so far. ``add`` at any time; what was added counts from the next piece of text on."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._forms: set[bytes] = set()
        self._pattern: re.Pattern[bytes] | None = None
        self.longest = 0

    def add(self, *values: str) -> None:
        """Never show these values again. Those shorter than six characters are left out."""
        with self._guard:
            for value in values:
                if len(value) >= LEAST:
                    self._forms |= forms(value)
            ordered = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile(b"|".join(map(re.escape, ordered))) if ordered else None
            self.longest = len(ordered[0]) if ordered else 0

    def text(self, text: str) -> str:
        pattern = self._pattern
        if pattern is None:
            return text
        return pattern.sub(MASK, text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def stream(self) -> StreamRedactor:
        return StreamRedactor(self)

    def sub(self, data: bytes) -> bytes:
        pattern = self._pattern
        return data if pattern is None else pattern.sub(MASK, data)

    def held_back(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a secret."""
        if not self.longest:
            return 0
        window = data[-(self.longest - 1) :] if self.longest > 1 else b""
        for start in range(len(window)):
            rest = window[start:]
            if any(form.startswith(rest) for form in self._forms):
                return len(rest)
        return 0


class StreamRedactor:
    """One stream: no piece that goes out holds a secret, wherever the stream was cut."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        if not self._redactor.longest:
            return data
        whole = self._redactor.sub(self._rest + data)
        keep = self._redactor.held_back(whole)
        self._rest = whole[len(whole) - keep :]
        return whole[: len(whole) - keep]

    def flush(self) -> bytes:
        rest, self._rest = self._redactor.sub(self._rest), b""
        return rest


def forms(value: str) -> set[bytes]:
    """A value raw, as JSON, URL-encoded, and in base64 at each of its three alignments."""
    raw = value.encode("utf-8", "surrogatepass")
    found = {
        raw,
        json.dumps(value)[1:-1].encode(),
        json.dumps(value, ensure_ascii=False)[1:-1].encode("utf-8", "replace"),
    }
    found |= {quote(raw, safe="").encode(), quote_plus(raw).encode(), raw.hex().encode()}
    found |= {line.encode() for line in value.splitlines() if len(line) >= LEAST}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        # The characters that also depend on neighbouring bytes are left out.
        start = (0, 2, 3)[shift]
        end = len(encoded) - (0, 4, 4)[(len(raw) + shift) % 3 and 1]
        found.add(encoded[start:end])
    return {form for form in found if len(form) >= LEAST}


class RedactedCredentials:
    """A CredentialSource that makes every secret it hands out known to the redactor first."""

    def __init__(self, source: CredentialSource, redactor: Redactor) -> None:
        self._source = source
        self._redactor = redactor

    def credential(self, credential_id: str) -> Credential:
        found = self._source.credential(credential_id)
        harmless = {"username", "smtp_host", "url"}
        self._redactor.add(
            *(value for key, value in found.value.items() if isinstance(value, str) and key not in harmless)
        )
        return found
