"""The modelled API server without a network: rules that need a clock, bad luck, or a client that misbehaves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.runtime.threads import ThreadRuntime
from adapters.testkit.model.faults import DISCARD, DROP, LOST, REFUSE, TORN, Fault
from adapters.testkit.model.network import MemoryServer
from adapters.testkit.model.replies import AUTH, DATABASE, REDIS
from adapters.testkit.model.requests import answer
from adapters.testkit.model.server import Connection, ServerModel
from adapters.wire.framing import SEPARATOR
from domain.errors import ConnectionLost, Unavailable

TOKEN = "k3y"
WORKER = "5f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c11"


class Clock:
    """Seconds since 1970 that pass when told to."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def model(clock: Clock) -> ServerModel:
    return ServerModel(clock, TOKEN)


def call(model: ServerModel, method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
    status, document = answer(model, method, path, query, body, f"Bearer {TOKEN}")
    return status, document.get("data")


def dial(model: ServerModel) -> Connection:
    key = f"/ws/{WORKER}"
    value = call(model, "GET", "/lock/acquire", key=key)[1]["value"]
    connection = model.connect(key, value)
    assert isinstance(connection, Connection)
    return connection


def tell(model: ServerModel, connection: Connection, action: str, data: Any, task_id: str = "") -> bool:
    event = {"action": action, "worker_id": WORKER, "task_id": task_id, "data": data, "api_key": TOKEN}
    return model.message(connection, SEPARATOR + json.dumps(event).encode() + SEPARATOR)


def run(model: ServerModel, **fields: Any) -> str:
    """A task that runs here."""
    task_id = model.add_task(**fields)
    tell(model, dial(model), "task_update", {"status": "running", "worker_id": WORKER}, task_id)
    return task_id


def pass_time(model: ServerModel, clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.now += 1
        model.tick()


# -- protocol 7.1: cancel, time-outs ------------------------


def test_a_pending_task_is_cancelled(model: ServerModel) -> None:
    """Protocol 7.1."""
    task_id = model.add_task()
    assert call(model, "POST", f"/task/{task_id}/cancel/")[0] == 200
    assert (model.tasks[task_id]["status"], model.tasks[task_id]["time_end"] is None) == ("canceled", False)


def test_a_task_whose_lock_is_held_is_not_cancelled(model: ServerModel) -> None:
    """Protocol 7.1."""
    task_id = model.add_task()
    call(model, "GET", "/lock/acquire", key=f"task:lock:{task_id}")
    assert call(model, "POST", f"/task/{task_id}/cancel/")[0] == 400


@pytest.mark.parametrize(("timeout", "after"), [(10, 70.0), (0, 86_400.0)])
def test_a_running_task_is_cancelled_only_past_its_time(
    model: ServerModel, clock: Clock, timeout: int, after: float
) -> None:
    """Protocol 7.1: its timeout and a minute, or a day."""
    task_id = run(model, timeout=timeout)
    clock.now += after
    assert call(model, "POST", f"/task/{task_id}/cancel/")[0] == 400
    clock.now += 1
    assert call(model, "POST", f"/task/{task_id}/cancel/")[0] == 200


def test_an_ended_task_is_not_cancelled(model: ServerModel) -> None:
    """Protocol 7.1."""
    task_id = model.add_task()
    model.end(task_id, "success")
    assert call(model, "POST", f"/task/{task_id}/cancel/")[0] == 400


def test_what_waited_too_long_times_out_unless_a_worker_holds_its_lock(model: ServerModel, clock: Clock) -> None:
    """Protocol 7.1."""
    free, held = model.add_task(), model.add_task()
    for task_id in (free, held):
        model.tasks[task_id]["timeout_at"] = model.tasks[task_id]["time_plan"]
    call(model, "GET", "/lock/acquire", key=f"task:lock:{held}", expire="100")
    pass_time(model, clock, 33)
    assert [model.tasks[it]["status"] for it in (free, held)] == ["timeout", "pending"]


def test_the_time_out_check_writes_its_old_copy_over_what_happened_meanwhile(model: ServerModel, clock: Clock) -> None:
    """Protocol 7.1: why a worker holds the lock until its start was read back, and some seconds more if that is late."""
    hasty, patient = model.add_task(), model.add_task()
    for task_id in (hasty, patient):
        model.tasks[task_id]["timeout_at"] = model.tasks[task_id]["time_plan"]
    connection = dial(model)
    pass_time(model, clock, 30)
    call(model, "GET", "/lock/acquire", key=f"task:lock:{patient}", expire="100")
    for task_id in (hasty, patient):
        tell(model, connection, "task_update", {"status": "running", "worker_id": WORKER}, task_id)
    pass_time(model, clock, 3)
    assert [model.tasks[it]["status"] for it in (hasty, patient)] == ["timeout", "running"]


# -- protocol 6: requests ------------------------


def test_a_refresh_is_capped_at_an_hour(model: ServerModel, clock: Clock) -> None:
    """Protocol 6.1: and tells nanoseconds."""
    value = call(model, "GET", "/lock/acquire", key="a")[1]["value"]
    assert call(model, "GET", "/lock/refresh", key="a", value=value, expire="9999")[1]["expire"] == 3600 * 10**9
    clock.now += 3601
    assert call(model, "GET", "/lock/check", key="a")[1]["is_locked"] is False


@pytest.mark.parametrize("expire", ["", "nan", "inf", "6.5", "-1", "9" * 30])
def test_an_expiry_that_is_no_number_is_a_minute(model: ServerModel, clock: Clock, expire: str) -> None:
    """Protocol 6.1."""
    call(model, "GET", "/lock/acquire", key="a", expire=expire)
    clock.now += 59
    assert model.locks.holder("a")
    clock.now += 2
    assert not model.locks.holder("a")


def test_checking_a_lock_leaks_its_value(model: ServerModel) -> None:
    """Protocol 6.1: what a wrong value gets to see."""
    value = call(model, "GET", "/lock/acquire", key="a")[1]["value"]
    seen = call(model, "GET", "/lock/check", key="a", value="wrong")[1]
    assert (seen["is_locked"], seen["value_matched"], seen["value"]) == (False, False, value)


def test_the_list_has_pages_and_takes_nonsense(model: ServerModel) -> None:
    """Protocol 6.3."""
    for _ in range(12):
        model.add_task()
    page = call(model, "GET", "/task/", page="2", page_size="bad")[1]
    assert (page["count"], page["page_size"], len(page["results"])) == (12, 10, 2)


def test_a_patch_overwrites_an_end_and_sets_no_time(model: ServerModel) -> None:
    """Protocol 6.4: why no worker may use it (G3)."""
    task_id = model.add_task()
    model.end(task_id, "canceled")
    ended = model.tasks[task_id]["time_end"]
    assert call(model, "PATCH", f"/task/{task_id}/", {"status": "success", "name": "x"})[1]["name"] == "task"
    assert (model.tasks[task_id]["status"], model.tasks[task_id]["time_end"]) == ("success", ended)


@pytest.mark.parametrize(("verdict", "status"), [("approve", "success"), ("reject", "failed"), ("cancel", "cancelled")])
def test_a_decision_ends_the_task(model: ServerModel, verdict: str, status: str) -> None:
    """Protocol 6.8."""
    task_id = run(model)
    code, made = call(model, "POST", "/approvals/", {"title": "go?", "task_id": task_id})
    assert (code, made["status"], made["timeout"]) == (201, "pending", 3600)
    assert call(model, "POST", f"/approvals/{made['id']}/action/", {"action": verdict})[0] == 200
    assert model.tasks[task_id]["status"] == status
    assert call(model, "POST", f"/approvals/{made['id']}/action/", {"action": verdict})[0] == 400


@pytest.mark.parametrize("verdict", ["approve", "reject", "cancel"])
def test_no_address_ends_in_a_verdict(model: ServerModel, verdict: str) -> None:
    """Protocol 6.8."""
    made = call(model, "POST", "/approvals/", {"title": "go?"})[1]
    assert answer(model, "POST", f"/approvals/{made['id']}/{verdict}/", {}, {}, TOKEN) == (404, {})
    assert model.approvals[made["id"]]["status"] == "pending"


def test_approvals_are_found_by_their_task_and_outlive_its_stop(model: ServerModel) -> None:
    """Protocol 6.8: an answer turns a stopped task into a success."""
    task_id, other = run(model), run(model)
    made = [call(model, "POST", "/approvals/", {"title": "go?", "task_id": it})[1]["id"] for it in (task_id, other)]
    tell(model, dial(model), "task_update", {"status": "stopped"}, task_id)
    (found,) = call(model, "GET", "/approvals/", task_id=task_id)[1]["results"]
    assert (found["id"], found["status"]) == (made[0], "pending")
    call(model, "POST", f"/approvals/{made[0]}/action/", {"action": "approve"})
    assert model.tasks[task_id]["status"] == "success"


def test_an_approval_that_nobody_decides_times_out(model: ServerModel, clock: Clock) -> None:
    """Protocol 6.8: looked for every five minutes."""
    task_id = run(model)
    call(model, "POST", "/approvals/", {"title": "go?", "task_id": task_id, "timeout": 5})
    clock.now += 299
    model.tick()
    assert model.tasks[task_id]["status"] == "running"
    clock.now += 2
    model.tick()
    assert model.tasks[task_id]["status"] == "timeout"


@pytest.mark.parametrize(
    "body", [{}, {"title": "t", "team_id": ""}, {"title": "t", "context": "{"}, {"title": "t", "task_id": "7"}]
)
def test_a_bad_approval_is_refused(model: ServerModel, body: dict[str, Any]) -> None:
    """Protocol 6.8."""
    assert call(model, "POST", "/approvals/", body)[0] == 400


# -- protocol 5: events ------------------------


@pytest.mark.parametrize(
    "message", [b"[]", b"7", b'{"action":"task_update","data":[1]}', b"[" * 5000, b'{"action":["x"]}']
)
def test_no_message_breaks_the_server(model: ServerModel, message: bytes) -> None:
    """Protocol 3.2, 5.1."""
    assert model.message(dial(model), SEPARATOR + message + SEPARATOR)


@pytest.mark.parametrize("data", [{"name": 5}, {"name": "w", "metadata": [1]}, {"name": "w", "metadata": {"tasks": 3}}])
def test_a_strange_registration_breaks_nothing(model: ServerModel, data: dict[str, Any]) -> None:
    """Protocol 5.2: without a readable list of categories everything is sent."""
    connection = dial(model)
    tell(model, connection, "regist_worker", data)
    model.broadcast(model.add_task(category="anything"))
    assert len(connection.send_queue) == 1


def test_a_lone_surrogate_becomes_the_replacement_character(model: ServerModel) -> None:
    """Protocol 3.2: as Go decodes it; a pair stays what it is."""
    task_id = run(model)
    connection = model.connections[0]
    event = {"action": "task_update", "task_id": task_id, "api_key": TOKEN, "data": {"output": "a\ud800b\U0001f600"}}
    model.message(connection, SEPARATOR + json.dumps(event).encode() + SEPARATOR)
    assert model.tasks[task_id]["output"] == "a\ufffdb\U0001f600"


def test_a_deleted_task_takes_no_update(model: ServerModel) -> None:
    """Protocol 5.3."""
    task_id = model.add_task(deleted=True)
    tell(model, dial(model), "task_update", {"status": "running"}, task_id)
    assert model.tasks[task_id]["status"] == "pending"


# -- protocol 1.2, 1.3: what the server needs is away ------------------------


@pytest.mark.parametrize(
    ("part", "method", "path", "status"),
    [
        (DATABASE, "GET", "/task/ID/", 400),
        (DATABASE, "GET", "/task/", 400),
        (DATABASE, "GET", f"/worker/{WORKER}/", 400),
        (DATABASE, "GET", "/category/command/", 400),
        (DATABASE, "POST", "/approvals/", 400),
        (DATABASE, "POST", "/tasklog/ID/append/", 400),
        (DATABASE, "GET", "/tasklog/ID/content/", 404),
        (DATABASE, "POST", "/credentials/ID/decrypt/", 500),
        (DATABASE, "GET", "/lock/acquire", 200),
        (REDIS, "GET", "/lock/acquire", 500),
        (REDIS, "GET", "/task/ID/", 200),
        (AUTH, "GET", "/task/ID/", 503),
        (AUTH, "GET", "/lock/acquire", 503),
    ],
)
def test_each_outage_has_its_own_answers(model: ServerModel, part: str, method: str, path: str, status: int) -> None:
    """Protocol 1.2, 1.3, 6.1, 6.5."""
    task_id = model.add_task()
    model.away.add(part)
    assert call(model, method, path.replace("ID", task_id), {"content": "x", "title": "t"}, key="k")[0] == status


@pytest.mark.parametrize("part", [DATABASE, AUTH])
def test_an_update_during_an_outage_is_lost_and_the_pong_comes_all_the_same(model: ServerModel, part: str) -> None:
    """Protocol 0.6."""
    task_id, connection = model.add_task(), dial(model)
    model.away.add(part)
    tell(model, connection, "task_update", {"status": "running"}, task_id)
    assert (model.tasks[task_id]["status"], model.ping(connection)) == ("pending", True)


def test_without_a_database_nothing_is_offered_or_timed_out(model: ServerModel, clock: Clock) -> None:
    """Protocol 4.3."""
    task_id = model.add_task()
    model.tasks[task_id]["timeout_at"] = model.tasks[task_id]["time_plan"]
    connection = dial(model)
    model.add_task()
    model.away.add(DATABASE)
    pass_time(model, clock, 40)
    assert (len(connection.send_queue), model.tasks[task_id]["status"]) == (0, "pending")
    model.away.clear()
    pass_time(model, clock, 40)
    assert (len(connection.send_queue) > 0, model.tasks[task_id]["status"]) == (True, "timeout")


def test_an_emptied_store_of_locks_gives_every_lock_to_the_next(model: ServerModel) -> None:
    """Protocol 6.1."""
    value = call(model, "GET", "/lock/acquire", key="a")[1]["value"]
    model.locks.clear()
    assert call(model, "GET", "/lock/refresh", key="a", value=value)[0] == 400
    assert call(model, "GET", "/lock/acquire", key="a")[1]["success"]


# -- protocol 6.5: the log that an append destroys ------------------------


def append(model: ServerModel, task_id: str, text: str) -> tuple[int, Any]:
    return call(model, "POST", f"/tasklog/{task_id}/append/", {"storage": "", "content": text})


def content(model: ServerModel, task_id: str) -> tuple[str, int]:
    found = call(model, "GET", f"/tasklog/{task_id}/content/")[1]
    return found["content"], found["size"]


def test_an_append_without_a_database_destroys_the_log_and_the_size_hides_it(model: ServerModel) -> None:
    """Protocol 6.5."""
    task_id = model.add_task()
    append(model, task_id, "first\n")
    model.away.add(DATABASE)
    assert append(model, task_id, "second\n")[0] == 400
    model.away.clear()
    assert content(model, task_id) == ("second\n", 6)
    assert append(model, task_id, "third\n")[1]["size"] == 13


def test_a_client_that_leaves_in_the_middle_destroys_the_log_too(model: ServerModel) -> None:
    """Protocol 6.5."""
    server = MemoryServer(ThreadRuntime(), TOKEN)
    task_id, path = server.add_task(), "/tasklog/{}/append/"
    append(server.model, task_id, "first\n")
    server.model.faults.add(Fault("tasklog/append *", TORN))
    with pytest.raises(Unavailable):
        server.network().request("POST", path.format(task_id), {}, {"content": "second\n"}, 0.01)
    assert content(server.model, task_id) == ("second\n", 6)


def test_what_was_asked_of_a_frozen_server_is_done_when_it_goes_on(model: ServerModel) -> None:
    """Protocol 6.5: though the client is gone."""
    server = MemoryServer(ThreadRuntime(), TOKEN)
    task_id, connection = server.add_task(), dial(server.model)
    append(server.model, task_id, "first\n")
    server.model.frozen = True
    with pytest.raises(Unavailable):
        server.network().request("POST", f"/tasklog/{task_id}/append/", {}, {"content": "second\n"}, 0.01)
    tell(server.model, connection, "task_update", {"status": "running"}, task_id)
    assert (server.log(task_id), server.task(task_id)["status"]) == ("first\n", "pending")
    server.model.thaw()
    assert (server.log(task_id), server.task(task_id)["status"]) == ("second\n", "running")


def test_a_log_is_put_right_by_writing_it_anew(model: ServerModel) -> None:
    """Protocol 6.5."""
    task_id = model.add_task()
    assert call(model, "PUT", f"/tasklog/{task_id}/content/", {"content": "x"})[0] == 404
    append(model, task_id, "first\n")
    assert call(model, "PUT", f"/tasklog/{task_id}/content/", {"content": "whole\n"})[0] == 200
    assert content(model, task_id) == ("whole\n", 6)


@pytest.mark.parametrize(
    "body", [{}, {"content": ""}, {"content": "x", "storage": "tape"}, {"content": "x", "task_id": "7"}]
)
def test_a_bad_append_is_refused(model: ServerModel, body: dict[str, Any]) -> None:
    """Protocol 6.5."""
    assert call(model, "POST", f"/tasklog/{model.add_task()}/append/", body)[0] == 400


# -- trouble ------------------------


def test_an_update_may_be_taken_and_its_connection_closed(model: ServerModel) -> None:
    """G11."""
    model.faults.add(Fault("update running *", LOST))
    task_id = run(model)
    assert (model.tasks[task_id]["status"], model.connections) == ("running", [])


def test_a_ping_may_stay_without_pong(model: ServerModel) -> None:
    connection = dial(model)
    model.faults.add(Fault("ping *", DISCARD, nth=1))
    assert [model.ping(connection), model.ping(connection)] == [False, True]


def test_pings_that_stay_out_end_the_connection_but_only_after_the_first(model: ServerModel, clock: Clock) -> None:
    """Protocol 2.6."""
    silent, pinging = dial(model), dial(model)
    model.ping(pinging)
    clock.now += 61
    model.tick()
    assert (silent.open, pinging.open) == (True, False)


@pytest.mark.parametrize("kind", [REFUSE, DROP, LOST])
def test_a_handshake_may_be_refused(kind: str) -> None:
    server = MemoryServer(ThreadRuntime())
    server.model.faults.add(Fault("ws/task *", kind))
    network = server.network()
    key = f"/ws/{WORKER}"
    value = network.request("GET", "/lock/acquire", {"key": key}, None, 1)[1]["data"]["value"]
    with pytest.raises(ConnectionLost):
        network.open(key, value, lambda: None)
    assert not server.model.connections


def test_a_close_through_a_cut_way_leaves_a_half_open_connection() -> None:
    """Protocol 2.10."""
    server = MemoryServer(ThreadRuntime(), TOKEN)
    network = server.network()
    connection = dial(server.model)
    network.conditions.up = False
    network.hang_up(connection)
    assert server.model.connections == [connection]


def test_two_appends_to_one_log_at_a_time_are_noted() -> None:
    """Protocol 6.5: the real server would lose text."""
    server = MemoryServer(ThreadRuntime())
    network = server.network()
    path = f"/tasklog/{server.add_task()}/append/"

    def delay() -> float:
        network.conditions.delay = float
        network.request("POST", path, {}, {"content": "second"}, 1)
        return 0.0

    network.conditions.delay = delay
    network.request("POST", path, {}, {"content": "first"}, 1)
    assert len(server.model.history.of("append overlap")) == 1


def test_appends_one_after_the_other_are_not_noted() -> None:
    """Protocol 6.5."""
    server = MemoryServer(ThreadRuntime())
    network = server.network()
    path = f"/tasklog/{server.add_task()}/append/"
    server.model.faults.add(Fault("tasklog/append *", REFUSE, nth=1))
    with pytest.raises(Unavailable):
        network.request("POST", path, {}, {"content": "first"}, 1)
    network.request("POST", path, {}, {"content": "first"}, 1)
    assert not server.model.history.of("append overlap")
