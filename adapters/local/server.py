"""The embedded schedule as the worker's server: stream, outcomes and read-back without a network."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Sequence

from adapters.local.errors import as_lost, as_unavailable
from adapters.local.logs import LocalLogs
from adapters.local.planner import Planner
from adapters.local.store import Run, Store
from application.ports import Identity, Offer, Receipt, Report, Runtime, Stop
from domain.errors import ConnectionLost, NotFound
from domain.status import Status
from domain.task import Action, Task

OFFER_AGAIN = 3.0  # seconds until a run that nobody started is offered again
LOOK = 1.0  # seconds between two looks at the schedule file


class LocalServer:
    """Plans runs from a schedule file and stores how they end; ``logs`` keeps what they print."""

    def __init__(self, runtime: Runtime, planner: Planner, store: Store, logs: LocalLogs) -> None:
        self._runtime = runtime
        self._planner = planner
        self._store = store
        self.logs = logs
        self._guard = threading.RLock()
        self._offered: dict[str, float] = {}
        self._stops: deque[Stop] = deque()
        self._wake = runtime.event()
        self._worker = ""
        self._open = False

    # -- stream --------------------------------------------------------------------------------------------------------

    def connect(self, identity: Identity) -> None:
        self._worker = identity.id
        with self._guard:
            self._planner.serve(identity)
        self._offered.clear()
        self._wake.clear()
        self._open = True

    def receive(self, room: int, timeout: float) -> Sequence[Offer | Stop]:
        events = self._collect()
        if not events:
            with self._guard:
                pause = min(timeout, LOOK, max(0.01, self._planner.wait(self._runtime.wall())))
            self._wake.wait(pause)
            self._wake.clear()
            events = self._collect()
        return events

    def decline(self, offer: Offer, why: str, after: float) -> None:
        with self._guard:
            self._offered[offer.task.id] = self._runtime.now() + after

    def announce(self, identity: Identity) -> None:
        with self._guard:
            self._planner.serve(identity)
        self._wake.set()

    def ping(self) -> None:
        """Nothing to ask: there is no peer."""

    def silence(self) -> float:
        return 0.0

    def close(self) -> None:
        self._open = False
        self._wake.set()

    def stop(self, task_id: str, force: bool = False) -> None:
        """Stop a run, as a server's user would."""
        action = Action.KILL if force else Action.STOP
        with self._guard:
            self._stops.append(Stop(task_id, action))
        self._wake.set()

    # -- outcomes: what is stored is confirmed -------------------------------------------------------------------------

    def running(self, task_id: str, token: str) -> Receipt:
        with self._told(task_id) as run:
            if run is None or run.ended is not None:
                return Receipt.SUPERSEDED
            self._store.begin(run.id, self._worker, self._runtime.wall().timestamp())
            return Receipt.CONFIRMED

    def publish(self, report: Report, token: str) -> Receipt:
        assert report.status is not None
        now = self._runtime.wall().timestamp()
        with self._told(report.task_id) as run:
            if run is None:
                return Receipt.SUPERSEDED
            with self._store.together():  # its end and its retry: a crash in between would lose the retry
                first = self._store.end(run.id, report.status.value, report.output or "", report.error, now)
                if first:
                    self._planner.ended(run, report.status.value, now)
            self.logs.end(run)
            same = first or run.status == report.status.value
            return Receipt.CONFIRMED if same else Receipt.SUPERSEDED

    def progress(self, report: Report, token: str) -> Receipt:
        """Nothing goes on here without the worker: the schedule has no use for it."""
        return Receipt.CONFIRMED

    def hand_back(self, report: Report, token: str) -> Receipt:
        with self._told(report.task_id) as run:
            if run is not None:
                self._store.hand_back(run.id)
                self._offered.pop(run.id, None)
            return Receipt.CONFIRMED

    @contextlib.contextmanager
    def _told(self, task_id: str) -> Iterator[Run | None]:
        """The run that something is told of. Raises ConnectionLost."""
        if not self._open:
            raise ConnectionLost("the local schedule is closed")
        with self._guard, as_lost():
            yield self._store.get(task_id)
        self._wake.set()

    def _collect(self) -> list[Offer | Stop]:
        if not self._open:
            raise ConnectionLost("the local schedule is closed")
        now = self._runtime.wall()
        with self._guard, as_lost():
            self._planner.reload(now)
            replaced = self._planner.due(now)
            events: list[Offer | Stop] = [*self._stops, *(Stop(run.id, Action.STOP) for run in replaced)]
            self._stops.clear()
            clock = self._runtime.now()
            ready = [run for run in self._planner.ready(now) if self._offered.get(run.id, 0.0) <= clock]
            for run in ready:
                self._offered[run.id] = clock + OFFER_AGAIN
            if len(self._offered) > 10_000:
                self._offered = {run.id: clock + OFFER_AGAIN for run in ready}
            return [*events, *(Offer(self._task(run)) for run in ready)]

    def _task(self, run: Run) -> Task:
        job = self._planner.jobs.get(run.job)
        common = {"status": Status(run.status), "ended": run.ended is not None, "output": run.output}
        if job is None:  # taken from the schedule meanwhile
            return Task(run.id, "", name=run.name, worker_id=run.worker_id, **common)  # type: ignore[arg-type]
        return Task(
            id=run.id,
            category=job.category,
            command=job.command,
            args=job.args,
            name=run.name,
            timeout=job.timeout,
            save_log=job.save_log,
            cronjob=str(uuid.uuid5(uuid.NAMESPACE_OID, job.name)),
            metadata=job.metadata,
            worker_id=run.worker_id,
            **common,  # type: ignore[arg-type]
        )

    # -- read-back -----------------------------------------------------------------------------------------------------

    def fetch(self, task_id: str) -> Task:
        with self._guard, as_unavailable():
            run = self._store.get(task_id)
            if run is None:
                raise NotFound(f"there is no run {task_id}")
            return self._task(run)

    def of_worker(self, worker_id: str, status: Status | None, limit: int) -> Sequence[Task]:
        with self._guard, as_unavailable():
            runs = self._store.live() if status is Status.RUNNING else self._store.recent(limit)
            found = [run for run in runs if run.worker_id == worker_id and status in (None, Status(run.status))]
            return [self._task(run) for run in found[:limit]]
