"""The in-memory server as a Site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.memory.server import MemoryServer
from adapters.runtime.threads import ThreadRuntime
from adapters.testkit.transport.site import Held, Site
from application.ports import Identity, Server
from domain.status import Status
from domain.task import Action


class MemorySite(Site):
    """``server`` may be one that somebody has broken on purpose."""

    def __init__(self, server: MemoryServer | None = None) -> None:
        super().__init__()
        self.memory = server or MemoryServer(ThreadRuntime())

    def open(self) -> Server:
        return self.memory.server()

    def add(self, command: str = "true", **fields: Any) -> str:
        return self.memory.add(command, **fields)

    def stop(self, task_id: str) -> None:
        self.memory.stop(task_id)

    def kill(self, task_id: str) -> None:
        self.memory.stop(task_id, Action.KILL)

    def change(self, task_id: str, command: str) -> None:
        self.memory.change(task_id, command=command)

    def cancel(self, task_id: str) -> None:
        self.memory.change(task_id, status=Status.CANCELED.value)

    def task(self, task_id: str) -> Held:
        task, told = self.memory.task(task_id), self.memory.reports(task_id)
        return Held(task.status, task.output, task.worker_id, told[-1] if told else None)

    def log(self, task_id: str) -> bytes:
        return self.memory.log(task_id).encode()

    def workers(self) -> Sequence[Identity]:
        return self.memory.identities[-1:]

    def cut(self) -> None:
        self.memory.cut()
