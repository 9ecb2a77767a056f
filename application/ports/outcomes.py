"""Who may run a task, and what a server is told of it. Any thread; each call blocks for one exchange at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from application.ports.stream import Offer
from domain.result import EndReason
from domain.status import Status
from domain.task import Task


@dataclass(frozen=True, slots=True)
class Claim:
    """A task that is this worker's to run: ``task`` as the server holds it now, ``token`` proves the claim, also later
    and in another process (it is journalled). ``expires`` tells whether the claim ends by itself unless extended."""

    task: Task
    token: str
    expires: bool = True


class Claims(Protocol):
    """Who may run a task. Each call takes at most ``timeout`` seconds.

    ``keeps_running`` tells what protects a run once it was announced. True: the server itself, which sets no running
    task back, so that the claim is needed until then only. False: the claim alone, which has to be extended.
    """

    @property
    def keeps_running(self) -> bool: ...

    def claim(self, offer: Offer, token: str, ttl: float, timeout: float) -> Claim | None:
        """Take the task for ``ttl`` seconds; None where somebody else has it. Raises NotFound, Unavailable, Refused.

        ``token`` is this worker's own and may be used or not; the same one again is the same claim, where the server
        can know that. After a lost answer the task may be claimed until ``ttl`` ends.
        """

    def extend(self, task_id: str, token: str, ttl: float, timeout: float) -> bool:
        """Hold it for ``ttl`` seconds from now; False where it is not ours any more. Raises Unavailable."""

    def settle(self, task_id: str, token: str, timeout: float) -> bool:
        """Give the claim up: the task has ended, or its status protects it. False where it was not ours any more, which
        is no error. Idempotent. Raises Unavailable."""


class Receipt(StrEnum):
    CONFIRMED = "confirmed"  # the server holds it now
    SENT = "sent"  # nobody knows: it has to be read back; only where there is a ReadBack
    SUPERSEDED = "superseded"  # the server holds an end already, which stays


class Verb(StrEnum):
    """What a report tells."""

    ENDED = "ended"
    PROGRESS = "progress"  # output without an end: the task goes on at the server
    HANDED_BACK = "handed back"  # it was not started; anybody may


@dataclass(frozen=True, slots=True)
class Report:
    """What a server is to hold of a task. ``output`` is a JSON object as text. The same report gives the same bytes."""

    task_id: str
    verb: Verb
    status: Status | None = None
    end_reason: EndReason | None = None
    output: str | None = None
    execute_log: str = ""
    error: str = ""
    duration: int = 0  # milliseconds
    exit_code: int = 0
    started_at: str = ""  # RFC 3339, with its zone; empty where it did not start
    ended_at: str = ""


class Outcomes(Protocol):
    """What is told about a task. Each is idempotent: what was sent may be sent again. Raises ConnectionLost.

    Of a task that the server does not know any more: SUPERSEDED, where it can tell.
    """

    def running(self, task_id: str, token: str) -> Receipt:
        """The task runs here from now on. SUPERSEDED: it has ended, or runs elsewhere, and must not start."""

    def publish(self, report: Report, token: str) -> Receipt:
        """The task's end. The first end that the server holds stays."""

    def progress(self, report: Report, token: str) -> Receipt:
        """Its output so far; the task goes on at the server, whose part it is to end it."""

    def hand_back(self, report: Report, token: str) -> Receipt:
        """It did not start here: let it be offered again."""


class ReadBack(Protocol):
    """Tasks as the server holds them; for a server that confirms nothing."""

    def fetch(self, task_id: str) -> Task:
        """Raises NotFound, Unavailable, Refused."""

    def of_worker(self, worker_id: str, status: Status | None, limit: int) -> Sequence[Task]:
        """Up to ``limit`` tasks of the worker, newest first. Absence proves nothing. Raises as ``fetch``."""
