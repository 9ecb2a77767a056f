"""The embedded schedule keeps the transport's contract, as far as there is no network in between."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapters.local.credentials import LocalCredentials
from adapters.local.cron import Cron
from adapters.local.planner import Planner
from adapters.local.schedule import Job
from adapters.local.server import LocalServer
from adapters.local.store import Run, Store
from adapters.runtime.threads import ThreadRuntime
from adapters.testkit.model.controls import ServerControls
from adapters.testkit.transport_contract import Site, TransportContract, WorkerLink, someone

NEVER = Cron("0 0 1 1 *", ZoneInfo("UTC"))


class LocalControls(ServerControls):
    """The controls of a server, over a schedule: a task is a run of a job of its own."""

    def __init__(self, directory: Path) -> None:
        super().__init__(ThreadRuntime(), "")
        (directory / "schedule.json").write_text('{"jobs": []}')
        self.identity = someone()
        self.store = Store(directory / "history.sqlite")
        self.planner = Planner(directory / "schedule.json", self.store, 1000)
        self.planner.serve(self.identity)
        self.planner.reload(self.runtime.wall())
        self.local = LocalServer(
            self.runtime, self.planner, self.store, LocalCredentials(directory / "credentials.json", {})
        )

    def add_task(self, **fields: Any) -> str:
        run_id = str(uuid.uuid4())
        given = {key: value for key, value in fields.items() if key in ("category", "command", "args", "timeout")}
        self.planner.jobs = {**self.planner.jobs, run_id: replace(Job(run_id, NEVER), **given)}
        self.store.add(Run(run_id, run_id, run_id, self.runtime.wall().timestamp(), "pending", "", 0, "", None))
        self.local._wake.set()
        return run_id

    def offer(self, *task_ids: str) -> None:
        """What is due is offered by itself."""

    def stop_task(self, task_id: str, force: bool = False) -> int:
        self.local.stop(task_id, force)
        return 200

    def task(self, task_id: str) -> dict[str, Any]:
        run = self.store.get(task_id)
        assert run is not None
        name = self.identity.name if run.worker_id == self.identity.id else ""
        return {"status": run.status, "output": run.output, "worker_id": run.worker_id, "worker_name": name}

    def log(self, task_id: str) -> str:
        return self.store.log(task_id)


class TestLocalTransport(TransportContract):
    network = False

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[Site]:
        server = LocalControls(tmp_path)
        link = WorkerLink(server.local, server.local, server.identity)
        with ExitStack() as ends:
            ends.callback(server.store.close)
            yield Site(server, lambda _: link, ends)

    # There is nobody to register with, so nobody who could refuse; and every category is fine.
    test_connecting_registers_the_name_and_the_categories = None  # type: ignore[assignment]
    test_a_taken_name_is_refused = None  # type: ignore[assignment]
    test_a_wrong_key_does_not_connect = None  # type: ignore[assignment]
    test_an_unknown_category_is_not_found = None  # type: ignore[assignment]
