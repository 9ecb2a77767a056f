"""What every runner does the same way: status, deadline, remembered stop, result."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from adapters.runners.base import LONGEST, BaseRunner
from domain.errors import InvalidTask, InvalidTransition, MissingExtra, WorkerError
from domain.result import EndReason, Result
from domain.runner import CancelRequest, Credential, ExecutionContext
from domain.status import Status


class Made(BaseRunner):
    """Does what the test says."""

    def __init__(self, work: Callable[[Made, ExecutionContext], object]) -> None:
        super().__init__()
        self._work = work

    def parse_args(self, command: str, args: str) -> None: ...

    def run(self, context: ExecutionContext) -> Result:
        return cast(Result, self._work(self, context))


def raising(error: BaseException) -> Made:
    def work(*_: object) -> object:
        raise error

    return Made(work)


def completed(runner: Made, _: object) -> Result:
    return runner.end(EndReason.COMPLETED, output="done")


def test_a_run_moves_from_pending_to_its_end_and_holds_its_result() -> None:
    runner = Made(lambda it, _: it.end(EndReason.COMPLETED, output=it.status))
    assert (runner.status, runner.result) == (Status.PENDING, None)
    result = runner.execute()
    assert (result.output, runner.status, runner.result) == ("running", Status.SUCCESS, result)
    assert result.start is not None
    assert result.end is not None
    assert result.start <= result.end
    with pytest.raises(InvalidTransition):
        runner.execute()


@pytest.mark.parametrize(
    ("error", "reason", "text"),
    [
        (InvalidTask("wrong key"), EndReason.INVALID_TASK, "wrong key"),
        (WorkerError("no luck"), EndReason.FAILED, "no luck"),
        (MissingExtra("it", "sql"), EndReason.INTERNAL, "pip install '.[sql]'"),
        (KeyError("x"), EndReason.INTERNAL, "KeyError: 'x'"),
        (SystemExit(3), EndReason.INTERNAL, "SystemExit: 3"),
    ],
    ids=lambda it: type(it).__name__,
)
def test_what_a_runner_raises_is_the_end_of_its_run(error: BaseException, reason: EndReason, text: str) -> None:
    result = raising(error).execute()
    assert (result.end_reason, result.exit_code) == (reason, 1)
    assert text in result.error


def test_a_duration_that_the_runner_measured_itself_stays() -> None:
    result = Made(lambda it, _: replace(it.end(EndReason.COMPLETED), duration=7)).execute()
    assert result.duration == 7


def test_what_is_no_result_is_told() -> None:
    result = Made(lambda *_: "done").execute()
    assert (result.end_reason, "run returned str" in result.error) == (EndReason.INTERNAL, True)


def test_a_stop_before_the_start_is_remembered_and_nothing_runs() -> None:
    runner = raising(AssertionError("it ran"))
    runner.stop()
    runner.kill()
    result = runner.execute()
    assert (result.end_reason, result.exit_code, result.error) == (EndReason.STOPPED, -1, "stopped on request")


@pytest.mark.parametrize("error", [WorkerError("cut"), OSError("cut")])
def test_an_error_of_a_run_that_was_cancelled_is_its_cancel(error: Exception) -> None:
    def work(runner: Made, _: object) -> object:
        runner.kill()
        raise error

    assert Made(work).execute().end_reason is EndReason.KILLED


def test_the_deadline_is_a_cancel_that_wakes_who_waits() -> None:
    def work(runner: Made, _: object) -> object:
        assert runner.wait(60)
        return runner.cancelled()

    runner = Made(work)
    runner.set_timeout(0.01)
    result = runner.execute()
    assert (result.status, result.error) == (Status.TIMEOUT, "timed out after 0.01 s")


def test_a_deadline_does_not_outlive_its_run() -> None:
    runner = Made(completed)
    runner.set_timeout(600)
    assert runner.execute().status is Status.SUCCESS
    left = [one for one in threading.enumerate() if one.name == "task-deadline"]
    for one in left:
        one.join(5)
    assert not [one for one in left if one.is_alive()]


@pytest.mark.parametrize(
    ("asked", "kept"), [(5.0, 5.0), (None, 86_400.0), (0, 86_400.0), (-1, 86_400.0), (1e300, LONGEST)]
)
def test_a_limit_that_is_none_leaves_the_default_and_one_beyond_all_is_bounded(
    asked: float | None, kept: float
) -> None:
    runner = Made(completed)
    runner.set_timeout(asked)
    assert runner.timeout == kept


def test_a_note_for_people_is_the_error_of_a_cancelled_run() -> None:
    runner = Made(completed)
    runner.cancel.cancel(CancelRequest(EndReason.LEASE_LOST, note="another worker has the task"))
    assert runner.execute().error == "another worker has the task"


def test_a_source_of_credentials_that_is_silent_holds_no_stopped_run() -> None:
    class Silent:
        def credential(self, credential_id: str) -> Credential:
            runner.stop()
            let_go.wait(20)
            raise AssertionError("nobody waits for this any more")

    def work(it: Made, context: ExecutionContext) -> object:
        assert context.credentials is not None
        return context.credentials.credential("c1")

    let_go, runner = threading.Event(), Made(work)
    result = runner.execute(ExecutionContext(credentials=Silent()))
    let_go.set()
    assert result.end_reason is EndReason.STOPPED
