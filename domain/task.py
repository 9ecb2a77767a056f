"""A task as the worker sees it, and the events that speak of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from domain.status import Status


class Action(StrEnum):
    """What the server asks for. ``timeout`` and ``retry`` are defined by the protocol but rarely sent."""

    RUN = "run"
    RETRY = "retry"
    STOP = "stop"
    KILL = "kill"
    TIMEOUT = "timeout"


MOMENT = timedelta(seconds=5)  # past its start deadline in which a task is still started: its claim keeps it


@dataclass(frozen=True, slots=True)
class Metadata:
    """The part of a task's metadata that the worker acts on.

    ``worker_select`` is None where it could not be read: that selects nobody. ``problem`` tells what else could not be
    read: the task ends with this text instead of running with half its settings.
    """

    working_dir: str = ""
    worker_select: tuple[str, ...] | None = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One planned execution.

    ``timeout`` limits the run in seconds (0: the category's default). ``timeout_at`` is the deadline for being
    *started*, None where the server gave a zero time. ``save_log`` false means that nobody reads a live log.
    """

    id: str
    category: str
    command: str = ""
    args: str = ""
    name: str = ""
    timeout: int = 0
    status: Status = Status.PENDING
    save_log: bool = False
    cronjob: str | None = None
    metadata: Metadata = field(default_factory=Metadata)
    timeout_at: datetime | None = None
    ended: bool = False  # the server has set time_end: no later update counts
    worker_id: str = ""
    output: str = ""
    workflow_exec_id: str | None = None

    def is_late(self, now: datetime) -> bool:
        """Whether it is not to be started any more: its start deadline is past, and the moment of grace after it."""
        return self.timeout_at is not None and self.timeout_at + MOMENT <= now

    def is_for(self, worker_id: str, worker_name: str) -> bool:
        """True if the task's ``worker_select`` admits this worker. An unreadable one admits nobody."""
        chosen = self.metadata.worker_select
        if chosen is None:
            return False
        return not chosen or worker_id in chosen or worker_name in chosen
