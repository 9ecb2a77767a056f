"""The Coordination port over scripted answers (protocol 6)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from adapters.apiserver.coordination import HttpCoordination

from adapters.apiserver.http import ApiClient
from adapters.testkit.scripted import PeerConnection, ScriptedPeer
from adapters.wire.endpoints import ApiAddress
from domain.errors import NotFound, Refused, Unavailable
from domain.runner import Approval
from domain.status import Status

ID = "269e926b-ffce-4ce9-aa68-71df36d15a7e"
VALUE = "4351f9663d8877fea96c90e86b49248e"
OTHER = "5f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c11"
MADE = 201, {"code": 0, "data": {"id": ID}}
APPROVAL = Approval("t", "c", "{}", (), (), False, 60, "{}")


class Server:
    """Answers each request with the next of its answers, the last one for ever; remembers the request lines."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self._answers = list(answers)
        self.lines: list[str] = []
        self.bodies: list[Any] = []

    def script(self, peer: PeerConnection) -> None:
        while True:
            head = peer.read_head()
            self.lines.append(head.splitlines()[0].removesuffix(" HTTP/1.1"))
            sizes = [line.split(":")[1] for line in head.splitlines() if line.lower().startswith("content-length")]
            self.bodies.append(json.loads(peer.read(int(sizes[0])) or "null") if sizes else None)
            status, answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            peer.answer(status, answer if isinstance(answer, bytes) else json.dumps(answer).encode())


@contextmanager
def api(*answers: tuple[int, Any]) -> Iterator[tuple[HttpCoordination, Server]]:
    server = Server(*answers)
    with ScriptedPeer(server.script) as peer:
        client = ApiClient(ApiAddress.parse(f"http://127.0.0.1:{peer.port}"), lambda: "k3y", timeout=5)
        yield HttpCoordination(client), server
        client.close()


def good(data: Any) -> tuple[int, Any]:
    return 200, {"code": 0, "data": data, "message": "ok"}


def bad(code: int, message: str = "no") -> tuple[int, Any]:
    return code, {"code": code, "message": message}


# --- locks ----------------------------------------------------------------------------------------------------------


def test_acquire_returns_the_servers_value_and_rounds_the_time_up() -> None:
    with api(good({"success": True, "value": VALUE})) as (coordination, server):
        assert coordination.acquire("task:lock:1", 5.2, 3) == VALUE
    assert server.lines == ["GET /api/v1/lock/acquire?key=task%3Alock%3A1&expire=6"]


def test_a_lock_that_somebody_holds_is_none() -> None:
    with api(good({"success": False, "value": ""})) as (coordination, _):
        assert coordination.acquire("k", 5, 3) is None


@pytest.mark.parametrize("data", [None, {}, {"success": True}, {"success": True, "value": "';evil"}, {"success": 1}])
def test_an_unclear_answer_to_acquire_is_no_lock(data: Any) -> None:
    with api(good(data)) as (coordination, _), pytest.raises(Unavailable):
        coordination.acquire("k", 5, 3)


@pytest.mark.parametrize(
    ("answer", "ours"),
    [(good({"success": True}), True), (good({"success": False}), False), (bad(400, "not owned"), False)],
)
def test_refresh_tells_whether_the_lock_is_still_ours(answer: tuple[int, Any], ours: bool) -> None:
    with api(answer) as (coordination, server):
        assert coordination.refresh("k", VALUE, 60, 3) is ours
    assert server.lines[0] == f"GET /api/v1/lock/refresh?key=k&value={VALUE}&expire=60"


@pytest.mark.parametrize("answer", [bad(401), bad(403), bad(404), bad(500), (404, b"404 page not found"), (400, b"")])
def test_trouble_in_refresh_never_says_that_the_lock_is_lost_unless_it_is(answer: tuple[int, Any]) -> None:
    with api(answer) as (coordination, _):
        if answer == (400, b""):
            assert not coordination.refresh("k", VALUE, 60, 3)
        else:
            with pytest.raises(Unavailable):
                coordination.refresh("k", VALUE, 60, 3)


def test_releasing_a_lock_that_is_not_ours_is_no_error() -> None:
    text = "failed to release lock: lock not owned by this instance or already released"
    with api(bad(500, text)) as (coordination, _):
        coordination.release("k", VALUE, 3)


