"""The link to the server: connect, receive, heartbeat, reconnect; every failure leads back to the next try."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from application.backoff import HEALTHY_AFTER, Backoff
from application.ports import Host, Identity, LinkTimes, Offer, Stop, Stream
from domain.errors import ConnectionRefused, CoordinationError, TransportError, Unavailable

log = logging.getLogger("worker.link")

FULL = 0.05  # seconds until it is looked whether there is room again


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears of the link. None of them may block. ``room`` is how many offers there is a slot for."""

    room: Callable[[], int]
    handle: Callable[[Offer | Stop], None]
    on_up: Callable[[], None]


class Link:
    """``up`` is set while the worker is connected and registered. ``on_up`` is told each time; it must not block."""

    def __init__(self, host: Host, stream: Stream, times: LinkTimes, identity: Callable[[], Identity]) -> None:
        """``identity`` tells how to register now; it is asked at each connect."""
        self._host = host
        self._stream = stream
        self._times = times
        self._identity = identity
        self.up = host.runtime.event()
        self._nap = host.runtime.event()
        self._backoff = Backoff(host.runtime, 1.0, times.reconnect_cap)
        self._renewing = False

    def run(self, closing: Callable[[], bool], listener: Listener) -> None:
        """The link loop: never gives up (G47)."""
        while not closing():
            connected = self._connect(closing)
            if connected is None:
                continue
            listener.on_up()
            self._receive(closing, listener)
            self.up.clear()
            self._hang_up()
            if self._host.runtime.now() - connected >= HEALTHY_AFTER:
                self._backoff.reset()
            if not closing() and not self._renewing:
                delay = self._backoff.next_delay()
                log.info("connecting anew in %.1f s", delay)
                self._pause(closing, delay)

    def heartbeat(self, closing: Callable[[], bool]) -> None:
        """The heartbeat loop, a thread of its own so that it keeps time under load (G54) and finds dead links (G45)."""
        times, runtime = self._times, self._host.runtime
        next_ping = 0.0
        while not closing():
            self._host.watchdog.beat()
            if not self.up.wait(0.5):
                next_ping = 0.0
                continue
            now = runtime.now()
            if self._silence() > times.ping_interval + times.pong_timeout:
                log.warning("the server has been silent for too long: the connection is given up")
                self.up.clear()
                self._hang_up()
                continue
            if now >= next_ping:
                next_ping = now + times.ping_interval
                self._ping()
            self._nap.wait(min(1.0, max(0.01, next_ping - runtime.now())))

    def announce(self) -> None:
        """Tell the server what this worker takes now. That the connection may end with it is no failure, and nothing
        waits for it. Any thread."""
        self._renewing = True
        try:
            self._stream.announce(self._identity())
        except TransportError:
            pass  # the next connection tells it

    def close(self) -> None:
        """Wake both loops and end the connection."""
        self._nap.set()
        self.up.clear()
        self._hang_up()

    def _pause(self, closing: Callable[[], bool], seconds: float) -> None:
        until = self._host.runtime.now() + seconds
        while not closing() and (left := until - self._host.runtime.now()) > 0:
            self._nap.wait(min(left, 10.0))

    def _connect(self, closing: Callable[[], bool]) -> float | None:
        self._renewing = False
        try:
            identity = self._identity()
            self._stream.connect(identity)
        except (TransportError, CoordinationError) as error:
            asked = error.retry_after if isinstance(error, (ConnectionRefused, Unavailable)) else None
            delay = self._backoff.next_delay(asked)
            log.warning("not connected: %s; next try in %.1f s", error, delay)
            self._host.metrics.count("connects_failed")
            self._pause(closing, delay)
            return None
        log.info("connected as %s (%s)", identity.name, identity.id)
        self._host.metrics.count("connects")
        self.up.set()
        return self._host.runtime.now()

    def _receive(self, closing: Callable[[], bool], listener: Listener) -> None:
        try:
            while not closing() and self.up.is_set():
                room = listener.room()
                for event in self._stream.receive(room, 0.5 if room else FULL):
                    listener.handle(event)
        except TransportError as error:
            if not closing() and self.up.is_set() and not self._renewing:
                log.warning("the connection is lost: %s", error)

    def _hang_up(self) -> None:
        try:
            self._stream.close()
        except TransportError:
            pass  # a defect of the adapter, which is told; the next connect is its next try

    def _silence(self) -> float:
        try:
            return self._stream.silence()
        except TransportError:
            return 0.0  # as above; the pings find out

    def _ping(self) -> None:
        try:
            self._stream.ping()
        except TransportError:
            pass  # the receiving loop hears of it too and reconnects
