"""Known secrets out of text and out of streams, in the forms they travel in (G63, G65)."""

from __future__ import annotations

import base64
import json
import re
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol
from urllib.parse import quote, quote_plus, unquote

from domain.runner import Credential, CredentialSource

LEAST = 6  # shorter values would blank innocent text
KEY = 16  # shorter parts of an address are mere words
MASK = b"***"
_ESCAPE = re.compile("%[0-9A-F]{2}")


@dataclass(frozen=True, slots=True)
class _Known:
    """All forms of the secrets known at one moment. Never changed, only replaced: readers need no lock."""

    forms: tuple[bytes, ...] = ()  # the longest first, so that a secret hides another that begins it
    pattern: re.Pattern[bytes] | None = None
    heads: re.Pattern[bytes] | None = None  # where a form could begin
    longest: int = 0

    @classmethod
    def of(cls, found: Iterable[bytes]) -> _Known:
        ordered = tuple(sorted(found, key=len, reverse=True))
        heads = {form[:LEAST] for form in ordered}
        return cls(ordered, _either(ordered), re.compile(b"(?=%s)" % _either(heads).pattern), len(ordered[0]))

    def sub(self, data: bytes) -> bytes:
        return data if self.pattern is None else self.pattern.sub(MASK, data)

    def unfinished(self, data: bytes) -> int:
        """Where at the end of ``data`` the earliest secret begins that more data could complete; else its length."""
        if self.heads is None:
            return len(data)
        first = max(0, len(data) - self.longest + 1)
        short = max(first, len(data) - LEAST + 1)  # from here on not even the head of a form fits
        starts = (match.start() for match in self.heads.finditer(data, first))
        for start in chain(starts, range(short, len(data))):
            rest = data[start:]
            if any(len(form) > len(rest) and form.startswith(rest) for form in self.forms):
                return start
        return len(data)


class Redactor:
    """Holds the secrets known so far. ``add`` at any time; what was added counts from the next piece of text on.

    Any thread may call any method.
    """

    def __init__(self, *values: str) -> None:
        self._guard = threading.Lock()
        self._values: set[str] = set()
        self._known = _Known()
        self.add(*values)

    @property
    def known(self) -> _Known:
        return self._known

    def add(self, *values: str) -> None:
        """Never show these values again. Those shorter than six characters are left out."""
        with self._guard:
            fresh = {value for value in values if len(value) >= LEAST} - self._values
            if fresh:
                self._values |= fresh
                self._known = _Known.of({*self._known.forms, *(form for value in fresh for form in forms(value))})

    def text(self, text: str) -> str:
        known = self._known
        if known.pattern is None:
            return text
        return known.sub(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def stream(self) -> StreamRedactor:
        return StreamRedactor(self)


class StreamRedactor:
    """One stream: no piece that goes out holds a secret, wherever the stream was cut. One thread."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        known = self._redactor.known
        whole = self._rest + data if self._rest else data
        if known.pattern is None:
            return whole
        cut = known.unfinished(whole)
        out: list[bytes] = []
        at = 0
        for match in known.pattern.finditer(whole):
            if match.start() >= cut:
                break
            out += (whole[at : match.start()], MASK)
            at = match.end()
        cut = max(at, cut)
        self._rest = whole[cut:]
        out.append(whole[at:cut])
        return b"".join(out)

    def flush(self) -> bytes:
        rest, self._rest = self._redactor.known.sub(self._rest), b""
        return rest


@contextmanager
def masked(redactor: Redactor, write: Callable[[bytes], None]) -> Iterator[Callable[[bytes], None]]:
    """``write`` without the secrets of what it gets. Any thread, one at a time; the last bytes come at the end."""
    stream, guard = redactor.stream(), threading.Lock()

    def pass_on(data: bytes) -> None:
        with guard:
            write(stream.feed(data))

    try:
        yield pass_on
    finally:
        with guard:
            write(stream.flush())


def _either(literals: Iterable[bytes]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(map(re.escape, literals)))


def forms(value: str) -> set[bytes]:
    """A value raw, as JSON, URL-encoded, in hexadecimal, and in base64 at each of its three alignments."""
    raw = value.encode("utf-8", "surrogatepass")
    found = {
        raw,
        json.dumps(value)[1:-1].encode(),
        json.dumps(value, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass"),
    }
    for encoded in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        found |= {encoded.encode(), _ESCAPE.sub(lambda match: match.group().lower(), encoded).encode()}
    found |= {raw.hex().encode(), raw.hex().upper().encode()}
    # Lines by themselves only raw: a dozen forms of each line of a key would make every stream ten times as slow.
    found |= {line.encode("utf-8", "surrogatepass") for line in value.splitlines() if len(line) >= LEAST}
    found |= {
        shlex.quote(value)[1:-1].encode("utf-8", "surrogatepass"),
        raw.replace(b"'", b"'\\''"),
    }  # quoted for a shell
    for shift in range(3):
        # Only the characters that no neighbouring byte has a part in.
        first, last = (0, 2, 3)[shift], 8 * (shift + len(raw)) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(b"\0" * shift + raw)[first:last])
    return {form for form in found if len(form) >= LEAST}


class RedactedCredentials:
    """A CredentialSource that makes every secret it hands out known to the redactor first."""

    def __init__(self, source: CredentialSource, redactor: Redactor) -> None:
        self._source = source
        self._redactor = redactor

    def credential(self, credential_id: str) -> Credential:
        found = self._source.credential(credential_id)
        harmless = {"username", "smtp_host", "url"}
        for key, value in found.value.items():
            if key not in harmless:
                for text in _texts(value):
                    self._redactor.add(text, *_keys_of(text))
        return found


def _keys_of(text: str) -> list[str]:
    """What makes an address secret: long words of its path and its query, such as the key of a webhook."""
    if not text.startswith(("http://", "https://")):
        return []
    return [unquote(word) for word in re.split("[/?&=#]", text.partition("://")[2])[1:] if len(word) >= KEY]


def _texts(value: Any) -> list[str]:
    """Every text and number in a value, however deep."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list | tuple):
        return [text for inner in value for text in _texts(inner)]
    return [] if value is None or isinstance(value, bool) else [str(value)]


class Secretive(Protocol):
    """Settings."""

    def secret_values(self) -> tuple[str, ...]:
        """What nobody is shown."""


def redactor_of(settings: Secretive) -> Redactor:
    """One that knows the secrets that stand in the settings themselves."""
    redactor = Redactor()
    redactor.add(*settings.secret_values())
    return redactor