@pytest.mark.parametrize("answer", [bad(500, "redis is down"), bad(401), (502, b"")])
def test_a_release_that_was_not_done_is_told(answer: tuple[int, Any]) -> None:
    with api(answer) as (coordination, _), pytest.raises(Unavailable):
        coordination.release("k", VALUE, 3)


@pytest.mark.parametrize("value", ["", "' .. os.exit() .. '", "a\r\nb"])
def test_a_value_that_the_server_never_made_is_not_sent_to_it(value: str) -> None:
    """Protocol 6.1: the server pastes the value into a script."""
    with api(good({"success": True})) as (coordination, server):
        assert not coordination.refresh("k", value, 60, 3)
        coordination.release("k", value, 3)
        assert server.lines == []


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_fetch_returns_the_task() -> None:
    with api(good({"id": ID, "category": "command", "status": "pending"})) as (coordination, server):
        assert coordination.fetch(ID).status is Status.PENDING
    assert server.lines == [f"GET /api/v1/task/{ID}/"]


def test_a_missing_task_is_not_found_but_a_wrong_address_is_not() -> None:
    with api(bad(404), (404, b"404 page not found")) as (coordination, _):
        with pytest.raises(NotFound):
            coordination.fetch(ID)
        with pytest.raises(Unavailable):
            coordination.fetch(ID)


@pytest.mark.parametrize("data", [None, [], {"id": 7}, {"id": "5f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c11"}])
def test_an_answer_that_is_not_the_task_is_no_answer(data: Any) -> None:
    with api(good(data)) as (coordination, _), pytest.raises(Unavailable):
        coordination.fetch(ID)


@pytest.mark.parametrize("task_id", ["", "../worker/1", "x" * 100, f"{ID}/stop"])
def test_an_id_that_is_no_uuid_never_becomes_a_path(task_id: str) -> None:
    with api(good({})) as (coordination, server):
        for call in (coordination.fetch, coordination.read, coordination.credential, coordination.registered):
            with pytest.raises(Refused):
                call(task_id)
        assert server.lines == []


def test_the_tasks_of_a_worker_are_read_page_by_page_and_unreadable_ones_left_out() -> None:
    first = {"count": 502, "results": [{"id": ID, "category": "c", "status": "running"}] * 499 + [{"id": 7}]}
    second = {"count": 502, "results": [{"id": ID, "category": "c", "status": "running"}] * 2}
    with api(good(first), good(second)) as (coordination, server):
        assert len(coordination.of_worker(ID, Status.RUNNING, 1000)) == 501
    assert [line.split("page=")[1][0] for line in server.lines] == ["1", "2"]
    assert "status=running" in server.lines[0]


@pytest.mark.parametrize("data", [{"count": 0, "results": None}, {"results": []}])
def test_a_worker_without_tasks_has_an_empty_list(data: Any) -> None:
    with api(good(data)) as (coordination, _):
        assert coordination.of_worker(ID, None, 10) == []


def test_the_row_of_a_worker_tells_its_name_and_categories() -> None:
    row = {"id": ID, "name": "w1", "description": "", "metadata": {"tasks": ["default", 7], "auth": {}}}
    with api(good(row)) as (coordination, _):
        identity = coordination.registered(ID)
    assert (identity.name, identity.tasks) == ("w1", ("default",))


# --- logs, categories, credentials, approvals ----------------------------------------------------------------------


def test_append_sends_the_text_once_and_returns_the_size() -> None:
    with api(good({"size": 13})) as (coordination, server):
        assert coordination.append(ID, "caf\u00e9\ud800\n") == 13
    assert server.lines == [f"POST /api/v1/tasklog/{ID}/append/"]
    assert server.bodies == [{"storage": "", "content": "caf\u00e9?\n"}]


@pytest.mark.parametrize("data", [None, {}, {"size": 0}, {"size": "13"}, {"size": True}])
def test_an_append_without_a_size_is_not_confirmed(data: Any) -> None:
    with api(good(data)) as (coordination, _), pytest.raises(Unavailable):
        coordination.append(ID, "x")


