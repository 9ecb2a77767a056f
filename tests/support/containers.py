"""Container tasks on a fake engine, and on a fake nerdctl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapters.process.supervisor import Supervisor
from adapters.runners.command import ProcessOptions
from adapters.runners.container import ContainerRunner, OrphanContainers, Owner
from domain.result import Result
from domain.runner import Credential, ExecutionContext
from tests.support.dockerapi import FakeDocker

ROOT = Path(__file__).parents[2]


class Keys:
    def __init__(self, category: str, value: dict[str, str]) -> None:
        self._credential = Credential("c1", category, "key", value)

    def credential(self, credential_id: str) -> Credential:
        return self._credential


class Vault:
    def credential(self, credential_id: str) -> Credential:
        return Credential("c1", "username_password", "registry", {"username": "u", "password": "p"})


def made(engine: FakeDocker, owner: Owner | None = None, **args: Any) -> ContainerRunner:
    runner = ContainerRunner(options=ProcessOptions(grace=1), owner=owner)
    runner.parse_args("", json.dumps({"socket": engine.socket, **args}))
    return runner


def ran(engine: FakeDocker, owner: Owner | None = None, **args: Any) -> Result:
    return made(engine, owner, **args).execute(ExecutionContext(task_id="t1", credentials=Vault()))


def created(engine: FakeDocker) -> Any:
    return next(body for _, path, _, body in engine.requests if path == "containers/create")


def names(engine: FakeDocker) -> list[str]:
    return [box.name for box in engine.boxes.values()]


def cleaned(owner: Owner, **more: Any) -> OrphanContainers:
    """All rounds, one right after the other."""
    leftovers = OrphanContainers(owner, pauses=(0.0,) * 3, **more)
    leftovers.start()
    if leftovers._thread is not None:
        leftovers._thread.join(10)
    return leftovers


NERDCTL = """#!/bin/sh
for word in "$@"; do printf '%s\\n' "$word"; done >> "$RECORD"
echo -- >> "$RECORD"
case "$*" in
  *" exec "*) echo in; exit 7;;
  *"label=cronjob-worker.run="*) echo id-of-run; exit 0;;
  *"label=cronjob-worker.worker=w1"*) printf 'a\\nb\\nc\\n'; exit 0;;
  *"label=cronjob-worker.life="*) echo b; exit 0;;
  *"label=cronjob-worker.bound=true"*) printf 'a\\nb\\nforeign\\n'; exit 0;;
  *"status=created"*) printf 'c\\nother\\n'; exit 0;;
  *healthy*) echo '[{"Id": "1", "Name": "n", "Created": "", "State": {"Status": "up", "Health": {"Status": "unhealthy"}}}]'; exit 0;;
  *sleeper*) case "$*" in *" run "*) exec sleep 60;; esac;;
esac
echo done
"""


def ran_there(environment: dict[str, str], limit: float | None = None, **args: Any) -> Result:
    processes = Supervisor()
    try:
        runner = ContainerRunner(processes, ProcessOptions(grace=1, environment=environment), owner=Owner("w1"))
        runner.parse_args("", json.dumps({"runtime": "containerd", **args}))
        runner.set_timeout(limit)
        return runner.execute(ExecutionContext(task_id="t1"))
    finally:
        processes.close()
