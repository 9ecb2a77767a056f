"""What connecting needs of the HTTP side: the lock that opens one connection, and whether the server took us over."""

from __future__ import annotations

import logging
from typing import Protocol

from application.ports import Identity
from domain.errors import ConnectionLost, ConnectionRefused, NotFound, Refused, Unavailable

log = logging.getLogger("worker.transport")


class Gate(Protocol):
    """What connecting needs of the server's HTTP side. Any thread; each call blocks up to ``timeout`` seconds."""

    def acquire(self, key: str, ttl: float, timeout: float) -> str | None:
        """The value of a lock, None if somebody else has it. Raises Unavailable, Refused, NotFound."""

    def release(self, key: str, value: str, timeout: float) -> bool:
        """Give a lock back. Raises Unavailable."""

    def registered(self, worker_id: str, timeout: float) -> Identity:
        """How the server knows a worker; blocks up to ``timeout`` seconds. Raises NotFound, Unavailable, Refused."""


def lock_of(identity: Identity) -> str:
    return f"/ws/{identity.id}"


def take_lock(gate: Gate, identity: Identity, ttl: float, timeout: float) -> str:
    """The value of the one-time lock. Raises ConnectionLost, ConnectionRefused."""
    try:
        value = gate.acquire(lock_of(identity), ttl, timeout)
    except Unavailable as error:
        raise _unavailable(error) from None
    except (Refused, NotFound) as error:
        raise ConnectionRefused(str(error)) from None
    if value is None:
        raise ConnectionRefused(
            f"another connection of the worker {identity.id} is being opened; "
            f"its lock ends by itself within {ttl:g} s unless it was made by another program"
        )
    return value


def give_back(gate: Gate, key: str, value: str) -> None:
    try:
        gate.release(key, value, 2.0)
    except Unavailable:
        log.info("the lock of the failed connection was not given back; it ends by itself")


def verify(gate: Gate, identity: Identity, answered: bool, timeout: float) -> None:
    """The server refuses a registration in silence: look whether the row is there and is ours (protocol 5.2)."""
    try:
        row = gate.registered(identity.id, timeout)
    except NotFound:
        if not answered:
            raise ConnectionLost("the registration was not processed in time") from None
        raise ConnectionRefused(
            f"the server did not register the worker {identity.name!r} ({identity.id}): the name may belong to "
            "another worker id, or the API key is not accepted; choose another name, or use the id it belongs to"
        ) from None
    except Unavailable as error:
        raise _unavailable(error) from None
    except Refused as error:
        raise ConnectionRefused(str(error)) from None
    if row.name != identity.name or set(row.tasks) != set(identity.tasks):
        if not answered:
            raise ConnectionLost("the registration was not processed in time")
        raise ConnectionRefused(
            f"the server knows the worker {identity.id} as {row.name!r} for {', '.join(row.tasks) or 'all tasks'} "
            f"and did not take over {identity.name!r} for {', '.join(identity.tasks)}: the name may belong to "
            "another worker id; choose another name"
        )


def _unavailable(error: Unavailable) -> Exception:
    if error.retry_after is not None:
        return ConnectionRefused(str(error), error.retry_after)
    return ConnectionLost(str(error))
