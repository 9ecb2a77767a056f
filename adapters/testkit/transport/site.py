"""What a transport's contract suite needs to know of a server: what people do there, and what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters.observability.metrics import MemoryMetrics
from application.ports import Identity, Report, Server
from domain.status import Status


@dataclass(frozen=True, slots=True)
class Held:
    """A task as the server holds it. ``report`` is what was told of it last, with the fields that the server keeps."""

    status: Status
    output: str = ""
    worker_id: str = ""
    report: Report | None = None


class Site:
    """A server of its own for each test. Write a subclass for yours; what your medium does not have stays unwritten,
    and the flag of TransportContract that names it is set to False. Any thread may call any method.

    ``metrics`` are those that a transport made by ``open`` counts in.
    """

    def __init__(self) -> None:
        self.metrics = MemoryMetrics()

    def open(self) -> Server:
        """A new way to the server, not connected yet, as a worker that starts makes one."""
        raise NotImplementedError

    def close(self) -> None:
        """The test is over: leave no thread, process, file or port."""

    # -- what people do ------------------------------------------------------------------------------------------------

    def add(self, command: str = "true", **fields: Any) -> str:
        """Plan a task that is to be run now; returns its id, a UUID. ``fields`` as in ``domain.task.Task``."""
        raise NotImplementedError

    def stop(self, task_id: str) -> None:
        """Ask for the end of a task that runs."""
        raise NotImplementedError

    def kill(self, task_id: str) -> None:
        """Ask for the end of a task that runs, at once."""
        raise NotImplementedError

    def change(self, task_id: str, command: str) -> None:
        """Somebody edits a task that has not started. Flag ``editable``."""
        raise NotImplementedError

    def cancel(self, task_id: str) -> None:
        """Somebody ends a task that has not started (status ``canceled``). Flag ``cancelable``."""
        raise NotImplementedError

    def hurry(self) -> None:
        """Offer now what the server would offer by itself in a while; nothing where it always offers at once."""

    # -- what it holds -------------------------------------------------------------------------------------------------

    def task(self, task_id: str) -> Held:
        """The task as it is now."""
        raise NotImplementedError

    def log(self, task_id: str) -> bytes:
        """The task's log as people read it; empty where there is none yet. Flag ``logs``."""
        raise NotImplementedError

    def workers(self) -> Sequence[Identity]:
        """The workers that the server knows. Flag ``registers``."""
        raise NotImplementedError

    # -- trouble -------------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """End all connections, as a network does. Flag ``network``."""
        raise NotImplementedError

    def inject(self, data: bytes) -> None:
        """Send ``data`` in the place of a message to who is connected, as no healthy server does. Flag ``raw``."""
        raise NotImplementedError

    def intruder(self) -> Server:
        """A way to the server with a login that is not valid. Flag ``logins``."""
        raise NotImplementedError
