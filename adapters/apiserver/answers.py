"""What each HTTP answer means: the one table from status, body and failure to data or one of our errors (G55)."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from typing import Any

from urllib3 import exceptions as http

from adapters.wire.endpoints import retry_after
from domain.errors import CoordinationError, NotFound, Refused, Unavailable

_TEXT_LIMIT = 200


class UnknownRoute(Unavailable):
    """The server does not know the address: a wrong base address, or an older server. Never the absence of a thing."""


class BadRequest(Refused):
    """Status 400; a caller whose parameters are always right may know what it means."""


class KeyRefused(Refused):
    """Status 401 or 403: about the key, not about what was asked for; the next key may be better (G56)."""


# Every status without a line: 2xx is read, 4xx means no, everything else may be better later.
_KINDS: dict[int, type[CoordinationError]] = {
    400: BadRequest,
    401: KeyRefused,
    403: KeyRefused,
    404: NotFound,
    408: Unavailable,
    425: Unavailable,
    429: Unavailable,
}


# A failing database answers 400, with its driver's own words (protocol 1.2).
_TROUBLE = re.compile(
    r"connect|database|\bdial\b|\bsql:|i/o timeout|context (canceled|deadline)|\bEOF\b|broken pipe|deadlock|lock wait"
    r"|gone away|\u6570\u636e\u5e93|\u8fde\u63a5",
    re.IGNORECASE,
)


_USER = re.compile(r"//[^/\s@]*@")  # of a URL in the server's words, with a password


def read_answer(call: str, status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """Return ``data`` of a good answer (protocol 1.2). Raises NotFound, Refused, Unavailable.

    ``call`` names the request in the error's text; it must hold no query and no secret.
    """
    document = _document(body)
    wish = retry_after(headers.get("Retry-After"))
    if status in (200, 201):
        if document is None:
            raise Unavailable(f"{call}: the answer {status} is not the JSON of an API server", wish)
        code = document.get("code")
        if code == 0 and not isinstance(code, bool):
            return document.get("data")
        # Some layers say their no inside a 200.
        status = code if isinstance(code, int) and 400 <= code <= 599 else 502
    elif document is None and status == 404:
        raise UnknownRoute(f"{call}: the server does not know this address; check the API address", wish)
    raise _error(call, status, _message(document), wish)


def _error(call: str, status: int, message: str, wish: float | None) -> CoordinationError:
    kind = _KINDS.get(status, Refused if 400 <= status < 500 else Unavailable)
    if kind is BadRequest and _TROUBLE.search(message):
        kind = Unavailable
    text = f"{call}: answered {status}{': ' if message else ''}{message}"
    if kind is KeyRefused:
        text += "; check the API key and its rights"
    return kind(text, wish) if issubclass(kind, Unavailable) else kind(text)


def _document(body: bytes) -> Mapping[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and "code" in document else None


def _message(document: Mapping[str, Any] | None) -> str:
    message = document.get("message") if document else None
    if not isinstance(message, str):
        return ""
    return _USER.sub("//***@", "".join(c if c.isprintable() else " " for c in message[:_TEXT_LIMIT]))


def explain(error: Exception) -> str:
    """Why an exchange failed, in words without the URL: the libraries' own texts show queries."""
    cause: BaseException | None = error
    while cause is not None:
        if found := _REFUSED_TUNNEL.search(str(cause)):
            return f"the proxy answered {found[1]} to CONNECT"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the server's certificate is not accepted: {cause.verify_message}; check server.tls.ca_file"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause.reason or 'broken stream'}"
        cause = cause.__cause__ or cause.__context__ or _nested(cause)
    for kind, words in _FAILURES:
        if isinstance(error, kind):
            return words
    return f"the exchange failed ({type(error).__name__})"


_REFUSED_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})\b")


def _nested(error: BaseException) -> BaseException | None:
    inner = getattr(error, "original_error", None) or next((a for a in error.args if isinstance(a, Exception)), None)
    return inner if inner is not error else None


_FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (http.ProxyError, "the proxy cannot be used"),
    (http.NameResolutionError, "the host name cannot be resolved"),
    (http.NewConnectionError, "the connection was refused"),
    (http.TimeoutError, "no answer in time"),
    (http.ProtocolError, "the connection broke"),
    (http.SSLError, "TLS failed"),
    (TimeoutError, "no answer in time"),
)
