"""The words of the domain."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from domain.errors import ConfigError, InvalidTransition, MissingExtra, UnknownCategory, WorkerError
from domain.result import EndReason, Result
from domain.runner import (
    CancelRequest,
    CancelToken,
    Credential,
    ExecutionContext,
    Runner,
    RunnerRegistry,
    Urgency,
)
from domain.status import Status
from domain.task import Metadata, Task

STOP = CancelRequest(EndReason.STOPPED)
KILL = CancelRequest(EndReason.KILLED, Urgency.NOW)


@pytest.mark.parametrize("status", [status for status in Status if status.is_final])
def test_nothing_follows_an_end(status: Status) -> None:
    assert not any(status.may_become(other) for other in Status)


def test_running_may_end_or_be_handed_back_but_not_start_again() -> None:
    assert Status.RUNNING.may_become(Status.PENDING)
    assert not Status.RUNNING.may_become(Status.RUNNING)
    assert all(Status.RUNNING.may_become(end) for end in Status if end.is_final)


def test_a_forbidden_move_names_both_statuses() -> None:
    with pytest.raises(InvalidTransition, match="success cannot become running"):
        Status.SUCCESS.become(Status.RUNNING)


@pytest.mark.parametrize("reason", list(EndReason))
def test_every_reason_has_a_final_status(reason: EndReason) -> None:
    assert reason.status.is_final


def test_a_user_stop_is_never_a_status_that_is_retried() -> None:
    assert {EndReason.STOPPED.status, EndReason.KILLED.status} == {Status.STOPPED}


def test_a_result_is_final_or_left_running() -> None:
    assert Result(Status.RUNNING, EndReason.COMPLETED).status is Status.RUNNING
    with pytest.raises(InvalidTransition):
        Result(Status.PENDING, EndReason.COMPLETED)


def test_a_token_remembers_the_first_reason_and_the_highest_urgency() -> None:
    token = CancelToken()
    assert (token.first, token.urgency, token.requested) == (None, None, False)
    token.cancel(STOP)
    token.cancel(KILL)
    token.cancel(STOP)
    assert token.first is STOP
    assert token.urgency is Urgency.NOW


def test_whoever_subscribes_late_still_hears_of_it() -> None:  # G26
    token = CancelToken()
    token.cancel(STOP)
    heard: list[CancelRequest] = []
    token.subscribe(heard.append)
    token.cancel(KILL)
    assert heard == [STOP, KILL]


def test_whoever_unsubscribed_hears_nothing() -> None:
    token = CancelToken()
    heard: list[CancelRequest] = []
    subscriber = heard.append
    token.subscribe(subscriber)
    token.unsubscribe(subscriber)
    token.unsubscribe(subscriber)
    token.cancel(STOP)
    assert heard == []


class Nothing:
    status = Status.PENDING
    result = None

    def parse_args(self, command: str, args: str) -> None: ...
    def set_timeout(self, seconds: float | None) -> None: ...
    def execute(self, context: ExecutionContext | None = None) -> Result:
        return Result(Status.SUCCESS, EndReason.COMPLETED)

    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def cleanup(self) -> None: ...


def test_a_registry_trims_and_lowers_codes_and_an_empty_one_is_default() -> None:
    registry = RunnerRegistry()
    registry.register(" HTTP ", Nothing)
    registry.register("default", Nothing)
    assert registry.list() == ["default", "http"]
    assert isinstance(registry.create("Http"), Runner)
    assert registry.create("") is not registry.create("")


@pytest.mark.parametrize("code", ["ssh", "  "])
def test_an_unknown_category_is_told_with_the_known_ones(code: str) -> None:
    registry = RunnerRegistry()
    registry.register("default", Nothing)
    with pytest.raises(UnknownCategory, match="known: default"):
        registry.create(code)


def test_a_task_is_for_whom_it_selects() -> None:
    anyone, named, nobody = Metadata(), Metadata(worker_select=("w1", "id-2")), Metadata(worker_select=None)
    cases = itertools.product(("id-1", "id-2"), ("w1", "w9"))
    for worker_id, name in cases:
        assert Task("t", "command", metadata=anyone).is_for(worker_id, name)
        assert Task("t", "command", metadata=named).is_for(worker_id, name) == (worker_id == "id-2" or name == "w1")
        assert not Task("t", "command", metadata=nobody).is_for(worker_id, name)


def test_words_cannot_be_changed() -> None:
    task = Task("t", "command")
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.name = "x"  # type: ignore[misc]


def test_a_credential_does_not_show_its_value() -> None:
    assert "hunter2" not in repr(Credential("c", "username_password", "db", {"password": "hunter2"}))


def test_every_error_is_one_family_and_configuration_has_its_exit_status() -> None:
    assert issubclass(ConfigError, WorkerError)
    assert ConfigError.exit_code == 78
    assert "in the worker's directory, pip install '.[redis]'" in str(MissingExtra("the redis client", "redis"))
    assert ExecutionContext().log(b"x") is None  # type: ignore[func-returns-value]
