"""From an address to a connected socket: every address of the host, a proxy if there is one, TLS if asked for."""

from __future__ import annotations

import logging
import socket
import ssl

from adapters.net.duplex import boottime
from adapters.wire.endpoints import ApiAddress, ProxyAddress
from adapters.wire.interim import interim
from domain.errors import ConnectionLost, ConnectionRefused

_USER_TIMEOUT_MS = 30_000
_ANSWER_LIMIT = 16_384
log = logging.getLogger("worker.transport")
_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    # Data that nobody acknowledges ends the connection, long before the kernel's quarter of an hour.
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS),
)


def dial(
    address: ApiAddress, deadline: float, tls: ssl.SSLContext | None = None, proxy: ProxyAddress | None = None
) -> socket.socket:
    """Connect until ``deadline`` (boottime). Raises ConnectionLost, ConnectionRefused. Only DNS may take longer."""
    host, port = (proxy.host, proxy.port) if proxy else (address.host, address.port)
    sock = _connect(host, port, deadline)
    try:
        if proxy:
            _tunnel(sock, address, proxy, deadline)
        if address.secure:
            sock = _encrypt(sock, address, tls, deadline)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConnectionLost(f"the host name {host} cannot be resolved: {_why(error)}") from None
    why = "no address"
    for position, (family, kind, protocol, _, target) in enumerate(found):
        # A silent first address must leave time for the others.
        share = _left(deadline, host) / (len(found) - position)
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(share)
            log.debug("dialling %s port %d at %s", host, port, target[0])
            sock.connect(target)
            for option in _OPTIONS:
                sock.setsockopt(*option)
        except OSError as error:
            sock.close()
            why = _why(error)
            log.debug("no connection to %s: %s", target[0], why)
            continue
        return sock
    raise ConnectionLost(f"cannot connect to {host} port {port}: {why}")


def _encrypt(sock: socket.socket, address: ApiAddress, tls: ssl.SSLContext | None, deadline: float) -> ssl.SSLSocket:
    context = tls or ssl.create_default_context()
    try:
        sock.settimeout(_left(deadline, address.host))
        secured = context.wrap_socket(sock, server_hostname=address.host)
    except ssl.SSLCertVerificationError as error:
        raise ConnectionRefused(
            f"the certificate of {address.host} is not accepted: {error.verify_message}; check server.tls.ca_file"
        ) from None
    except (OSError, ValueError) as error:
        raise ConnectionLost(f"TLS with {address.host} failed: {_why(error)}") from None
    log.debug("TLS with %s: %s, its certificate is accepted", address.host, secured.version())
    return secured


def _tunnel(sock: socket.socket, address: ApiAddress, proxy: ProxyAddress, deadline: float) -> None:
    lines = [f"CONNECT {address.authority} HTTP/1.1", f"Host: {address.authority}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    try:
        sock.settimeout(_left(deadline, proxy.host))
        sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        while interim(status := _proxy_status(sock, proxy, deadline)):
            pass
    except OSError as error:
        raise ConnectionLost(f"the proxy {proxy.authority} failed: {_why(error)}") from None
    if status != 200:
        raise ConnectionRefused(f"the proxy {proxy.authority} answered {status} to CONNECT")
    log.debug("the proxy %s has opened a tunnel to %s", proxy.authority, address.authority)


def _proxy_status(sock: socket.socket, proxy: ProxyAddress, deadline: float) -> int:
    answer = bytearray()
    # Byte by byte: what follows the answer belongs to the tunnel.
    while not answer.endswith(b"\r\n\r\n"):
        sock.settimeout(_left(deadline, proxy.host))
        byte = sock.recv(1)
        if not byte or len(answer) > _ANSWER_LIMIT:
            raise ConnectionLost(f"the proxy {proxy.authority} gave no usable answer")
        answer += byte
    words = bytes(answer).split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ConnectionLost(f"{proxy.authority} does not answer like a proxy")
    return int(words[1])


def _left(deadline: float, host: str) -> float:
    left = deadline - boottime()
    if left <= 0:
        raise ConnectionLost(f"no connection to {host} in time")
    return left


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "the stream broke"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
