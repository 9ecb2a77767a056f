"""The modelled API server as a Site, however its workers reach it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from adapters.testkit.model.controls import ServerControls
from adapters.testkit.transport.site import Held, Site
from adapters.wire.framing import SEPARATOR
from application.ports import Identity, Metrics, Report, Server, Verb
from domain.status import Status

Make = Callable[[str, Metrics], Server]


class ApiServerSite(Site):
    """``make`` gives the API server's ports for an API key and the metrics to count in."""

    def __init__(self, controls: ServerControls, make: Make) -> None:
        super().__init__()
        self.controls = controls
        self._make = make

    def open(self) -> Server:
        return self._make(self.controls.model.token, self.metrics)

    def intruder(self) -> Server:
        return self._make("wrong", self.metrics)

    # -- what people do ------------------------------------------------------------------------------------------------

    def add(self, command: str = "true", **fields: Any) -> str:
        task_id = self.controls.add_task(command=command, **fields)
        self.controls.offer(task_id)
        return task_id

    def stop(self, task_id: str) -> None:
        assert self.controls.stop_task(task_id) == 200, "the server could not tell the stop"

    def kill(self, task_id: str) -> None:
        assert self.controls.stop_task(task_id, force=True) == 200, "the server could not tell the kill"

    def change(self, task_id: str, command: str) -> None:
        with self.controls.guard:
            self.controls.model.tasks[task_id]["command"] = command

    def cancel(self, task_id: str) -> None:
        with self.controls.guard:
            assert self.controls.model.cancel(task_id)[0] == 200, "the server could not cancel the task"

    def hurry(self) -> None:
        """It would broadcast what is pending every three seconds."""
        with self.controls.guard:
            self.controls.offer(*(it["id"] for it in self.controls.model.tasks.values() if it["status"] == "pending"))

    # -- what it holds -------------------------------------------------------------------------------------------------

    def task(self, task_id: str) -> Held:
        row = self.controls.task(task_id)
        status = Status(row["status"])
        report = Report(task_id, Verb.ENDED, status, output=row["output"])
        return Held(status, row["output"], row.get("worker_id") or "", report)

    def log(self, task_id: str) -> bytes:
        return self.controls.log(task_id).encode()

    def workers(self) -> Sequence[Identity]:
        with self.controls.guard:
            rows = list(self.controls.model.workers.values())
        return [Identity(row["id"], row["name"], tasks=tuple(row["metadata"]["tasks"])) for row in rows]

    # -- trouble -------------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        self.controls.drop_connections()

    def inject(self, data: bytes) -> None:
        self.push(SEPARATOR + data.decode("utf-8", "replace").encode() + SEPARATOR)

    def push(self, data: bytes) -> None:
        """Send one frame of just these bytes, which must be UTF-8, to everybody."""
        with self.controls.guard:
            for connection in self.controls.model.connections:
                connection.send_queue.append(data)
                connection.wake()
