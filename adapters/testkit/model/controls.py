"""What tests and people do to a server that lives, however its worker reaches it."""

from __future__ import annotations

import threading
from typing import Any

from adapters.testkit.model.server import ServerModel
from application.ports import Runtime


class ServerControls:
    """Thread-safe handles on a ServerModel. ``guard`` is held around every call to the model."""

    def __init__(self, runtime: Runtime, token: str) -> None:
        self.runtime = runtime
        self.guard = threading.RLock()
        self.model = ServerModel(lambda: runtime.wall().timestamp(), token)

    def add_task(self, **fields: Any) -> str:
        with self.guard:
            return self.model.add_task(**fields)

    def offer(self, *task_ids: str) -> None:
        """Broadcast tasks now instead of at the next three-second tick."""
        with self.guard:
            for task_id in task_ids:
                self.model.broadcast(task_id)

    def stop_task(self, task_id: str, force: bool = False) -> int:
        with self.guard:
            return self.model.stop(task_id, force)[0]

    def task(self, task_id: str) -> dict[str, Any]:
        with self.guard:
            return dict(self.model.tasks[task_id])

    def log(self, task_id: str) -> str:
        with self.guard:
            return self.model.logs.get(task_id, "")

    def wait_for(self, task_id: str, *statuses: str, timeout: float = 30.0) -> dict[str, Any]:
        """Block until the task has one of ``statuses`` and return it. Raises TimeoutError."""
        deadline = self.runtime.now() + timeout
        pause = self.runtime.event()
        while (row := self.task(task_id))["status"] not in statuses:
            if self.runtime.now() > deadline:
                raise TimeoutError(f"task {task_id} is {row['status']}, not {' or '.join(statuses)}")
            pause.wait(0.01)
        return row

    def drop_connections(self) -> None:
        """End every event stream, as a crash of the server does."""
        with self.guard:
            for connection in list(self.model.connections):
                self.model.disconnect(connection)
                connection.wake()

    def lose(self, part: str) -> None:
        """Take away what the server needs until ``regain``: replies.DATABASE, REDIS or AUTH."""
        with self.guard:
            self.model.away.add(part)

    def regain(self, part: str) -> None:
        with self.guard:
            self.model.away.discard(part)

    def empty_locks(self) -> None:
        """Forget every lock, as an emptied Redis does."""
        with self.guard:
            self.model.locks.clear()

    def clear(self) -> None:
        """Forget tasks, logs and scripted faults; workers, locks and connections stay."""
        with self.guard:
            self.model.tasks.clear()
            self.model.logs.clear()
            self.model.log_sizes.clear()
            self.model.faults.clear()
