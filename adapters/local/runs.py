"""Runs of jobs: how they are named and made, and which of them wait."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from adapters.local.schedule import Job
from adapters.local.store import Run, Store


def run_name(job: Job, planned: datetime) -> str:
    """A clock change shows an hour twice: its second time has names of its own."""
    return f"{job.name}-{planned:%Y%m%d-%H%M%S}{planned.strftime('%z') if planned.fold else ''}"


def free_name(job: Job, planned: datetime, store: Store) -> str:
    """A name that no run has: a clock that was set back shows a time once more."""
    name = base = run_name(job, planned)
    count = 1
    while store.known(name):
        count += 1
        name = f"{base}-{count}"
    return name


def startable(runs: Sequence[Run], now: datetime) -> list[Run]:
    """Without those that wait for the moment of their retry."""
    return [run for run in runs if run.status == "running" or not run.retry or run.planned <= now.timestamp()]


def label(run: Run) -> dict[str, str]:
    return {"task": run.id, "task_name": run.name}


def new_run(job: Job, name: str, planned: float, status: str, retry: int = 0, ended: float | None = None) -> Run:
    return Run(str(uuid.uuid4()), job.name, name, planned, status, "", retry, "", ended)
