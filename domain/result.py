"""How a run ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.errors import InvalidTransition
from domain.status import Status


class EndReason(StrEnum):
    """Why a run ended, recorded where it was decided and never guessed afterwards."""

    COMPLETED = "completed"  # ended by itself and succeeded
    EXIT_CODE = "exit_code"  # ended by itself with a code other than 0
    SIGNAL = "signal"  # a signal that this worker did not send
    OUT_OF_MEMORY = "out_of_memory"
    FAILED = "failed"  # the work itself reported a failure (no process involved)
    TIMEOUT = "timeout"
    STOPPED = "stopped"
    KILLED = "killed"
    LEASE_LOST = "lease_lost"
    SUPERSEDED = "superseded"  # the server already holds another end for the task
    SHUTDOWN = "shutdown"
    WORKER_LOST = "worker_lost"
    INVALID_TASK = "invalid_task"
    NOT_FOUND = "not_found"
    NOT_EXECUTABLE = "not_executable"
    NO_SUCH_DIRECTORY = "no_such_directory"
    SPAWN_FAILED = "spawn_failed"
    INTERNAL = "internal"  # a defect of the worker or of a runner

    @property
    def status(self) -> Status:
        """The status that a run ended for this reason has."""
        return _STATUS[self]


_STATUS = {
    EndReason.COMPLETED: Status.SUCCESS,
    EndReason.EXIT_CODE: Status.FAILED,
    EndReason.SIGNAL: Status.FAILED,
    EndReason.OUT_OF_MEMORY: Status.FAILED,
    EndReason.FAILED: Status.FAILED,
    EndReason.TIMEOUT: Status.TIMEOUT,
    EndReason.STOPPED: Status.STOPPED,
    EndReason.KILLED: Status.STOPPED,
    EndReason.LEASE_LOST: Status.ERROR,
    EndReason.SUPERSEDED: Status.STOPPED,
    EndReason.SHUTDOWN: Status.ERROR,  # may be retried elsewhere, which a stopped task never is
    EndReason.WORKER_LOST: Status.ERROR,
    EndReason.INVALID_TASK: Status.ERROR,
    EndReason.NOT_FOUND: Status.FAILED,
    EndReason.NOT_EXECUTABLE: Status.FAILED,
    EndReason.NO_SUCH_DIRECTORY: Status.FAILED,
    EndReason.SPAWN_FAILED: Status.ERROR,
    EndReason.INTERNAL: Status.ERROR,
}


@dataclass(frozen=True, slots=True)
class Result:
    """The end of one run; always final, except that an approval leaves its task ``running`` on the server.

    ``output`` is what later tasks may use (standard output, or a JSON object); ``execute_log`` is what a person
    reads; ``error`` is one short text. ``duration`` is in milliseconds. ``exit_code`` is the process's own, 128+n
    where signal n ended it, -1 where there was no exit at all.
    """

    status: Status
    end_reason: EndReason
    output: str = ""
    execute_log: str = ""
    error: str = ""
    start: datetime | None = None
    end: datetime | None = None
    duration: int = 0
    exit_code: int = 0
    truncated: bool = False

    def __post_init__(self) -> None:
        for name, kind in _KINDS:
            if not isinstance(value := getattr(self, name), kind):
                raise TypeError(f"{name} of a result must be {kind.__name__}, not {type(value).__name__}")
        if not self.status.is_final and self.status is not Status.RUNNING:
            raise InvalidTransition(f"a result cannot be {self.status}")


# Runners of others make results too: what is wrong with one is told where it is made.
_KINDS: tuple[tuple[str, type], ...] = (
    ("status", Status),
    ("end_reason", EndReason),
    ("output", str),
    ("execute_log", str),
    ("error", str),
    ("duration", int),
    ("exit_code", int),
)
