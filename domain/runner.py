"""The Runner port, what a run is given, how it is cancelled, and the registry of categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from domain.errors import UnknownCategory
from domain.result import EndReason, Result
from domain.status import Status


class Urgency(IntEnum):
    POLITE = 1  # ask, wait for the grace time, then force
    NOW = 2  # force


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """A wish that a run ends: why, how urgently, and (``note``) what a person should read about it."""

    reason: EndReason
    urgency: Urgency = Urgency.POLITE
    note: str = ""


class CancelToken:
    """Remembers that a run shall end: level, not edge. Whoever looks late still sees it.

    Any thread may call any method. Without a lock on purpose: appending to a list is atomic, and a subscriber that
    subscribes while a request arrives may be called twice with it, so subscribers must be idempotent.
    """

    __slots__ = ("_requests", "_subscribers")

    def __init__(self) -> None:
        self._requests: list[CancelRequest] = []
        self._subscribers: list[Callable[[CancelRequest], None]] = []

    @property
    def first(self) -> CancelRequest | None:
        """The request that decided the end; later ones can only make it more urgent."""
        return self._requests[0] if self._requests else None

    @property
    def urgency(self) -> Urgency | None:
        return max((request.urgency for request in self._requests), default=None)

    @property
    def requested(self) -> bool:
        return bool(self._requests)

    def cancel(self, request: CancelRequest) -> None:
        """Record the request and tell all subscribers; returns when each was told. Never blocks by itself."""
        self._requests.append(request)
        for subscriber in tuple(self._subscribers):
            subscriber(request)

    def subscribe(self, subscriber: Callable[[CancelRequest], None]) -> None:
        """Tell ``subscriber`` every request from now on, and at once those already there."""
        self._subscribers.append(subscriber)
        for request in tuple(self._requests):
            subscriber(request)

    def unsubscribe(self, subscriber: Callable[[CancelRequest], None]) -> None:
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret fetched just in time. ``value`` never goes into a log, an error or a file."""

    id: str
    category: str
    name: str
    value: Mapping[str, Any] = field(repr=False)


class CredentialSource(Protocol):
    """Where runners get credentials from, just in time."""

    def credential(self, credential_id: str) -> Credential:
        """Return an active credential. Blocks for one request; raises CoordinationError. Any thread."""


@dataclass(frozen=True, slots=True)
class Approval:
    """What an approval task asks for; texts in ``context`` and ``metadata`` are JSON.

    ``workflow_exec_id`` is the run of the workflow that the task belongs to, if it belongs to one.
    """

    title: str
    content: str
    context: str
    user_ids: tuple[str, ...]
    ai_agent_ids: tuple[str, ...]
    require_all: bool
    timeout: int
    metadata: str
    workflow_exec_id: str | None = None


class ApprovalDesk(Protocol):
    """Where an approval task leaves its question."""

    def create_approval(self, task_id: str, approval: Approval) -> str:
        """Return the id of the task's approval, the existing one if there already is one. Raises CoordinationError."""

    def cancel_approval(self, approval_id: str) -> None:
        """Withdraw an approval; one that is answered or unknown is no error. Raises Unavailable.

        Raises Refused where the server offers no way to do so: then it stays open.
        """


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """What a task brings to its runner. Every field has a stand-alone default.

    ``log`` takes live output as bytes from any thread, never blocks for long and never raises. ``redact`` takes
    what is secret among what the task brings: it is shown nowhere from then on (those of credentials never are).
    ``environment`` holds what the task adds to the inherited environment. ``working_dir`` is where the task asked
    to work, as it wrote that (None: it did not ask); ``default_dir`` is where it works otherwise (None: the current
    directory). ``adapters.process.workdir.prepare`` makes the directory of the two and returns it.
    """

    task_id: str = ""
    working_dir: Path | None = None
    default_dir: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Callable[[bytes], None] = lambda _: None
    redact: Callable[[str], None] = lambda _: None
    credentials: CredentialSource | None = None
    approvals: ApprovalDesk | None = None
    workflow_exec_id: str | None = None


@runtime_checkable
class Runner(Protocol):
    """Runs one task once. One object per run, made by the registry's factory for its category."""

    def parse_args(self, command: str, args: str) -> None:
        """Check and remember the task's text. Raises InvalidTask; has no side effects."""

    def set_timeout(self, seconds: float | None) -> None:
        """Limit the run. None or 0 leaves the category's default. Called before ``execute``."""

    def execute(self, context: ExecutionContext | None = None) -> Result:
        """Run to the end and return it. Blocks; called once. An ordinary failure is a Result, not an exception."""

    def stop(self) -> None:
        """Ask politely (TERM, grace, KILL). Any thread, any time, idempotent, also before ``execute``.

        Returns at once and waits for nothing: it runs on the thread that hears the server.
        """

    def kill(self) -> None:
        """End now. Like ``stop``: any thread, any time, at once, idempotent, also before ``execute``."""

    @property
    def status(self) -> Status:
        """Where the run stands. Any thread."""

    @property
    def result(self) -> Result | None:
        """The end of the run, None before. Any thread."""

    def cleanup(self) -> None:
        """Free what the run held; idempotent."""


RunnerFactory = Callable[[], Runner]


class RunnerRegistry:
    """Categories and the factories of their runners. Codes are trimmed and lower-cased; an empty one is ``default``.

    Filled once at start, before threads exist; reading is safe from any thread.
    """

    def __init__(self) -> None:
        self._factories: dict[str, RunnerFactory] = {}

    def register(self, category: str, factory: RunnerFactory) -> None:
        """Add or replace the factory of a category."""
        self._factories[self._code(category)] = factory

    def create(self, category: str) -> Runner:
        """Return a new runner. Raises UnknownCategory."""
        factory = self._factories.get(self._code(category))
        if factory is None:
            raise UnknownCategory(category, tuple(self.list()))
        return factory()

    def list(self) -> list[str]:
        """The registered categories, sorted."""
        return sorted(self._factories)

    @staticmethod
    def _code(category: str) -> str:
        return category.strip().lower() if category else "default"
