"""How every call of the API server takes what comes instead of a proper answer (G55)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from adapters.apiserver.approvals import HttpApprovals
from adapters.apiserver.client import Client
from adapters.apiserver.locks import HttpGate, HttpLocks
from adapters.apiserver.records import HttpRecords
from adapters.apiserver.task_logs import HttpTaskLogs
from adapters.apiserver.tasks import HttpTasks
from application.ports import LogPiece
from domain.errors import Refused, Unavailable
from domain.runner import Approval
from tests.support.log_history import History
from tests.support.scripted_api import api, bad, good

ID = "269e926b-ffce-4ce9-aa68-71df36d15a7e"
VALUE = "4351f9663d8877fea96c90e86b49248e"
APPROVAL = Approval("t", "c", "{}", (), (), False, 60, "{}")
ODD = good("odd")


def append(client: Client) -> object:
    return HttpTaskLogs(client, lambda: 0.0).append(LogPiece(ID, 0, b"x", False, History()))


def read_log(client: Client, task_id: str = ID) -> object:
    return HttpTaskLogs(client, lambda: 0.0).read(task_id)


CALLS: dict[str, Callable[[Client], object]] = {
    "acquire": lambda client: HttpLocks(client).acquire("k", 5, 3),
    "refresh": lambda client: HttpLocks(client).refresh("k", VALUE, 5, 3),
    "release": lambda client: HttpLocks(client).release("k", VALUE, 3),
    "registered": lambda client: HttpGate(client).registered(ID),
    "fetch": lambda client: HttpTasks(client).fetch(ID),
    "of worker": lambda client: HttpTasks(client).of_worker(ID, None, 5),
    "append": append,
    "read log": read_log,
    "category": lambda client: HttpRecords(client).category("git"),
    "credential": lambda client: HttpRecords(client).credential(ID),
    "create approval": lambda client: HttpApprovals(client).create_approval(ID, APPROVAL),
    "pending approvals": lambda client: HttpApprovals(client).pending_approvals(ID),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("answer", [(200, b"<html>"), bad(429), bad(500), ODD])
def test_every_call_takes_an_unusable_answer_as_unavailable(call: str, answer: tuple[int, Any]) -> None:
    """A release whose answer is odd but good was done."""
    with api(answer) as (client, _):
        if call == "release" and answer == ODD:
            CALLS[call](client)
        else:
            with pytest.raises(Unavailable):
                CALLS[call](client)


@pytest.mark.parametrize("task_id", ["", "../worker/1", "x" * 100, f"{ID}/stop"])
def test_an_id_that_is_no_uuid_never_becomes_a_path(task_id: str) -> None:
    with api(good({})) as (client, server):
        tasks, records, gate, logs = (
            HttpTasks(client),
            HttpRecords(client),
            HttpGate(client),
            HttpTaskLogs(client, float),
        )
        piece = LogPiece(task_id, 0, b"x", False, History())
        for call in (
            lambda: tasks.fetch(task_id), lambda: logs.read(task_id), lambda: logs.append(piece),
            lambda: records.credential(task_id), lambda: gate.registered(task_id),
        ):  # fmt: skip
            with pytest.raises(Refused):
                call()
        assert server.lines == []


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "message",
    [
        "dial tcp 127.0.0.1:3306: connect: connection refused", "invalid connection", "driver: bad connection",
        "Error 1040: Too many connections", "sql: database is closed", "read tcp 10.0.0.1:3306: i/o timeout",
        "context canceled", "context deadline exceeded", "unexpected EOF", "write: broken pipe",
        "Error 1213 (40001): Deadlock found when trying to get lock", "\u6570\u636e\u5e93\u8fde\u63a5\u5931\u8d25",
    ],
)  # fmt: skip
def test_a_bad_request_that_names_the_servers_own_trouble_is_no_refusal(call: str, message: str) -> None:
    """Protocol 1.2: a failing database answers 400."""
    with api(bad(400, message)) as (client, _), pytest.raises(Unavailable):
        CALLS[call](client)
