"""The Stream port over one WebSocket to the API server (protocol 2 to 5)."""

from __future__ import annotations

import itertools
import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adapters.apiserver.outcomes import Encode
from adapters.apiserver.registration import Gate, give_back, lock_of, take_lock, verify
from adapters.apiserver.websocket import FRAME_LIMIT, FrameKind, WebSocketConnection, open_connection
from adapters.net.duplex import boottime
from adapters.wire.endpoints import ApiAddress, ProxyAddress
from adapters.wire.framing import encode
from adapters.wire.messages import BadMessage, decode_event, encode_registration
from application.ports import Identity, Metrics, Offer, Stop
from domain.errors import ConnectionLost, WorkerError

log = logging.getLogger("worker.transport")

LAST_CALL = 1.0  # seconds for the look at the row where the pong has used up the time


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """How to connect; times in seconds.

    ``connect_timeout`` is for all of ``connect`` except DNS. ``send_timeout`` is how long a peer may refuse to read
    before the connection counts as lost. ``lock_ttl`` is short, because a lock left behind blocks the next try.
    """

    connect_timeout: float = 20.0
    send_timeout: float = 20.0
    lock_ttl: float = 12.0
    frame_limit: int = FRAME_LIMIT
    tls: ssl.SSLContext | None = None
    proxy: ProxyAddress | None = None


class WebSocketTransport:
    """One object for the life of the worker; each ``connect`` starts with a fresh connection and an empty decoder."""

    def __init__(
        self,
        address: ApiAddress,
        gate: Gate,
        token: Callable[[], str],
        metrics: Metrics,
        options: LinkOptions | None = None,
    ) -> None:
        self._address = address
        self._gate = gate
        self._token = token
        self._metrics = metrics
        self._options = options or LinkOptions()
        self._connection: WebSocketConnection | None = None
        self._identity: Identity | None = None
        self._early: list[Offer | Stop] = []  # arrived while the registration was verified
        self._closes = 0  # a close that comes while connecting must not be lost
        self._sending = threading.Lock()
        self._ping_number = itertools.count(1)

    # -- the port ------------------------------------------------------------------------------------------------

    def connect(self, identity: Identity) -> None:
        self.close()
        deadline = boottime() + self._options.connect_timeout
        self._early = []
        self._identity = identity
        connection = self._open(identity, deadline)
        try:
            self._send(connection, encode_registration(identity, self._read_token()))
            log.debug("registration sent: %s (%s) for %s", identity.name, identity.id, ", ".join(identity.tasks))
            answered = self._barrier(connection, deadline)
            log.debug("registration %s", "processed" if answered else "without a sign of it in time")
            verify(self._gate, identity, answered, max(LAST_CALL, deadline - boottime()))
            log.debug("verified: the server knows this worker")
        except BaseException:
            self.close()
            raise

    def receive(self, room: int, timeout: float) -> Sequence[Offer | Stop]:
        """The server pushes whatever the room."""
        if self._early:
            events, self._early = self._early, []
            return events
        connection = self._live()
        deadline = boottime() + timeout
        while (frame := connection.read(deadline)) is not None:
            if events := self._events(connection, frame.payload if frame.kind is FrameKind.DATA else b""):
                return events
        return []

    def decline(self, offer: Offer, why: str, after: float) -> None:
        """The server offers a pending task about every three seconds by itself (protocol 4.4)."""

    def announce(self, identity: Identity) -> None:
        """A registration is verified on a fresh connection only: the link opens one."""
        self.close()

    def tell(self, encode: Encode) -> None:
        connection = self._live()
        assert self._identity is not None
        self._send(connection, encode(self._identity, self._read_token()))

    def ping(self) -> None:
        self._live().ping(self._next_ping())

    def silence(self) -> float:
        connection = self._connection
        return connection.silence() if connection else 0.0

    def close(self) -> None:
        self._closes += 1
        connection = self._connection
        if connection:
            connection.abort()

    # -- connecting ----------------------------------------------------------------------------------------------

    def _open(self, identity: Identity, deadline: float) -> WebSocketConnection:
        """Get the one-time lock and open. The lock is given back where the server cannot have used it up."""
        key = lock_of(identity)
        closes = self._closes

        def opening(connection: WebSocketConnection) -> None:
            self._connection = connection  # from here on close ends a handshake that hangs
            if self._closes != closes:
                connection.abort()

        value = take_lock(self._gate, identity, self._options.lock_ttl, deadline - boottime())
        log.debug("connecting to %s", self._address.authority)
        try:
            url = self._address.websocket(key, value)
            return open_connection(self._address, url, self._options, deadline, opening)
        except BaseException:
            give_back(self._gate, key, value)
            raise

    def _barrier(self, connection: WebSocketConnection, deadline: float) -> bool:
        """Wait for the pong that proves the registration was processed; False if none came (protocol 2.7)."""
        payload = self._next_ping()
        connection.ping(payload)
        while (frame := connection.read(deadline)) is not None:
            if frame.kind is FrameKind.PONG and frame.payload == payload:
                return True
            if frame.kind is FrameKind.DATA:
                self._early += self._events(connection, frame.payload)
        return False

    # -- the wire ------------------------------------------------------------------------------------------------

    def _events(self, connection: WebSocketConnection, data: bytes) -> list[Offer | Stop]:
        events = []
        dropped = connection.decoder.dropped
        for message in connection.decoder.feed(data):
            try:
                event, bad = decode_event(message)
            except BadMessage as error:
                self._invalid(1, str(error))
                continue
            if bad:
                self._invalid(bad, "a task could not be read")
            events += event
        if connection.decoder.dropped != dropped:
            self._invalid(connection.decoder.dropped - dropped, "a message was too large")
        return events

    def _invalid(self, amount: int, why: str) -> None:
        self._metrics.count("events_invalid", amount)
        log.warning("%d message(s) of the server skipped: %s", amount, why)

    def _send(self, connection: WebSocketConnection, message: bytes) -> None:
        pieces = encode(message)
        with self._sending:  # the pieces of two messages must not mix
            for piece in pieces:
                connection.send_text(piece)

    def _read_token(self) -> str:
        try:
            return self._token()
        except (OSError, WorkerError) as error:
            raise ConnectionLost(f"the API key cannot be read: {error}") from None

    def _live(self) -> WebSocketConnection:
        if self._connection is None:
            raise ConnectionLost("not connected")
        return self._connection

    def _next_ping(self) -> bytes:
        return b"%d" % next(self._ping_number)
