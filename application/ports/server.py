"""What a server offers a worker. One transport is one ``Server`` object; some of its parts are optional.

Every method of every part may be called by any thread unless it says otherwise, blocks for one exchange at most, and
raises the errors of ``domain.errors`` that it names. What else an adapter raises is taken for ConnectionLost or
Unavailable at the border (``application.border``), so that no adapter can end the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from application.ports.logs import TaskLogs
from application.ports.outcomes import Claims, Outcomes, ReadBack
from application.ports.stream import LinkTimes, Stream
from domain.errors import NotFound, Refused
from domain.runner import Approval, ApprovalDesk, Credential, CredentialSource


class Approvals(ApprovalDesk, Protocol):
    def pending_approvals(self, task_id: str) -> Sequence[str]:
        """The ids of the task's unanswered approvals, newest first. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Category:
    """Shell texts the server keeps for a category; empty means nothing to do."""

    code: str
    check: str = ""
    setup: str = ""
    teardown: str = ""


class CategoryScripts(Protocol):
    def category(self, code: str) -> Category:
        """Raises NotFound, Unavailable, Refused."""


class NoCredentials:
    """For a server that keeps no credentials."""

    def credential(self, credential_id: str) -> Credential:
        raise NotFound(f"credential {credential_id!r}: this transport keeps no credentials")


class NoApprovals:
    """For a server at which nobody is asked."""

    def create_approval(self, task_id: str, approval: Approval) -> str:
        raise Refused("this transport has nobody to ask: approval tasks need a server that takes approvals")

    def cancel_approval(self, approval_id: str) -> None:
        """There is none."""

    def pending_approvals(self, task_id: str) -> Sequence[str]:
        return ()


class NoScripts:
    """For a server that keeps no scripts for its categories."""

    def category(self, code: str) -> Category:
        return Category(code)


@dataclass(frozen=True, slots=True)
class Server:
    """What one transport offers. ``name`` is said where it fails.

    Without ``read_back`` every receipt is CONFIRMED or SUPERSEDED. ``secrets`` are the texts that no task may find in
    its environment, as of now. ``abandon``: the worker ends, calls under way end at once, and they and later ones may
    raise Unavailable; any thread, idempotent.
    """

    name: str
    stream: Stream
    claims: Claims
    outcomes: Outcomes
    read_back: ReadBack | None = None
    logs: TaskLogs | None = None
    credentials: CredentialSource = field(default_factory=NoCredentials)
    approvals: Approvals = field(default_factory=NoApprovals)
    scripts: CategoryScripts = field(default_factory=NoScripts)
    times: LinkTimes = field(default_factory=LinkTimes)
    secrets: Callable[[], tuple[str, ...]] = tuple
    abandon: Callable[[], None] = lambda: None
