"""Addresses and header rules that both sides of the link share. No I/O."""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

from domain.errors import ConfigError, Refused

RETRY_AFTER_CAP = 300.0  # an absurd wish of the server must not put the worker to sleep for a day
_PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class ApiAddress:
    """Where the API server is. ``path`` ends in ``/api/v1`` without a slash."""

    secure: bool
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: str, allow_plain: bool = False) -> ApiAddress:
        """Read an ``http(s)://`` address with or without ``/api/v1``. Raises ConfigError.

        Plain http is accepted for loopback hosts only unless ``allow_plain``: the API key would travel in clear (G69).
        """
        parts = _split(text, "the API address", ("http", "https"))
        if parts.username is not None or parts.query or parts.fragment:
            raise ConfigError("the API address must not hold a user name, a query or a fragment")
        secure = parts.scheme == "https"
        host = parts.hostname or ""
        if not secure and not allow_plain and not _is_loopback(host):
            raise ConfigError(
                f"the API address of {host} is plain http, which would show the API key to the network: use https, "
                "or allow plain http explicitly"
            )
        path = parts.path.rstrip("/")
        if not path.endswith(_PREFIX):
            path += _PREFIX
        return cls(secure, host, parts.port or (443 if secure else 80), path)

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def base(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.path}"

    def websocket(self, key: str, value: str) -> str:
        """The URL of the event stream. Holds a lock value: never log it."""
        query = urlencode({"key": key, "value": value})
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{self.path}/ws/task/?{query}"


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """An HTTP proxy that understands CONNECT."""

    host: str
    port: int
    credentials: str = field(default="", repr=False)  # user:password

    @classmethod
    def parse(cls, text: str) -> ProxyAddress:
        """Read ``http://[user:password@]host:port``. Raises ConfigError."""
        parts = _split(text, "the proxy address", ("http",))
        credentials = ""
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return cls(parts.hostname or "", parts.port or 3128, credentials)

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def authorization(self) -> str:
        """The value of Proxy-Authorization, empty without credentials."""
        return "Basic " + base64.b64encode(self.credentials.encode()).decode() if self.credentials else ""


def path_part(text: str) -> str:
    """Make ``text`` one segment of a path."""
    return quote(text, safe="")


def header_token(token: str) -> str:
    """Return the token if a header can carry it. Raises Refused, without a word of the token."""
    if not all("!" <= character <= "~" for character in token):
        raise Refused(
            "the API key holds a character that a header cannot carry; check its file for line ends or spaces"
        )
    return token


def retry_after(text: str | None, now: datetime | None = None) -> float | None:
    """Seconds out of a Retry-After header (a number or a date), at most RETRY_AFTER_CAP; None if unusable."""
    if not text:
        return None
    try:
        seconds = float(int(text.strip()))
    except ValueError:
        try:
            then = parsedate_to_datetime(text)
        except ValueError:
            return None
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
        seconds = (then - (now or datetime.now(UTC))).total_seconds()
    except OverflowError:
        return RETRY_AFTER_CAP
    return min(seconds, RETRY_AFTER_CAP) if seconds >= 0 else None


def _split(text: str, what: str, schemes: tuple[str, ...]) -> SplitResult:
    if any(character <= " " or character == "\x7f" for character in text):
        raise ConfigError(f"{what} holds a space or a control character")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{what} is not of the form {' or '.join(f'{scheme}://host:port' for scheme in schemes)}")
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def location(value: str) -> str:
    """Where a Location header leads: its bytes are UTF-8 as a rule, read as Latin-1 by the HTTP library."""
    data = value.encode("latin-1", "replace")
    try:
        return data.decode()
    except UnicodeDecodeError:  # of an old server, who knows these bytes again
        return "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in data)
