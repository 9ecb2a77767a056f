"""One WebSocket connection: websocket-client confined to a size limit, to deadlines and to our errors."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import websocket
from websocket import ABNF

from adapters.net.dial import dial
from adapters.net.duplex import DuplexSocket, PastInterim, boottime
from adapters.wire.endpoints import ApiAddress, ProxyAddress, retry_after
from adapters.wire.framing import FrameDecoder
from domain.errors import ConnectionLost, ConnectionRefused

log = logging.getLogger("worker.transport")

FRAME_LIMIT = 64 << 20
_HANDSHAKE_LIMIT = 64 << 10
_FRAME_TIME = 300.0  # a peer that drips one frame for longer than this gives no sign of life
_GOING = (OSError, ssl.SSLError, websocket.WebSocketException, ValueError, LookupError, AttributeError)


class FrameKind(Enum):
    DATA = "data"
    PING = "ping"
    PONG = "pong"


@dataclass(frozen=True, slots=True)
class Frame:
    kind: FrameKind
    payload: bytes


class DialOptions(Protocol):
    @property
    def send_timeout(self) -> float: ...
    @property
    def frame_limit(self) -> int: ...
    @property
    def tls(self) -> ssl.SSLContext | None: ...
    @property
    def proxy(self) -> ProxyAddress | None: ...


class WebSocketConnection:
    """Reads on one thread, sends on any, ``abort`` from any. A failed send or read ends the connection for all."""

    def __init__(self, sock: DuplexSocket, frame_limit: int = FRAME_LIMIT) -> None:
        self.decoder = FrameDecoder()
        self._sock = sock
        self._why = ""
        self._last_frame = boottime()
        # Frames of a split message come one by one: the decoder joins them, and nothing is held twice.
        self._ws = websocket.WebSocket(skip_utf8_validation=True, fire_cont_frame=True)
        _limit_frames(self._ws.frame_buffer, frame_limit)

    def handshake(self, url: str, host: str, deadline: float) -> None:
        """Upgrade, or raise ConnectionLost, ConnectionRefused. Follows no redirect."""
        self._sock.read_deadline = deadline
        self._sock.budget = _HANDSHAKE_LIMIT
        try:
            self._ws.connect(  # type: ignore[no-untyped-call]
                url, socket=PastInterim(self._sock), redirect_limit=0, suppress_origin=True
            )
            self._ws.sock = self._sock  # type: ignore[assignment]
        except websocket.WebSocketBadStatusException as error:
            self.abort()
            wish = {str(k).lower(): str(v) for k, v in (error.resp_headers or {}).items()}.get("retry-after")
            raise ConnectionRefused(
                f"{host} answered {error.status_code} to the WebSocket upgrade", retry_after(wish)
            ) from None
        except websocket.WebSocketTimeoutException:
            self.abort()
            raise ConnectionLost(f"{host} did not answer the WebSocket upgrade in time") from None
        except _GOING as error:
            self.abort()
            status = getattr(self._ws.handshake_response, "status", 0)
            if 300 <= status < 400:
                raise ConnectionRefused(
                    f"{host} redirects the WebSocket ({status}), which is not followed; check the API address"
                ) from None
            raise ConnectionLost(f"the WebSocket upgrade at {host} failed: {_describe(error)}") from None
        self._sock.budget = None
        self._last_frame = boottime()
        log.debug("upgraded: %s speaks WebSocket", host)

    def read(self, deadline: float) -> Frame | None:
        """Return the next frame, None at ``deadline`` (boottime). Raises ConnectionLost. A late frame goes on later."""
        self._sock.read_deadline = deadline
        try:
            code, frame = self._ws.recv_data_frame(True)
        except websocket.WebSocketTimeoutException:
            return None
        except _GOING as error:
            raise self._lost(error) from None
        self._last_frame = boottime()
        if code == ABNF.OPCODE_CLOSE:
            raise self._lost(ConnectionError(f"the server closed it{_close_reason(frame.data)}"))
        kind = {ABNF.OPCODE_PING: FrameKind.PING, ABNF.OPCODE_PONG: FrameKind.PONG}.get(code, FrameKind.DATA)
        return Frame(kind, bytes(frame.data))

    def send_text(self, data: bytes) -> None:
        """Send one text message. Raises ConnectionLost, and then the connection is over: half a frame may be out."""
        self._put(data, ABNF.OPCODE_TEXT)

    def ping(self, payload: bytes) -> None:
        self._put(payload, ABNF.OPCODE_PING)

    def silence(self) -> float:
        now = boottime()
        since_frame = now - self._last_frame
        return since_frame if since_frame > _FRAME_TIME else now - max(self._sock.last_byte, self._last_frame)

    def abort(self) -> None:
        self._sock.abort()

    def _put(self, data: bytes, opcode: int) -> None:
        try:
            self._ws.send(data, opcode)
        except _GOING as error:
            raise self._lost(error) from None

    def _lost(self, error: Exception) -> ConnectionLost:
        if not self._why:
            self._why = _describe(error)
            log.debug("closed: %s", self._why)
        self.abort()
        return ConnectionLost(self._why)


def _limit_frames(frames: Any, limit: int) -> None:
    """Refuse a frame by its announced length, before anything of it is read: the library itself has no limit."""
    recv_length = frames.recv_length

    def checked_length() -> None:
        recv_length()
        if frames.length > limit:
            raise ConnectionError(f"the server announces a frame above the limit of {limit} bytes")

    frames.recv_length = checked_length


def open_connection(
    address: ApiAddress,
    url: str,
    options: DialOptions,
    deadline: float,
    opening: Callable[[WebSocketConnection], None],
) -> WebSocketConnection:
    """Dial and upgrade until ``deadline``; ``opening`` is told the connection before it can be used, to abort it."""
    sock = DuplexSocket(dial(address, deadline, options.tls, options.proxy), options.send_timeout)
    connection = WebSocketConnection(sock, options.frame_limit)
    opening(connection)
    connection.handshake(url, address.host, deadline)
    return connection


def _close_reason(data: bytes) -> str:
    if len(data) < 2:
        return ""
    reason = data[2:].decode("utf-8", "replace")
    text = "".join(c if c.isprintable() else " " for c in reason[:100])
    return f" with code {int.from_bytes(data[:2], 'big')}{f': {text}' if text else ''}"


def _describe(error: Exception) -> str:
    """A reason without content: what the library says may hold headers or parts of the stream."""
    if isinstance(error, (TimeoutError, websocket.WebSocketTimeoutException)):
        return "the peer takes no data"
    if isinstance(error, websocket.WebSocketConnectionClosedException):
        return "the peer closed it"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'the stream broke'}"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"the peer breaks the WebSocket protocol ({type(error).__name__})"