@pytest.mark.parametrize("status", [401, 403])
def test_a_log_outlives_a_key_that_is_being_rotated(status: int) -> None:
    """G56: a refused text would be thrown away."""
    with api(bad(status)) as (coordination, _):
        with pytest.raises(Unavailable, match="API key"):
            coordination.append(ID, "x")
        with pytest.raises(Unavailable, match="API key"):
            coordination.read(ID)
        with pytest.raises(Unavailable, match="API key"):
            coordination.replace(ID, "x")


def test_a_log_that_does_not_exist_is_none_and_its_text_counts_not_its_size() -> None:
    with api(bad(404), good({"size": 99, "content": "h\u00e9"})) as (coordination, server):
        assert coordination.read(ID) is None
        assert coordination.read(ID) == "h\u00e9".encode()
    assert server.lines[0] == f"GET /api/v1/tasklog/{ID}/content/"


def test_a_log_is_written_anew_as_a_whole() -> None:
    with api(good({})) as (coordination, server):
        coordination.replace(ID, "caf\u00e9\ud800\n")
    assert server.lines == [f"PUT /api/v1/tasklog/{ID}/content/"]
    assert server.bodies == [{"content": "caf\u00e9?\n"}]


@pytest.mark.parametrize(
    "message",
    [
        "dial tcp 127.0.0.1:3306: connect: connection refused", "invalid connection", "driver: bad connection",
        "Error 1040: Too many connections", "sql: database is closed", "read tcp 10.0.0.1:3306: i/o timeout",
        "context canceled", "context deadline exceeded", "unexpected EOF", "write: broken pipe",
        "Error 1213 (40001): Deadlock found when trying to get lock", "\u6570\u636e\u5e93\u8fde\u63a5\u5931\u8d25",
    ],
)  # fmt: skip
def test_a_bad_request_that_names_the_servers_own_trouble_is_no_refusal(message: str) -> None:
    """Protocol 1.2: a failing database answers 400."""
    for call in _calls():
        with api(bad(400, message)) as (coordination, _), pytest.raises(Unavailable):
            call(coordination)


@pytest.mark.parametrize("message", ["\u8bf7\u6c42\u53c2\u6570\u9519\u8bef", "content is required"])
def test_a_text_is_refused_for_good_only_in_the_servers_fixed_words(message: str) -> None:
    with api(bad(400, message)) as (coordination, _), pytest.raises(Refused):
        coordination.append(ID, "x")
    with api(bad(400, "Error 1062: Duplicate entry")) as (coordination, _), pytest.raises(Unavailable):
        coordination.append(ID, "x")


def test_a_password_in_the_servers_words_stays_out_of_the_error() -> None:
    message = 'Get "http://auth:s3cret@10.0.0.1/me": dial tcp: connection refused'
    with api(bad(503, message)) as (coordination, _), pytest.raises(Unavailable, match=r"//\*\*\*@10") as caught:
        coordination.fetch(ID)
    assert "s3cret" not in str(caught.value)


def test_a_lock_that_is_not_ours_is_lost_whatever_words_the_server_has_for_trouble() -> None:
    message = "failed to refresh lock: lock not owned by this instance or already expired"
    with api(bad(400, message)) as (coordination, _):
        assert coordination.refresh("k", VALUE, 5, 3) is False


def test_a_category_with_odd_characters_stays_one_part_of_the_path() -> None:
    with api(good({"code": "a/b", "check": "which git", "setup": None})) as (coordination, server):
        assert coordination.category("a/b").check == "which git"
        assert coordination.category("a/b").setup == ""
        with pytest.raises(NotFound):
            coordination.category("..")
    assert server.lines[0] == "GET /api/v1/category/a%2Fb/"


def test_an_active_credential_is_returned_and_its_value_hidden() -> None:
    data = {"id": ID, "category": "api_token", "name": "n", "value": {"token": "t0p"}, "is_active": True}
    with api(good(data)) as (coordination, server):
        credential = coordination.credential(ID)
    assert credential.value == {"token": "t0p"}
    assert "t0p" not in repr(credential)
    assert server.lines == [f"POST /api/v1/credentials/{ID}/decrypt/"]


