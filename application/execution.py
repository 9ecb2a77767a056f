"""Run one admitted task through the runner of its category."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from application.ports import Runtime
from application.runs import Run
from domain.errors import InvalidTask, MissingExtra, UnknownCategory
from domain.result import EndReason, Result
from domain.runner import (
    ApprovalDesk,
    CancelRequest,
    CancelToken,
    CredentialSource,
    ExecutionContext,
    Runner,
    RunnerRegistry,
    Urgency,
)
from domain.task import Task

log = logging.getLogger("worker.task")


# sys.exit in a runner would end its task's thread without a word.
DEFECTS = (Exception, SystemExit)
KILLED = 128 + 9  # the exit code of what SIGKILL ended


class Contexts:
    """Makes the ExecutionContext of a task: its directories, environment, log and sources of credentials."""

    def __init__(
        self,
        root: Path,
        credentials: CredentialSource,
        approvals: ApprovalDesk | None,
        redact: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._root = root
        self._redact = redact
        self._credentials = credentials
        self._approvals = approvals

    def make(self, task: Task, write: Callable[[bytes], None]) -> ExecutionContext:
        wanted = task.metadata.working_dir.strip()
        return ExecutionContext(
            task_id=task.id,
            working_dir=Path(wanted) if wanted else None,
            default_dir=(self._root / "tasks" / (task.cronjob or task.id)).absolute(),
            environment=task.metadata.environment,
            log=write,
            redact=self._redact,
            credentials=self._credentials,
            approvals=self._approvals,
            workflow_exec_id=task.workflow_exec_id,
        )


class Execution:
    """From a task to its Result; whatever a runner does, exactly one Result comes out (T1, T2)."""

    def __init__(
        self, runtime: Runtime, registry: RunnerRegistry, contexts: Contexts, default_timeout: float = 0.0
    ) -> None:
        """``default_timeout`` in seconds is for tasks that name none; 0 leaves it to the runner."""
        self._runtime = runtime
        self._default_timeout = default_timeout
        self._registry = registry
        self._contexts = contexts

    def run(self, run: Run, write: Callable[[bytes], None], owns: Callable[[str], bool] = lambda _: True) -> Result:
        """Block for the whole run. ``owns`` tells whether the task, by its id, is still this worker's."""
        started, clock = self._runtime.wall(), self._runtime.now()
        result = self._run(run, write)
        duration = int((self._runtime.now() - clock) * 1000)
        told = true_cause(result, run.token, lambda: owns(run.task.id))
        reason, error = told or (result.end_reason, result.error)
        return replace(
            result,
            status=reason.status if told else result.status,
            end_reason=reason,
            error=error,
            start=started,
            end=self._runtime.wall(),
            duration=duration,
        )

    def _run(self, run: Run, write: Callable[[bytes], None]) -> Result:
        task = run.task
        try:
            runner = self._prepare(task)
        except (InvalidTask, UnknownCategory) as error:
            return ended(EndReason.INVALID_TASK, str(error))
        except MissingExtra as error:
            return ended(EndReason.INTERNAL, str(error))
        except DEFECTS as error:
            log.exception("the runner for %s failed before the start", task.category, extra=run.label)
            return ended(EndReason.INTERNAL, f"{type(error).__name__}: {error}")
        run.live_output = bool(getattr(runner, "live_output", False))
        relay = _relay(runner, run)
        run.token.subscribe(relay)
        try:
            result = self._checked(runner.execute(self._contexts.make(task, write)))
        except DEFECTS as error:
            log.exception("the runner for %s failed", task.category, extra=run.label)
            result = ended(EndReason.INTERNAL, f"{type(error).__name__}: {error}")
        finally:
            run.token.unsubscribe(relay)
            _cleanup(runner, run)
        return result

    @staticmethod
    def _checked(result: object) -> Result:
        if not isinstance(result, Result):
            raise TypeError(f"execute returned {type(result).__name__} and not a Result")
        return result

    def _prepare(self, task: Task) -> Runner:
        if task.metadata.problem:
            raise InvalidTask(task.metadata.problem)
        runner = self._registry.create(task.category)
        runner.parse_args(task.command, task.args)
        runner.set_timeout(float(task.timeout) if task.timeout > 0 else self._default_timeout or None)
        return runner


def ended(reason: EndReason, error: str) -> Result:
    """The Result of a task that never ran."""
    return Result(reason.status, reason, error=error, exit_code=-1)


def true_cause(result: Result, token: CancelToken, owned: Callable[[], bool]) -> tuple[EndReason, str] | None:
    """Why the run ended, and in words, where its runner only knows that it was asked to stop (G29).

    What is killed though nobody here asked, after its claim has ended, was killed by the guardian.
    """
    first = token.first
    if first is not None and result.end_reason in (EndReason.STOPPED, EndReason.KILLED):
        return first.reason, first.note or result.error
    if result.end_reason is EndReason.SIGNAL and result.exit_code == KILLED and not owned():
        return EndReason.LEASE_LOST, "the task's lock was lost"
    return None


def _relay(runner: Runner, run: Run) -> Callable[[CancelRequest], None]:
    def relay(request: CancelRequest) -> None:
        try:
            runner.kill() if request.urgency is Urgency.NOW else runner.stop()
        except DEFECTS:
            # A failing stop says nothing about the task: it goes on and its end is reported (T4).
            log.exception("the runner could not be stopped", extra=run.label)

    return relay


def _cleanup(runner: Runner, run: Run) -> None:
    try:
        runner.cleanup()
    except DEFECTS:
        log.exception("the runner's clean-up failed", extra=run.label)
