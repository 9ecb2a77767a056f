"""The link to the server: connect, receive, heartbeat, reconnect; every failure leads back to the next try."""

from __future__ import annotations

import logging
from collections.abc import Callable

from application.backoff import HEALTHY_AFTER, Backoff
from application.ports import Identity, Node, Ports
from domain.errors import ConnectionRefused, CoordinationError, TransportError, Unavailable
from domain.task import TaskEvent

log = logging.getLogger("worker.link")


class Link:
    """``up`` is set while the worker is connected and registered. ``on_up`` is told each time; it must not block."""

    def __init__(self, ports: Ports, node: Node, identity: Callable[[], Identity]) -> None:
        """``identity`` tells how to register now; it is asked at each connect."""
        self._ports = ports
        self._node = node
        self._identity = identity
        self.up = ports.runtime.event()
        self._nap = ports.runtime.event()
        self._backoff = Backoff(ports.runtime, 1.0, node.limits.reconnect_cap)
        self._renewing = False

    def run(self, closing: Callable[[], bool], handle: Callable[[TaskEvent], None], on_up: Callable[[], None]) -> None:
        """The link loop: never gives up (G47)."""
        while not closing():
            connected = self._connect(closing)
            if connected is None:
                continue
            on_up()
            self._receive(closing, handle)
            self.up.clear()
            self._ports.transport.close()
            if self._ports.runtime.now() - connected >= HEALTHY_AFTER:
                self._backoff.reset()
            if not closing() and not self._renewing:
                delay = self._backoff.next_delay()
                log.info("connecting anew in %.1f s", delay)
                self._pause(closing, delay)

    def heartbeat(self, closing: Callable[[], bool]) -> None:
        """The heartbeat loop, a thread of its own so that it keeps time under load (G54) and finds dead links (G45)."""
        limits, runtime = self._node.limits, self._ports.runtime
        next_ping = 0.0
        while not closing():
            self._ports.warden.beat()
            if not self.up.wait(0.5):
                next_ping = 0.0
                continue
            now = runtime.now()
            if self._ports.transport.silence() > limits.ping_interval + limits.pong_timeout:
                log.warning("the server has been silent for too long: the connection is given up")
                self.up.clear()
                self._ports.transport.close()
                continue
            if now >= next_ping:
                next_ping = now + limits.ping_interval
                self._ping()
            self._nap.wait(min(1.0, max(0.01, next_ping - runtime.now())))

    def renew(self) -> None:
        """Connect again, to register anew: that is no failure, and waits for nothing. Any thread, at once."""
        self._renewing = True
        self.up.clear()
        self._ports.transport.close()

    def close(self) -> None:
        """Wake both loops and end the connection."""
        self._nap.set()
        self.up.clear()
        self._ports.transport.close()

    def _pause(self, closing: Callable[[], bool], seconds: float) -> None:
        until = self._ports.runtime.now() + seconds
        while not closing() and (left := until - self._ports.runtime.now()) > 0:
            self._nap.wait(min(left, 10.0))

    def _connect(self, closing: Callable[[], bool]) -> float | None:
        self._renewing = False
        try:
            identity = self._identity()
            self._ports.transport.connect(identity)
        except (TransportError, CoordinationError) as error:
            asked = error.retry_after if isinstance(error, (ConnectionRefused, Unavailable)) else None
            delay = self._backoff.next_delay(asked)
            log.warning("not connected: %s; next try in %.1f s", error, delay)
            self._ports.metrics.count("connects_failed")
            self._pause(closing, delay)
            return None
        log.info("connected as %s (%s)", identity.name, identity.id)
        self._ports.metrics.count("connects")
        self.up.set()
        return self._ports.runtime.now()

    def _receive(self, closing: Callable[[], bool], handle: Callable[[TaskEvent], None]) -> None:
        try:
            while not closing() and self.up.is_set():
                for event in self._ports.transport.receive(0.5):
                    handle(event)
        except TransportError as error:
            if not closing() and self.up.is_set():
                log.warning("the connection is lost: %s", error)

    def _ping(self) -> None:
        try:
            self._ports.transport.ping()
        except TransportError:
            pass  # the receiving loop hears of it too and reconnects
