"""Decides what is due: plans runs, keeps to the overlap and catch-up rules, plans retries."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from adapters.local.runs import free_name, label, new_run, run_name, startable
from adapters.local.schedule import EXAMPLE, Job, Schedule, read
from adapters.local.setback import LATE, bring_back, stands
from adapters.local.store import Run, Store
from application.ports import Identity
from domain.errors import ConfigError

log = logging.getLogger("worker.schedule")

RETRIED = ("failed", "error")
MAKE_UP = {"once": "one run makes up for them (catch_up: once)", "skip": "they are skipped (catch_up: skip)"}


class Planner:
    """Not thread-safe: its owner calls it from one thread. Moments are aware datetimes."""

    def __init__(self, path: Path, store: Store, keep: int) -> None:
        self._path = path
        self._store = store
        self._keep = keep
        self._state: tuple[int, ...] | None = None
        self._complaint = ""
        self._next: dict[str, datetime | None] = {}
        self._identity: Identity | None = None
        self._loaded = False
        self._clock: datetime | None = None
        self.jobs: Mapping[str, Job] = {}

    def serve(self, identity: Identity) -> None:
        """Plan only what this worker takes: another run would wait for ever."""
        if identity != self._identity:
            self._identity = identity
            self._state = None

    def reload(self, now: datetime) -> None:
        """Read the file again if it changed. A file that cannot be read leaves the former schedule in force."""
        self._look_at_clock(now)
        try:
            found = self._path.stat()
            state: tuple[int, ...] = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError as error:
            hint = (
                "" if self.jobs else f'; write {{"jobs": [{EXAMPLE}]}} there, or set API_SERVER_URL and API_AUTH_TOKEN'
            )
            self._complain(f"{self._path}: cannot be read: {error.strerror}; looked for again every second{hint}")
            return
        if state == self._state:
            return
        try:
            schedule = read(self._path, self._identity, now)
        except ConfigError as error:
            self._state = state
            kept = f"; the former {len(self.jobs)} jobs stay in force" if self.jobs else ""
            self._complain(f"{error}{kept}")
            return
        self._complaint = ""
        with self._store.together():
            self._take(schedule, now)
        self._state = state

    def due(self, now: datetime) -> list[Run]:
        """Plan what is due, store it, and return the runs of ``replace`` jobs that have to make room."""
        ready = [(job, at) for job in self.jobs.values() if (at := self._next.get(job.name)) is not None and at <= now]
        if not ready:
            return []
        replaced: list[Run] = []
        with self._store.together():
            for job, planned in ready:
                replaced += self._plan(job, planned, now)
        # Only now: what could not be stored is planned again.
        self._next |= {job.name: job.cron.after(now) for job, _ in ready}
        return replaced

    def wait(self, now: datetime) -> float:
        """Seconds until something may be due."""
        moments = [moment.timestamp() for moment in self._next.values() if moment is not None]
        if (retry := self._store.next_pending(now.timestamp())) is not None:
            moments.append(retry)
        return max(0.0, min(moments, default=now.timestamp() + 1.0) - now.timestamp())

    def ended(self, run: Run, status: str, now: float) -> None:
        """A run is over: plan its retry if it has one left."""
        job = self.jobs.get(run.job)
        if job is not None and status in RETRIED and run.retry < job.max_retry:
            # On disk at once, so that a restart does not forget it.
            name = f"{run.name.removesuffix(f'-retry-{run.retry}')}-retry-{run.retry + 1}"
            self._store.add(new_run(job, name, now + job.retry_delay, "pending", retry=run.retry + 1))
        self._store.trim(self._keep)

    def ready(self, now: datetime) -> list[Run]:
        """Pending runs that may start now: of one job one at a time, and a retry not before its pause is over."""
        live = startable(self._store.live(), now)
        first: dict[str, Run] = {}
        for run in sorted(live, key=lambda it: (it.status != "running", it.planned)):
            first.setdefault(run.job, run)
        return [run for run in live if run.status == "pending" and first[run.job] is run]

    def _look_at_clock(self, now: datetime) -> None:
        """A clock that was set back would leave all jobs waiting until it shows again what it has shown."""
        before = self._clock or now
        if (before - now).total_seconds() > LATE:
            log.warning("the clock was set back by %.0f s, from %s to %s", (before - now).total_seconds(), before, now)
            with self._store.together():
                found = self._firsts(self.jobs.values(), now)
                bring_back(self._store, self.jobs, now)
            self._next |= found
        self._clock = now

    def _take(self, schedule: Schedule, now: datetime) -> None:
        for problem in schedule.problems:
            log.error("%s", problem)
        self._next |= self._firsts([job for name, job in schedule.jobs.items() if name not in self.jobs], now)
        for name, job in schedule.jobs.items():
            known = self.jobs.get(name)
            if known is not None and known.when != job.when:  # its new moments count from now on: it missed none
                self._store.see(name, now.timestamp())
                self._next[name] = job.cron.after(now)
        for name in set(self._next) - set(schedule.jobs):
            del self._next[name]
        self.jobs = schedule.jobs
        self._drop_stale(now)
        log.info("%d jobs are scheduled from %s", len(self.jobs), self._path)

    def _drop_stale(self, now: datetime) -> None:
        """End runs that wait for nothing: those of jobs that are gone, and those that a previous run left too long."""
        for run in self._store.live():
            job = self.jobs.get(run.job)
            late = not self._loaded and not run.retry and now.timestamp() - run.planned > LATE
            if run.status == "pending" and (job is None or (late and job.catch_up == "skip")):
                why = "its job is not in the schedule any more" if job is None else "it was missed"
                log.warning("skipped: %s", why, extra=label(run))
                self._store.end(run.id, "skipped", "", why, now.timestamp())
        if not self._loaded:
            bring_back(self._store, self.jobs, now)
        self._loaded = True

    def _firsts(self, jobs: Iterable[Job], now: datetime) -> dict[str, datetime | None]:
        """Where jobs go on: behind the last moment that was decided on, so nothing runs twice after a restart."""
        firsts, ahead = {}, {}
        for job in jobs:
            known = self._store.seen(job.name)
            seen = now if known is None else datetime.fromtimestamp(known, job.cron.zone)
            if known is not None and not stands(job, seen, now, self._store.known(run_name(job, seen))):
                ahead[job.name] = seen
                known, seen = None, now
            if known is None:
                self._store.see(job.name, now.timestamp())
            firsts[job.name] = job.cron.after(seen)
        if ahead:
            text = "%d jobs go on from the present: the clock was ahead, and they were decided on until %s (%s)"
            log.warning(text, len(ahead), max(ahead.values()), ", ".join([*ahead][:5]))
        return firsts

    def _plan(self, job: Job, planned: datetime, now: datetime) -> list[Run]:
        moments = []
        for moment in job.cron.between(planned, now):
            moments.append(moment)
            if len(moments) > 10_000:
                break
        last = moments[-1] if moments else planned
        missed = (now - last).total_seconds() > LATE
        if missed or moments:
            then = "the latest is run" if not missed else MAKE_UP[job.catch_up]
            log.warning("%d runs were missed; %s", len(moments) + missed, then, extra={"task_name": job.name})
        replaced = [] if missed and job.catch_up == "skip" else self._add(job, last, now)
        self._store.see(job.name, last.timestamp())
        return replaced

    def _add(self, job: Job, planned: datetime, now: datetime) -> list[Run]:
        name = free_name(job, planned, self._store)
        before = startable(self._store.live(job.name), now)
        waiting = [run for run in before if run.status == "pending"]
        if before and (job.overlap == "skip" or (job.overlap == "queue" and waiting)):
            what = "still waits to be started" if waiting else "is not over"
            log.warning("skipped: the former run %s (overlap: %s)", what, job.overlap, extra={"task_name": name})
            self._store.add(new_run(job, name, planned.timestamp(), "skipped", ended=now.timestamp()))
            return []
        self._store.add(new_run(job, name, planned.timestamp(), "pending"))
        if job.overlap != "replace":
            return []
        for run in waiting:
            self._store.end(run.id, "skipped", "", f"replaced by {name}", now.timestamp())
        return [run for run in before if run.status == "running"]

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            self._complaint = text
            log.error("%s", text)
