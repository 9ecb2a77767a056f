"""The base of runners: status moves, the deadline, the remembered stop, and the result.

A runner of your own writes ``parse_args`` and ``run``; see docs/writing-a-runner.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from adapters.runners.cancellable_credentials import CancellableSource
from domain.errors import InvalidTask, MissingExtra, WorkerError
from domain.result import EndReason, Result
from domain.runner import CancelRequest, CancelToken, ExecutionContext, Urgency
from domain.status import Status

LONGEST = 1e9  # seconds; what is above that is no limit to anybody, and too much for the system's calls
LONGEST_WAIT = 2_000_000.0  # seconds; a socket that is told more than its milliseconds can count gives up at once


class BaseRunner:
    """Does what every runner must do the same way.

    ``run(context)`` does the work and returns a Result made by ``self.end(...)``. While it works it either waits on
    something that ``self.cancel`` wakes (subscribe to it), or looks at ``self.cancel.requested`` often. It may raise
    WorkerError: that ends the run as ``failed`` with the text; any other exception ends it as ``error``.
    """

    default_timeout: float | None = 24 * 3600.0
    live_output = False  # True where the live log shows all of the output anyway

    def __init__(self) -> None:
        self.cancel = CancelToken()
        self._status = Status.PENDING
        self._result: Result | None = None
        self._timeout = self.default_timeout
        self._guard = threading.Lock()
        self._woken = threading.Event()

    # -- what a runner writes ----------------------------------------------------------------------------------------

    def parse_args(self, command: str, args: str) -> None:
        raise NotImplementedError

    def run(self, context: ExecutionContext) -> Result:
        raise NotImplementedError

    def cleanup(self) -> None:
        """Nothing to free unless a runner says otherwise."""

    # -- what is the same for all ------------------------------------------------------------------------------------

    def set_timeout(self, seconds: float | None) -> None:
        self._timeout = min(seconds, LONGEST) if seconds and seconds > 0 else self.default_timeout

    @property
    def timeout(self) -> float | None:
        """The limit of this run in seconds, None for no limit."""
        return self._timeout

    @property
    def status(self) -> Status:
        return self._status

    @property
    def result(self) -> Result | None:
        return self._result

    def stop(self) -> None:
        self.cancel.cancel(CancelRequest(EndReason.STOPPED, Urgency.POLITE))

    def kill(self) -> None:
        self.cancel.cancel(CancelRequest(EndReason.KILLED, Urgency.NOW))

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than until the run is cancelled; returns whether it is."""
        self.cancel.subscribe(self._wake)
        try:
            return self._woken.wait(seconds)
        finally:
            self.cancel.unsubscribe(self._wake)

    def _wake(self, _: CancelRequest) -> None:
        self._woken.set()

    def execute(self, context: ExecutionContext | None = None) -> Result:
        with self._guard:
            self._status = self._status.become(Status.RUNNING)  # a second execute raises InvalidTransition
        context = context or ExecutionContext()
        if context.credentials is not None:
            context = replace(context, credentials=CancellableSource(context.credentials, self.cancel))
        started, clock = datetime.now().astimezone(), time.monotonic()
        disarm = self._arm_deadline()
        try:
            result = self.cancelled() if self.cancel.requested else self._guarded_run(context)
        finally:
            disarm()
        result = replace(
            result,
            start=result.start or started,
            end=datetime.now().astimezone(),
            duration=result.duration or int((time.monotonic() - clock) * 1000),
        )
        self._result = result
        self._status = result.status
        return result

    def end(
        self, reason: EndReason, *, output: str = "", log: str = "", error: str = "", exit_code: int | None = None
    ) -> Result:
        """Make the Result of this run; the exit code defaults to 0 for success and 1 otherwise."""
        code = exit_code if exit_code is not None else (0 if reason is EndReason.COMPLETED else 1)
        return Result(reason.status, reason, output=output, execute_log=log, error=error, exit_code=code)

    def cancelled(self, output: str = "", log: str = "") -> Result:
        """The Result of a run that ended because it was asked to."""
        first = self.cancel.first
        reason = first.reason if first else EndReason.STOPPED
        text = {EndReason.TIMEOUT: f"timed out after {self._timeout:g} s" if self._timeout else "timed out"}.get(
            reason, f"{reason.value.replace('_', ' ')} on request"
        )
        return self.end(
            reason, output=output, log=log, error=(first.note if first and first.note else text), exit_code=-1
        )

    def _guarded_run(self, context: ExecutionContext) -> Result:
        try:
            result: object = self.run(context)
            if isinstance(result, Result):
                return result
            raise TypeError(f"run returned {type(result).__name__}: it must return what self.end(...) makes")
        except InvalidTask as error:
            return self.end(EndReason.INVALID_TASK, error=str(error))
        except MissingExtra as error:
            return self.end(EndReason.INTERNAL, error=str(error))
        except WorkerError as error:
            return self.cancelled() if self.cancel.requested else self.end(EndReason.FAILED, error=str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a defect of one runner must not end the worker
            if self.cancel.requested:
                return self.cancelled()
            return self.end(EndReason.INTERNAL, error=f"{type(error).__name__}: {error}")

    def _arm_deadline(self) -> Callable[[], None]:
        """Make the time-out a cancel request. Runners that hand the limit to the process supervisor override this."""
        if self._timeout is None:
            return lambda: None
        request = CancelRequest(EndReason.TIMEOUT, Urgency.POLITE)
        timer = threading.Timer(self._timeout, self.cancel.cancel, (request,))
        timer.daemon = True
        timer.name = "task-deadline"
        timer.start()
        return timer.cancel
