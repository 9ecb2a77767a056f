"""Statuses of a task and the moves between them."""

from __future__ import annotations

from enum import StrEnum

from domain.errors import InvalidTransition


class Status(StrEnum):
    """The server's words for where a task stands (spelling is the server's)."""

    TODO = "todo"
    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELED = "canceled"
    CANCELLED = "cancelled"  # written by the server's approval code only
    STOPPED = "stopped"
    SKIPPED = "skipped"
    RETRYING = "retrying"  # the server treats it as finished

    @property
    def is_final(self) -> bool:
        return self in _FINAL

    def may_become(self, other: Status) -> bool:
        return other in _MOVES.get(self, frozenset())

    def become(self, other: Status) -> Status:
        """Return ``other``; raises InvalidTransition where the move is not allowed."""
        if not self.may_become(other):
            raise InvalidTransition(f"a task that is {self} cannot become {other}")
        return other


_FINAL = frozenset(
    {
        Status.SUCCESS,
        Status.FAILED,
        Status.ERROR,
        Status.TIMEOUT,
        Status.CANCELED,
        Status.CANCELLED,
        Status.STOPPED,
        Status.SKIPPED,
        Status.RETRYING,
    }
)

_MOVES: dict[Status, frozenset[Status]] = {
    Status.TODO: frozenset({Status.PENDING, Status.SKIPPED, Status.CANCELED}),
    # A task may end without having run: stopped before its start, refused, or too late.
    Status.PENDING: _FINAL | {Status.RUNNING},
    # running -> pending hands a task back for another worker.
    Status.RUNNING: _FINAL | {Status.PENDING},
}
