"""Approvals over scripted answers (protocol 6.8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapters.apiserver.approvals import HttpApprovals
from domain.errors import Refused, Unavailable
from domain.runner import Approval
from tests.support.scripted_api import api, bad, good

ID = "269e926b-ffce-4ce9-aa68-71df36d15a7e"
OTHER = "5f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c11"
MADE = 201, {"code": 0, "data": {"id": ID}}
APPROVAL = Approval("t", "c", "{}", (), (), False, 60, "{}")


def test_a_task_asks_for_approval_once() -> None:
    with api(good({"results": []}), MADE) as (client, server):
        approvals = HttpApprovals(client)
        assert approvals.create_approval(ID, APPROVAL) == ID
        assert approvals.create_approval(ID, APPROVAL) == ID
    assert server.lines == [f"GET /api/v1/approvals/?task_id={ID}", "POST /api/v1/approvals/"]
    assert server.bodies[1]["task_id"] == ID
    assert not {"team_id", "workflow_exec_id"} & set(server.bodies[1])


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": OTHER, "task_id": ID, "status": "pending"}],
        [{"id": ID, "task_id": ID, "status": "cancelled"}, {"id": OTHER, "task_id": ID, "status": "pending"}],
        [{"id": ID, "task_id": OTHER, "status": "pending"}, {"id": OTHER, "task_id": ID, "status": "pending"}, 7],
    ],
)
def test_what_a_previous_run_has_asked_is_not_asked_again(rows: list[Any]) -> None:  # A4
    with api(good({"results": rows})) as (client, server):
        assert HttpApprovals(client).create_approval(ID, APPROVAL) == OTHER
    assert len(server.lines) == 1


def test_an_approval_whose_answer_was_lost_is_found_by_its_task() -> None:  # A4
    rows = [{"id": OTHER, "task_id": ID, "status": "pending"}]
    with api(good({"results": []}), bad(502), good({"results": rows})) as (client, server):
        assert HttpApprovals(client).create_approval(ID, APPROVAL) == OTHER
    assert len(server.lines) == 3


def test_an_approval_that_was_not_made_is_told() -> None:
    with api(good({"results": []}), bad(502), good({"results": []})) as (client, _), pytest.raises(Unavailable):
        HttpApprovals(client).create_approval(ID, APPROVAL)


@pytest.mark.parametrize("answer", [(404, b"404 page not found"), bad(404), bad(400)])
def test_a_server_that_cannot_look_for_approvals_is_asked_all_the_same(answer: tuple[int, Any]) -> None:
    with api(answer, MADE) as (client, _):
        assert HttpApprovals(client).create_approval(ID, APPROVAL) == ID


def test_an_approval_of_a_workflow_names_its_run() -> None:  # A3
    with api(good({"results": []}), MADE) as (client, server):
        HttpApprovals(client).create_approval(ID, replace(APPROVAL, workflow_exec_id=ID))
    assert server.bodies[1]["workflow_exec_id"] == ID


@pytest.mark.parametrize("answer", [good({}), bad(404), bad(400, "already approved")])
def test_withdrawing_an_approval_that_is_gone_is_no_error(answer: tuple[int, Any]) -> None:
    with api(answer) as (client, server):
        HttpApprovals(client).cancel_approval(ID)
    assert server.lines == [f"POST /api/v1/approvals/{ID}/action/"]
    assert server.bodies == [{"action": "cancel"}]


@pytest.mark.parametrize("answer", [bad(503), bad(401), bad(403)])
def test_a_withdrawal_that_did_not_reach_the_server_is_told(answer: tuple[int, Any]) -> None:
    with api(answer) as (client, _), pytest.raises(Unavailable):
        HttpApprovals(client).cancel_approval(ID)


def test_a_withdrawal_that_the_server_has_no_address_for_is_never_called_done() -> None:  # A2
    with api((404, b"404 page not found")) as (client, _), pytest.raises(Refused, match="stays open"):
        HttpApprovals(client).cancel_approval(ID)
