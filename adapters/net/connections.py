"""Connections of one run: only to addresses that may be asked, and a cancel ends them from any thread."""

from __future__ import annotations

import ipaddress
import itertools
import logging
import socket
import ssl
import threading
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from adapters.wire.interim import FinalResponse
from domain.errors import WorkerError

# Cloud metadata services: whoever can make the worker ask them gets its keys.
METADATA = [
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16", "fe80::/10",  # the local link, where most of them are
        "fd00:ec2::/112", "fd20:ce::254/128", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",
    )
]  # fmt: skip
# Networks whose addresses carry an IPv4 address in their last four bytes.
NAT64 = [ipaddress.ip_network(text) for text in ("64:ff9b::/96", "::/96")]


PATIENCE = 3.0  # seconds for an address where there are others: many a network drops what goes out by IPv6


class Forbidden(WorkerError):
    """The address may not be asked."""


class Connections:
    """``dial`` is called by the thread that works, ``hang_up`` by whoever cancels, ``close`` when the work is over."""

    def __init__(self, public_only: bool = False) -> None:
        self._public_only = public_only
        self._held: list[socket.socket] = []
        self._changed = threading.Condition()
        self._over = False

    def dial(self, host: str, port: int, timeout: float | None) -> socket.socket:
        """Return a connected socket. ``timeout`` in seconds for each step. Raises OSError, Forbidden."""
        last: Exception = OSError(f"{host}: no address")
        answers = by_turns(self._resolve(host, port, timeout))
        for left, (family, kind, protocol, _, address) in zip(range(len(answers) - 1, -1, -1), answers, strict=True):
            check_address(str(address[0]), self._public_only)
            sock = socket.socket(family, kind, protocol)
            try:
                self._hold(sock)
                sock.settimeout(min(timeout or PATIENCE, PATIENCE) if left else timeout)
                sock.connect(address)
                sock.settimeout(timeout)
            except OSError as error:
                last = error
                sock.close()
                continue
            return sock
        raise last

    def pool(
        self, secure: bool, host: str, port: int | None, timeout: urllib3.Timeout, tls: ssl.SSLContext | None = None
    ) -> HTTPConnectionPool:
        """A pool that dials here. The library would log whole URLs, which may be secrets: it is told not to."""
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        base: Any = HTTPSConnection if secure else HTTPConnection
        dial = self.dial

        class Connection(base):  # type: ignore[misc]
            response_class = FinalResponse

            def _new_conn(self) -> socket.socket:
                sock = dial(self._dns_host, self.port, self.timeout if isinstance(self.timeout, (int, float)) else None)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock

        pool: HTTPConnectionPool
        if secure:
            pool = HTTPSConnectionPool(host, port or 443, timeout=timeout, ssl_context=tls)
        else:
            pool = HTTPConnectionPool(host, port or 80, timeout=timeout)
        pool.ConnectionCls = Connection
        return pool

    def hang_up(self) -> None:
        """End every connection, and every later one before it begins. Idempotent, any thread, never blocks."""
        with self._changed:
            self._over = True
            for sock in self._held:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            held, self._held = self._held, []
        for sock in held:
            sock.close()

    def _hold(self, sock: socket.socket) -> None:
        # A descriptor of our own: TLS takes the socket's away, and a closed number could be somebody else's by then.
        with self._changed:
            if self._over:
                raise OSError("the run was cancelled")
            self._held.append(sock.dup())

    def _resolve(self, host: str, port: int, timeout: float | None) -> list[Any]:
        """A name server that says nothing must not hold a cancelled run: its thread ends with the resolver's limit."""
        found: list[Any] = []

        def ask() -> None:
            try:
                answer: Any = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                answer = error
            with self._changed:
                found.append(answer)
                self._changed.notify_all()

        asking = threading.Thread(target=ask, name="resolve", daemon=True)
        asking.start()
        with self._changed:
            self._changed.wait_for(lambda: bool(found) or self._over, timeout)
            if self._over:
                raise OSError("the run was cancelled")
        if not found:
            raise TimeoutError(f"{host}: the name was not resolved in time")
        asking.join()
        if isinstance(found[0], UnicodeError):
            raise OSError(f"{host!r} is not a host name")
        if isinstance(found[0], OSError):
            raise found[0]
        answers: list[Any] = found[0]
        return answers


def by_turns(answers: list[Any]) -> list[Any]:
    """The resolver's answers with the kinds of addresses in turns, so that one that is dead costs one wait."""
    kinds = list(dict.fromkeys(answer[0] for answer in answers))
    queues = [[answer for answer in answers if answer[0] == kind] for kind in kinds]
    return [answer for turn in itertools.zip_longest(*queues) for answer in turn if answer is not None]


def check_address(text: str, public_only: bool) -> None:
    """Raises Forbidden for addresses that no task may reach."""
    address: Any = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inside is None and address.packed[-4:-3] != b"\0" and any(address in network for network in NAT64):
            inside = ipaddress.IPv4Address(address.packed[-4:])
        address = inside or address
    if any(address in network for network in METADATA):
        raise Forbidden(f"the address {address} is that of a metadata service or of the local link: not asked")
    if public_only and not address.is_global:
        raise Forbidden(f"the address {address} is not a public one: not asked")
