"""Decides what is due: plans runs, keeps to the overlap and catch-up rules, plans retries."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from adapters.transports.local.schedule import Job, Schedule, read
from adapters.transports.local.store import Run, Store
from domain.errors import ConfigError

log = logging.getLogger("worker.schedule")

LATE = 90.0  # seconds after which a moment counts as missed and not merely as late
RETRIED = ("failed", "error")


class Planner:
    """Not thread-safe: its owner calls it from one thread. Moments are aware datetimes."""

    def __init__(self, path: Path, store: Store, keep: int) -> None:
        self._path = path
        self._store = store
        self._keep = keep
        self._state: tuple[int, ...] | None = None
        self._complaint = ""
        self._next: dict[str, datetime | None] = {}
        self._retries: list[tuple[float, Run]] = []
        self.jobs: Mapping[str, Job] = {}

    def reload(self, now: datetime) -> None:
        """Read the file again if it changed. A file that cannot be read leaves the former schedule in force."""
        try:
            found = self._path.stat()
            state: tuple[int, ...] = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError as error:
            self._complain(f"{self._path}: cannot be read: {error.strerror}; it is looked for again every second")
            return
        if state == self._state:
            return
        self._state = state
        try:
            schedule = read(self._path)
        except ConfigError as error:
            kept = f"; the former {len(self.jobs)} jobs stay in force" if self.jobs else ""
            self._complain(f"{error}{kept}")
            return
        self._complaint = ""
        self._take(schedule, now)

    def due(self, now: datetime) -> list[Run]:
        """Plan what is due, store it, and return the runs of ``replace`` jobs that have to make room."""
        replaced: list[Run] = []
        for job in self.jobs.values():
            planned = self._next.get(job.name)
            if planned is not None and planned <= now:
                replaced += self._plan(job, planned, now)
                self._next[job.name] = job.cron.after(now)
        self._plan_retries(now)
        return replaced

    def wait(self, now: datetime) -> float:
        """Seconds until something may be due."""
        moments = [moment.timestamp() for moment in self._next.values() if moment is not None]
        moments += [moment for moment, _ in self._retries]
        return max(0.0, min(moments, default=now.timestamp() + 1.0) - now.timestamp())

    def ended(self, run: Run, status: str, now: float) -> None:
        """A run is over: plan its retry if it has one left."""
        job = self.jobs.get(run.job)
        if job is not None and status in RETRIED and run.retry < job.max_retry:
            self._retries.append((now + job.retry_delay, run))
        self._store.trim(self._keep)

    def ready(self) -> list[Run]:
        """Pending runs that may start now: a queued one waits until the former run of its job is over."""
        live = self._store.live()
        first: dict[str, Run] = {}
        for run in sorted(live, key=lambda it: (it.status != "running", it.planned)):
            first.setdefault(run.job, run)
        return [run for run in live if run.status == "pending" and (first[run.job] is run or not self._queues(run.job))]

    def _queues(self, job: str) -> bool:
        return job in self.jobs and self.jobs[job].overlap == "queue"

    def _take(self, schedule: Schedule, now: datetime) -> None:
        for problem in schedule.problems:
            log.error("%s", problem)
        for name, job in schedule.jobs.items():
            known = self.jobs.get(name)
            if known is not None and known.text == job.text:
                continue
            self._next[name] = self._first(job, now)
        for name in set(self._next) - set(schedule.jobs):
            del self._next[name]
        self.jobs = schedule.jobs
        log.info("%d jobs are scheduled from %s", len(self.jobs), self._path)

    def _first(self, job: Job, now: datetime) -> datetime | None:
        """Where a job goes on: behind the last moment that was decided on, so nothing runs twice after a restart."""
        seen = self._store.seen(job.name)
        if seen is None:
            self._store.see(job.name, now.timestamp())
            return job.cron.after(now)
        return job.cron.after(datetime.fromtimestamp(seen, now.tzinfo))

    def _plan(self, job: Job, planned: datetime, now: datetime) -> list[Run]:
        moments = []
        for moment in job.cron.between(planned, now):
            moments.append(moment)
            if len(moments) > 10_000:
                break
        last = moments[-1] if moments else planned
        missed = (now - last).total_seconds() > LATE
        if missed or moments:
            log.warning("%s: %d runs were missed", job.name, len(moments) + missed, extra={"task_name": job.name})
        replaced = [] if missed and job.catch_up == "skip" else self._add(job, last, now)
        # Behind the run itself: a crash in between plans the same name again, which changes nothing.
        self._store.see(job.name, max(last, planned).timestamp())
        return replaced

    def _add(self, job: Job, planned: datetime, now: datetime) -> list[Run]:
        name = f"{job.name}-{planned:%Y%m%d-%H%M%S}"
        before = [run for run in self._store.live() if run.job == job.name]
        waiting = [run for run in before if run.status == "pending"]
        if before and (job.overlap == "skip" or (job.overlap == "queue" and waiting)):
            log.warning("%s is skipped: the former run is not over", name, extra={"task_name": name})
            self._store.add(_run(job, name, planned.timestamp(), "skipped", ended=now.timestamp()))
            return []
        self._store.add(_run(job, name, planned.timestamp(), "pending"))
        return before if job.overlap == "replace" else []

    def _plan_retries(self, now: datetime) -> None:
        due = [run for moment, run in self._retries if moment <= now.timestamp()]
        self._retries = [(moment, run) for moment, run in self._retries if moment > now.timestamp()]
        for run in due:
            job = self.jobs.get(run.job)
            if job is not None:
                base = run.name.split("-retry-")[0]
                name = f"{base}-retry-{run.retry + 1}"
                self._store.add(_run(job, name, now.timestamp(), "pending", retry=run.retry + 1))

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            self._complaint = text
            log.error("%s", text)


def _run(job: Job, name: str, planned: float, status: str, retry: int = 0, ended: float | None = None) -> Run:
    return Run(str(uuid.uuid4()), job.name, name, planned, status, "", retry, "", ended)
