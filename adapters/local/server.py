"""The embedded schedule as the worker's server: Transport and Coordination without a network."""

from __future__ import annotations

import secrets
import threading
import uuid
from collections import deque
from collections.abc import Sequence

from adapters.local.echo import Echo
from adapters.local.planner import Planner
from adapters.local.store import Run, Store
from application.ports import Category, Identity, Report, Runtime
from domain.errors import ConnectionLost, JournalError, NotFound, Refused, Unavailable
from domain.runner import Approval, Credential, CredentialSource
from domain.status import Status
from domain.task import Action, Task, TaskEvent

OFFER_AGAIN = 3.0  # seconds until a run that nobody started is offered again
LOOK = 1.0  # seconds between two looks at the schedule file


class LocalServer:
    """Plans runs from a schedule file and stores how they end. Locks are in memory: the state directory has one
    worker only."""

    keeps_running = True  # what runs is on disk, and only its worker changes that

    def __init__(self, runtime: Runtime, planner: Planner, store: Store, credentials: CredentialSource) -> None:
        self._runtime = runtime
        self._planner = planner
        self._store = store
        self._credentials = credentials
        self._guard = threading.RLock()
        self._locks: dict[str, tuple[str, float]] = {}
        self._echo = Echo()
        self._offered: dict[str, float] = {}
        self._stops: deque[TaskEvent] = deque()
        self._wake = runtime.event()
        self._worker = ""
        self._open = False

    # -- Transport -----------------------------------------------------------------------------------------------------

    def connect(self, identity: Identity) -> None:
        self._worker = identity.id
        with self._guard:
            self._planner.serve(identity)
        self._offered.clear()
        self._wake.clear()
        self._open = True

    def receive(self, timeout: float) -> Sequence[TaskEvent]:
        events = self._collect()
        if not events:
            with self._guard:
                pause = min(timeout, LOOK, max(0.01, self._planner.wait(self._runtime.wall())))
            self._wake.wait(pause)
            self._wake.clear()
            events = self._collect()
        return events

    def send(self, report: Report) -> None:
        if not self._open:
            raise ConnectionLost("the local schedule is closed")
        now = self._runtime.wall().timestamp()
        with self._guard, _as_lost():
            run = self._store.get(report.task_id)
            if run is None:
                return
            if report.status is Status.RUNNING:
                self._store.begin(run.id, self._worker, now)
            elif report.status is Status.PENDING:
                self._store.hand_back(run.id)
                self._offered.pop(run.id, None)
            elif report.status is not None:
                self._end(run, report.status, report, now)
        self._wake.set()

    def _end(self, run: Run, status: Status, report: Report, now: float) -> None:
        with self._store.together():  # its end and its retry: a crash in between would lose the retry
            if self._store.end(run.id, status.value, report.output or "", report.error, now):
                self._planner.ended(run, status.value, now)
        self._echo.end(run)

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
            self._stops.append(TaskEvent(action, (Task(task_id, ""),)))
        self._wake.set()

    def _collect(self) -> list[TaskEvent]:
        if not self._open:
            raise ConnectionLost("the local schedule is closed")
        now = self._runtime.wall()
        with self._guard, _as_lost():
            self._planner.reload(now)
            replaced = self._planner.due(now)
            events = [*self._stops]
            self._stops.clear()
            if replaced:
                events.append(TaskEvent(Action.STOP, tuple(self._task(run) for run in replaced)))
            clock = self._runtime.now()
            ready = [run for run in self._planner.ready(now) if self._offered.get(run.id, 0.0) <= clock]
            for run in ready:
                self._offered[run.id] = clock + OFFER_AGAIN
            if len(self._offered) > 10_000:
                self._offered = {run.id: clock + OFFER_AGAIN for run in ready}
            if ready:
                events.append(TaskEvent(Action.RUN, tuple(self._task(run) for run in ready)))
            return events

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

    # -- Coordination --------------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """No call ever waits for somebody else."""

    def acquire(self, key: str, ttl: float, timeout: float) -> str | None:
        with self._guard:
            if self._holder(key):
                return None
            value = secrets.token_hex(16)
            self._locks[key] = (value, self._runtime.now() + ttl)
            return value

    def refresh(self, key: str, value: str, ttl: float, timeout: float) -> bool:
        with self._guard:
            if self._holder(key) != value:
                return False
            self._locks[key] = (value, self._runtime.now() + ttl)
            return True

    def release(self, key: str, value: str, timeout: float) -> bool:
        with self._guard:
            if self._holder(key) != value:
                return False
            del self._locks[key]
            return True

    def _holder(self, key: str) -> str:
        value, until = self._locks.get(key, ("", 0.0))
        return value if until > self._runtime.now() else ""

    def fetch(self, task_id: str) -> Task:
        with self._guard, _as_unavailable():
            run = self._store.get(task_id)
            if run is None:
                raise NotFound(f"there is no run {task_id}")
            return self._task(run)

    def of_worker(self, worker_id: str, status: Status | None, limit: int) -> Sequence[Task]:
        with self._guard, _as_unavailable():
            runs = self._store.live() if status is Status.RUNNING else self._store.recent(limit)
            found = [run for run in runs if run.worker_id == worker_id and status in (None, Status(run.status))]
            return [self._task(run) for run in found[:limit]]

    def append(self, task_id: str, text: str) -> int:
        """Keep it, and show it: without a server the worker's own log is where people look."""
        with _as_unavailable():
            size = self._store.append_log(task_id, text)
        with self._guard, _as_unavailable():
            if (run := self._store.get(task_id)) is not None:
                self._echo.show(run, text)
        return size

    def read(self, task_id: str) -> bytes | None:
        with _as_unavailable():
            return self._store.log(task_id).encode() or None

    def replace(self, task_id: str, text: str) -> None:
        with _as_unavailable():
            self._store.replace_log(task_id, text)

    def category(self, code: str) -> Category:
        return Category(code)

    def credential(self, credential_id: str) -> Credential:
        return self._credentials.credential(credential_id)

    def create_approval(self, task_id: str, approval: Approval) -> str:
        raise Refused("an approval needs an API server; the local schedule has nobody to ask")

    def cancel_approval(self, approval_id: str) -> None:
        """There are none."""

    def pending_approvals(self, task_id: str) -> Sequence[str]:
        return []


class _Translate:
    """The store's errors as the port's."""

    def __init__(self, to: type[Exception]) -> None:
        self._to = to

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, JournalError):
            raise self._to(str(error)) from error


def _as_lost() -> _Translate:
    return _Translate(ConnectionLost)


def _as_unavailable() -> _Translate:
    return _Translate(Unavailable)
