"""Approvals: what is asked, and what becomes of the question when its task is stopped."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from adapters.runners.approval import DEFAULT_TIMEOUT, ApprovalRunner, withdraw
from domain.errors import InvalidTask, Refused, Unavailable
from domain.result import EndReason, Result
from domain.runner import Approval, ExecutionContext
from domain.status import Status

ARGS: dict[str, Any] = {"title": "Release?", "user_ids": ["u-1"]}


class Desk:
    """``meanwhile`` happens while the question is on its way; ``refuse`` is what a withdrawal raises."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None, refuse: Exception | None = None) -> None:
        self._meanwhile, self._refuse = meanwhile, refuse
        self.asked: list[Approval] = []
        self.withdrawn: list[str] = []
        self.told = threading.Event()

    def create_approval(self, task_id: str, approval: Approval) -> str:
        self.asked.append(approval)
        self._meanwhile()
        return f"approval of {task_id}"

    def cancel_approval(self, approval_id: str) -> None:
        if self._refuse is not None:
            raise self._refuse
        self.withdrawn.append(approval_id)
        self.told.set()


def ran(desk: Desk | None, limit: float | None = None, /, **args: Any) -> Result:
    runner = ApprovalRunner()
    runner.parse_args("", json.dumps(ARGS | args))
    runner.set_timeout(limit)
    return runner.execute(ExecutionContext(task_id="t1", approvals=desk, workflow_exec_id="w1"))


def test_a_question_leaves_its_task_running_with_the_approval_in_its_output() -> None:
    result = ran(desk := Desk(), require_all=True, ai_agent_ids=["a-1", "a-2"])
    output = json.loads(result.output)
    assert result.status is Status.RUNNING
    assert [output[key] for key in ("approval_id", "approval_status", "user_count", "ai_agent_count")] == [
        "approval of t1", "pending", 1, 2,
    ]  # fmt: skip
    assert (desk.asked[0].title, desk.asked[0].require_all, desk.asked[0].workflow_exec_id) == ("Release?", True, "w1")


@pytest.mark.parametrize(
    ("own", "limit", "seconds"),
    [(60, 20.0, 60), (0, 20.0, 20), (0, None, DEFAULT_TIMEOUT), (-1, None, DEFAULT_TIMEOUT)],
)
def test_people_have_the_time_of_the_approval_else_that_of_the_task(
    own: int, limit: float | None, seconds: int
) -> None:
    ran(desk := Desk(), limit, timeout=own)
    assert desk.asked[0].timeout == seconds


def test_a_stop_while_the_question_is_on_its_way_withdraws_it() -> None:
    runner = ApprovalRunner()
    runner.parse_args("", json.dumps(ARGS))
    answered = Desk(meanwhile=runner.stop)
    result = runner.execute(ExecutionContext(task_id="t1", approvals=answered))
    assert result.end_reason is EndReason.STOPPED
    assert answered.told.wait(10)  # whoever heard the answer withdraws: the run itself, or the thread that asked
    assert answered.withdrawn == ["approval of t1"]


def test_what_asking_raised_is_the_end_of_the_task() -> None:
    def down() -> None:
        raise Unavailable("the server is down")

    result = ran(Desk(meanwhile=down))
    assert (result.status, result.error) == (Status.FAILED, "the server is down")


def test_without_a_server_there_is_nobody_to_ask() -> None:
    assert ran(None).end_reason is EndReason.INVALID_TASK


def test_a_question_that_cannot_be_withdrawn_is_told() -> None:
    assert withdraw(Desk(), "a1") == "the approval a1 was withdrawn"
    assert withdraw(Desk(refuse=Refused("no such way")), "a1").endswith("could not be withdrawn: no such way")


@pytest.mark.parametrize("change", [{"title": " "}, {"user_ids": []}, {"context": "{"}, {"metadata": "x"}])
def test_a_question_that_cannot_be_asked_is_refused_before_it_is(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask):
        ApprovalRunner().parse_args("", json.dumps(ARGS | change))
