"""The API server's event stream with both ends in one process, through the real codec and the server's own splitter."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from adapters.apiserver.outcomes import Encode
from adapters.apiserver.server import server_over
from adapters.testkit.model.client import MemoryApiClient
from adapters.testkit.model.network import MemoryNetwork
from adapters.testkit.model.server import Connection
from adapters.wire.framing import FrameDecoder
from adapters.wire.framing import encode as framed
from adapters.wire.messages import BadMessage, decode_event, encode_registration
from application.ports import Identity, Metrics, Offer, Server, Stop
from domain.errors import ConnectionLost, ConnectionRefused

log = logging.getLogger("worker.transport")

ANSWER = 10.0  # seconds for the requests around connecting


class ModelStream:
    """One worker's event stream to a ServerModel."""

    def __init__(self, network: MemoryNetwork, metrics: Metrics) -> None:
        self._network = network
        self._metrics = metrics
        self._connection: Connection | None = None
        self._identity: Identity | None = None
        self._decoder = FrameDecoder()
        self._heard = 0.0
        self._arrived = network.runtime.event()
        self._sending = network.runtime.lock()

    def connect(self, identity: Identity) -> None:
        key = f"/ws/{identity.id}"
        lock = self._network.request("GET", "/lock/acquire", {"key": key, "expire": "12"}, None, ANSWER)[1]
        value = (lock.get("data") or {}).get("value")
        if not value:
            raise ConnectionRefused("the server keeps another connection's lock; it expires by itself")
        self._arrived.clear()
        self._connection = connection = self._network.open(key, value, self._arrived.set)
        self._identity = identity
        self._decoder = FrameDecoder()
        self._heard = self._network.runtime.now()
        self._send(encode_registration(identity, self._network.token))
        self._verify(identity, connection)

    def receive(self, room: int, timeout: float) -> Sequence[Offer | Stop]:
        connection = self._live()
        self._arrived.clear()
        data = self._network.take(connection)
        if not data:
            self._arrived.wait(timeout)
            data = self._network.take(connection)
        if not data:
            return []
        self._heard = self._network.runtime.now()
        events: list[Offer | Stop] = []
        for payload in self._decoder.feed(data):
            try:
                event, bad = decode_event(payload)
            except BadMessage as error:
                log.warning("a message of the server is left out: %s", error)
                bad = 1
            else:
                events += event
            if bad:
                self._metrics.count("events_invalid", bad)
        return events

    def decline(self, offer: Offer, why: str, after: float) -> None:
        """The server offers a pending task again by itself."""

    def announce(self, identity: Identity) -> None:
        """As the real one: the link registers on a fresh connection."""
        self.close()

    def tell(self, encode: Encode) -> None:
        self._live()
        assert self._identity is not None
        self._send(encode(self._identity, self._network.token))

    def ping(self) -> None:
        if self._network.ping(self._live()):
            self._heard = self._network.runtime.now()

    def silence(self) -> float:
        return self._network.runtime.now() - self._heard

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._network.hang_up(connection)
        self._arrived.set()

    def _verify(self, identity: Identity, connection: Connection) -> None:
        status, document = self._network.request("GET", f"/worker/{identity.id}/", {}, None, ANSWER)
        row = document.get("data") or {}
        if status != 200 or row.get("name") != identity.name:
            self._network.hang_up(connection)
            self._connection = None
            if status == 404 or row:
                raise ConnectionRefused(
                    f"the server did not register this worker: is the name {identity.name!r} taken?"
                )
            raise ConnectionLost(f"the registration could not be verified ({status})")

    def _send(self, message: bytes) -> None:
        connection = self._live()
        with self._sending:
            for piece in framed(message):
                self._network.message(connection, piece)

    def _live(self) -> Connection:
        if self._connection is None:
            raise ConnectionLost("not connected")
        return self._connection


def server_of(network: MemoryNetwork, metrics: Metrics) -> Server:
    """The modelled API server as one worker sees it over ``network``: through the adapters of the real one."""
    stream = ModelStream(network, metrics)
    return server_over(MemoryApiClient(network.request), stream, network.runtime.now)
