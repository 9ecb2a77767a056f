"""The embedded schedule keeps the transport's contract, as far as there is no network in between."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.local.claims import LocalClaims
from adapters.local.credentials import LocalCredentials
from adapters.local.logs import LocalLogs
from adapters.local.planner import Planner
from adapters.local.server import LocalServer
from adapters.local.store import Run, Store
from adapters.runtime.threads import ThreadRuntime
from adapters.testkit.transport_contract import Held, Site, TransportContract
from application.ports import Report, Server, Verb
from domain.status import Status

NEVER = "0 0 1 1 *"


class LocalSite(Site):
    """A task is a run of a job of its own."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.jobs: dict[str, dict[str, Any]] = {}
        self.schedule = directory / "schedule.json"
        self.write()
        self.runtime = ThreadRuntime()
        self.store = Store(directory / "history.sqlite")
        self.planner = Planner(self.schedule, self.store, 1000)
        self.credentials = LocalCredentials(directory / "credentials.json", {})
        self.logs = LocalLogs(self.store)
        self.local = LocalServer(self.runtime, self.planner, self.store, self.logs)
        self.claims = LocalClaims(self.runtime, self.local)

    def open(self) -> Server:
        return Server("local", self.local, self.claims, self.local, self.local, self.logs, credentials=self.credentials)

    def close(self) -> None:
        self.store.close()

    def write(self) -> None:
        """The schedule file, as an editor puts it there."""
        fresh = self.schedule.with_suffix(".new")
        fresh.write_text(json.dumps({"jobs": list(self.jobs.values())}))
        fresh.replace(self.schedule)

    def add(self, command: str = "true", **fields: Any) -> str:
        run_id = str(uuid.uuid4())
        self.jobs[run_id] = {"name": run_id, "time": NEVER, "command": command} | fields
        self.write()
        self.store.add(Run(run_id, run_id, run_id, self.runtime.wall().timestamp(), "pending", "", 0, "", None))
        self.local._wake.set()
        return run_id

    def stop(self, task_id: str) -> None:
        self.local.stop(task_id)

    def kill(self, task_id: str) -> None:
        self.local.stop(task_id, force=True)

    def change(self, task_id: str, command: str) -> None:
        self.jobs[task_id]["command"] = command
        self.write()
        with self.local._guard:
            self.planner.reload(self.runtime.wall())

    def cancel(self, task_id: str) -> None:
        self.store.end(task_id, "canceled", "", "", self.runtime.wall().timestamp())

    def task(self, task_id: str) -> Held:
        run = self.store.get(task_id)
        assert run is not None
        ((error,),) = self.store._do("SELECT error FROM runs WHERE id = ?", (task_id,))
        status = Status(run.status)
        return Held(
            status, run.output, run.worker_id, Report(task_id, Verb.ENDED, status, output=run.output, error=error or "")
        )

    def log(self, task_id: str) -> bytes:
        return self.store.log(task_id).encode()


class TestLocalTransport(TransportContract):
    network = False  # nothing in between, nobody to register with, and no other worker
    raw = False
    signs_of_life = False
    registers = False
    logins = False
    several_workers = False
    pulls = False
    progress = False
    report_fields = ("task_id", "verb", "status", "output", "error")

    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[Site]:
        site = LocalSite(tmp_path)
        yield site
        site.close()
