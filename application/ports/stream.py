"""The live link to a server: offers and stops come in, and it is known whether anybody is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.task import Action, Task


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this worker is; what a registration tells the server. ``tasks`` are the category codes it takes."""

    id: str
    name: str
    description: str = ""
    working_dir: str = "."
    tasks: tuple[str, ...] = ("default",)


@dataclass(frozen=True, slots=True)
class Offer:
    """A task to be run, as the server showed it; it may be stale.

    ``delivery`` is the transport's own name for this one handing over. ``attempt`` above 1 tells that an earlier one
    was never settled: its worker may have run the task.
    """

    task: Task
    delivery: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Stop:
    """A task is to end: politely (STOP), now (KILL), or because its time is over (TIMEOUT)."""

    task_id: str
    action: Action


class Stream(Protocol):
    """The live link. One object lives as long as the worker; connections come and go inside it."""

    def connect(self, identity: Identity) -> None:
        """Open and make this worker known; returns when that is sure. Link thread only; blocks for a bounded time.

        Raises ConnectionLost, ConnectionRefused, or a CoordinationError. Nothing that a former connection received is
        seen on the new one; what waits at the server is.
        """

    def receive(self, room: int, timeout: float) -> Sequence[Offer | Stop]:
        """What arrived, in order; empty after ``timeout`` seconds. Link thread only.

        ``room`` is how many offers there is a slot for. A transport that pulls brings no more of them; one that is
        pushed to may. Stops come whatever the room. Bad messages are counted (``events_invalid``), logged, skipped.
        Raises ConnectionLost.
        """

    def decline(self, offer: Offer, why: str, after: float) -> None:
        """The offer is not taken: it is to be made again, to anybody, not before ``after`` seconds. Idempotent.

        Where the server makes it again by itself there is nothing to do. One that was claimed meanwhile is declined
        before its claim is settled. Raises ConnectionLost; then it comes again.
        """

    def announce(self, identity: Identity) -> None:
        """What this worker takes has changed. May end the connection, which the link then opens anew. Idempotent.

        Raises ConnectionLost; then the next connection tells it.
        """

    def ping(self) -> None:
        """Ask the peer for a sign of life. Raises ConnectionLost."""

    def silence(self) -> float:
        """Seconds since the peer last gave a sign of life; 0 where there is nobody to give one."""

    def close(self) -> None:
        """End the connection, wake a blocked ``receive`` and any other call on it. Idempotent, at once."""


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """How the link is kept alive, in seconds: between heartbeats, of silence after one that was not answered until the
    link is given up, and the longest pause between two tries to connect."""

    ping_interval: float = 20.0
    pong_timeout: float = 60.0
    reconnect_cap: float = 30.0