@pytest.mark.parametrize("active", [False, None, "true", 1])
def test_a_credential_that_is_not_surely_active_is_refused(active: Any) -> None:
    with api(good({"is_active": active, "value": {"token": "t0p"}})) as (coordination, _):
        with pytest.raises(Refused) as caught:
            coordination.credential(ID)
        assert "t0p" not in str(caught.value)


def test_a_task_asks_for_approval_once() -> None:
    with api(good({"results": []}), MADE) as (coordination, server):
        assert coordination.create_approval(ID, APPROVAL) == ID
        assert coordination.create_approval(ID, APPROVAL) == ID
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
    with api(good({"results": rows})) as (coordination, server):
        assert coordination.create_approval(ID, APPROVAL) == OTHER
    assert len(server.lines) == 1


def test_an_approval_whose_answer_was_lost_is_found_by_its_task() -> None:  # A4
    rows = [{"id": OTHER, "task_id": ID, "status": "pending"}]
    with api(good({"results": []}), bad(502), good({"results": rows})) as (coordination, server):
        assert coordination.create_approval(ID, APPROVAL) == OTHER
    assert len(server.lines) == 3


def test_an_approval_that_was_not_made_is_told() -> None:
    with api(good({"results": []}), bad(502), good({"results": []})) as (coordination, _), pytest.raises(Unavailable):
        coordination.create_approval(ID, APPROVAL)


@pytest.mark.parametrize("answer", [(404, b"404 page not found"), bad(404), bad(400)])
def test_a_server_that_cannot_look_for_approvals_is_asked_all_the_same(answer: tuple[int, Any]) -> None:
    with api(answer, MADE) as (coordination, _):
        assert coordination.create_approval(ID, APPROVAL) == ID


def test_an_approval_of_a_workflow_names_its_run() -> None:  # A3
    with api(good({"results": []}), MADE) as (coordination, server):
        coordination.create_approval(ID, replace(APPROVAL, workflow_exec_id=ID))
    assert server.bodies[1]["workflow_exec_id"] == ID


@pytest.mark.parametrize("answer", [good({}), bad(404), bad(400, "already approved")])
def test_withdrawing_an_approval_that_is_gone_is_no_error(answer: tuple[int, Any]) -> None:
    with api(answer) as (coordination, server):
        coordination.cancel_approval(ID)
    assert server.lines == [f"POST /api/v1/approvals/{ID}/action/"]
    assert server.bodies == [{"action": "cancel"}]


@pytest.mark.parametrize("answer", [bad(503), bad(401), bad(403)])
def test_a_withdrawal_that_did_not_reach_the_server_is_told(answer: tuple[int, Any]) -> None:
    with api(answer) as (coordination, _), pytest.raises(Unavailable):
        coordination.cancel_approval(ID)


def test_a_withdrawal_that_the_server_has_no_address_for_is_never_called_done() -> None:  # A2
    with api((404, b"404 page not found")) as (coordination, _), pytest.raises(Refused, match="stays open"):
        coordination.cancel_approval(ID)


def _calls() -> list[Callable[[HttpCoordination], Any]]:
    return [
        lambda c: c.acquire("k", 5, 3),
        lambda c: c.refresh("k", VALUE, 5, 3),
        lambda c: c.release("k", VALUE, 3),
        lambda c: c.fetch(ID),
        lambda c: c.of_worker(ID, None, 5),
        lambda c: c.append(ID, "x"),
        lambda c: c.read(ID),
        lambda c: c.category("git"),
        lambda c: c.credential(ID),
        lambda c: c.create_approval(ID, APPROVAL),
        lambda c: c.pending_approvals(ID),
        lambda c: c.registered(ID),
    ]


@pytest.mark.parametrize("index", range(len(_calls())))
@pytest.mark.parametrize("answer", [(200, b"<html>"), bad(429), bad(500), good("odd")])
def test_every_call_takes_an_unusable_answer_as_unavailable(index: int, answer: tuple[int, Any]) -> None:
    """G55. A release whose answer is odd but good was done."""
    with api(answer) as (coordination, _):
        if index == 2 and answer == good("odd"):
            _calls()[index](coordination)
        else:
            with pytest.raises(Unavailable):
                _calls()[index](coordination)
