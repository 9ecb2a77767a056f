"""The simulated server behaves as the real one was seen to: what tests rest on is tested itself."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import websocket

pytest.importorskip("aiohttp", reason="aiohttp is missing; install the extra testkit to run the simulated server")

from adapters.testkit.apiserver import SimulatedServer
from adapters.testkit.model.faults import DISCARD, DROP, GARBAGE, LOST, SLOW, Fault
from adapters.wire.framing import SEPARATOR
from tests.support.program import wait_until

TOKEN = "k3y"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer(TOKEN) as one:
        yield one


def call(
    server: SimulatedServer, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[int, Any, str]:
    """Status, document (or text) and Location of one exchange."""
    client = http.client.HTTPConnection("127.0.0.2", server.port, timeout=5)
    try:
        client.request(method, f"/api/v1{path}", body, AUTH if headers is None else headers)
        answer = client.getresponse()
        text = answer.read().decode("utf-8", "replace")
        is_json = "json" in answer.getheader("Content-Type", "")
        return answer.status, json.loads(text) if is_json else text, answer.getheader("Location", "")
    finally:
        client.close()


def acquire(server: SimulatedServer, key: str, expire: int = 12) -> str:
    value: str = call(server, "GET", f"/lock/acquire?{urlencode({'key': key, 'expire': expire})}")[1]["data"]["value"]
    return value


class Worker:
    """A bare WebSocket client, which sends what it is told to."""

    def __init__(self, server: SimulatedServer, name: str = "", tasks: tuple[str, ...] = ("command",)) -> None:
        self.id = str(uuid.uuid4())
        key = f"/ws/{self.id}"
        query = urlencode({"key": key, "value": acquire(server, key)})
        self.socket = websocket.create_connection(
            f"ws://127.0.0.2:{server.port}/api/v1/ws/task/?{query}", timeout=5, skip_utf8_validation=True
        )
        if name:
            data = {"id": self.id, "name": name, "metadata": {"tasks": list(tasks)}}
            self.send(self.event("regist_worker", "", data))
            self.barrier()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.shutdown()  # type: ignore[no-untyped-call]

    def event(self, action: str, task_id: str, data: dict[str, Any], key: str = TOKEN) -> bytes:
        document = {"action": action, "worker_id": self.id, "task_id": task_id, "data": data, "api_key": key}
        return json.dumps(document).encode()

    def update(self, task_id: str, **data: Any) -> bytes:
        return self.event("task_update", task_id, data)

    def send(self, *messages: bytes) -> None:
        for message in messages:
            self.send_raw(SEPARATOR + message + SEPARATOR)

    def send_raw(self, data: bytes) -> None:
        self.socket.send(data, websocket.ABNF.OPCODE_BINARY)

    def barrier(self) -> None:
        """All that was sent before has been processed when this returns."""
        self.socket.ping("b")
        while self.socket.recv_data(control_frame=True)[0] != websocket.ABNF.OPCODE_PONG:
            pass

    def receive(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(str(self.socket.recv()).split(SEPARATOR.decode())[1])
        return event


# -- protocol 1: HTTP ------------------------


def test_success_is_an_envelope(server: SimulatedServer) -> None:
    """Protocol 1.2."""
    task_id = server.add_task(command="true")
    status, document, _ = call(server, "GET", f"/task/{task_id}/")
    assert (status, document["code"], document["data"]["id"]) == (200, 0, task_id)


def test_an_error_has_no_data(server: SimulatedServer) -> None:
    """Protocol 1.2."""
    status, document, _ = call(server, "GET", f"/task/{uuid.uuid4()}/")
    assert (status, document["code"], "data" in document) == (404, 404, False)


@pytest.mark.parametrize("path", ["/nothing/", "//lock/acquire", "/tasks/"])
def test_an_unknown_route_is_plain_text(server: SimulatedServer, path: str) -> None:
    """Protocol 1.2."""
    assert call(server, "GET", path)[:2] == (404, "404 page not found")


def test_a_wrong_method_is_plain_text(server: SimulatedServer) -> None:
    """Protocol 1.2."""
    assert call(server, "DELETE", "/lock/acquire")[:2] == (404, "404 page not found")


@pytest.mark.parametrize(("headers", "error"), [({}, "MISSING_AUTH_HEADER"), ({"Authorization": "no"}, "HTTP_401")])
def test_a_bad_key_is_told_with_its_kind(server: SimulatedServer, headers: dict[str, str], error: str) -> None:
    """Protocol 1.3."""
    status, document, _ = call(server, "GET", f"/task/{uuid.uuid4()}/", headers)
    assert (status, document["error"]) == (401, error)


def test_the_key_without_bearer_is_taken_too(server: SimulatedServer) -> None:
    """Protocol 1.1."""
    assert call(server, "GET", f"/task/{server.add_task()}/", {"Authorization": TOKEN})[0] == 200


def test_the_other_form_of_a_path_is_redirected_with_its_query(server: SimulatedServer) -> None:
    """Protocol 1.4: 301 for GET, 307 for the rest; locks without a slash, all else with one."""
    task_id = uuid.uuid4()
    assert call(server, "GET", "/lock/acquire/?key=a") == (301, "", "/api/v1/lock/acquire?key=a")
    assert call(server, "GET", f"/task/{task_id}")[::2] == (301, f"/api/v1/task/{task_id}/")
    assert call(server, "POST", f"/tasklog/{task_id}/append")[::2] == (307, f"/api/v1/tasklog/{task_id}/append/")


def test_a_body_needs_its_content_type(server: SimulatedServer) -> None:
    """Protocol 1.1."""
    path, body = f"/tasklog/{server.add_task()}/append/", b'{"content": "x"}'
    assert call(server, "POST", path, AUTH | {"Content-Type": "text/plain"}, body)[0] == 400
    assert call(server, "POST", path, AUTH | JSON, body)[0] == 200


# -- protocol 2: the connection ------------------------


def upgrade(server: SimulatedServer, key: str, value: str) -> int:
    query = urlencode({"key": key, "value": value})
    return call(server, "GET", f"/ws/task/?{query}", {})[0]


def test_an_upgrade_without_its_lock_is_refused(server: SimulatedServer) -> None:
    """Protocol 2.2."""
    key = f"/ws/{uuid.uuid4()}"
    assert upgrade(server, key, "") == 400
    assert upgrade(server, "task:lock:x", "v") == 400
    assert upgrade(server, key, "0" * 32) == 403


def test_the_lock_is_used_up_by_an_upgrade_that_fails(server: SimulatedServer) -> None:
    """Protocol 2.3."""
    key = f"/ws/{uuid.uuid4()}"
    value = acquire(server, key)
    assert upgrade(server, key, value) == 400
    assert upgrade(server, key, value) == 403


def test_a_lock_that_nobody_used_blocks_the_next_try(server: SimulatedServer) -> None:
    """Protocol 2.3."""
    key = f"/ws/{uuid.uuid4()}"
    assert acquire(server, key)
    assert acquire(server, key) == ""


def test_a_message_of_10240_bytes_passes_and_one_more_ends_the_connection(server: SimulatedServer) -> None:
    """Protocol 2.5."""
    with Worker(server, "w1") as worker:
        worker.send_raw(b" " * 10_240)
        worker.barrier()
        worker.send_raw(b" " * 10_241)
        code, data = worker.socket.recv_data()
    assert code == websocket.ABNF.OPCODE_CLOSE
    assert int.from_bytes(data[:2], "big") == 1009


def test_a_pong_comes_after_what_was_sent_before_the_ping(server: SimulatedServer) -> None:
    """Protocol 2.7."""
    tasks = [server.add_task() for _ in range(20)]
    with Worker(server, "w1") as worker:
        worker.send(*(worker.update(task_id, status="running") for task_id in tasks))
        worker.barrier()
        assert {server.task(task_id)["status"] for task_id in tasks} == {"running"}


def test_only_pings_extend_the_time_that_the_first_ping_began() -> None:
    """Protocol 2.6, with 0.3 seconds in place of sixty."""
    with SimulatedServer(TOKEN, ping_deadline=0.3) as server, Worker(server) as silent, Worker(server) as pinging:
        pinging.barrier()
        began = time.monotonic()
        ended = threading.Event()

        def chatter() -> None:
            while not ended.wait(0.02):
                try:
                    pinging.send_raw(b" ")
                except (OSError, websocket.WebSocketException):
                    return

        thread = threading.Thread(target=chatter)
        thread.start()
        try:
            with pytest.raises((OSError, websocket.WebSocketConnectionClosedException)):
                pinging.socket.recv_data()
        finally:
            ended.set()
            thread.join(5)
        silent.barrier()  # never pinged before, so it was never timed out
        assert 0.2 < time.monotonic() - began < 3


# -- protocol 3: the splitter ------------------------


def test_a_cut_behind_an_opening_separator_loses_the_event(server: SimulatedServer) -> None:
    """Protocol 3.2: the trap."""
    first, lost, after = (server.add_task() for _ in range(3))
    with Worker(server, "w1") as worker:
        worker.send_raw(SEPARATOR + worker.update(first, status="running") + SEPARATOR + SEPARATOR)
        worker.send_raw(worker.update(lost, status="running") + SEPARATOR)
        worker.send(worker.update(after, status="running"))
        worker.barrier()
    assert [server.task(it)["status"] for it in (first, lost, after)] == ["running", "pending", "running"]


def test_a_cut_anywhere_else_loses_nothing(server: SimulatedServer) -> None:
    """Protocol 3.2."""
    with Worker(server, "w1") as worker:
        tasks = []
        for at in (1, 10, 17, 18, 30, -1, -10, -17, -18):
            tasks.append(server.add_task())
            data = SEPARATOR + worker.update(tasks[-1], status="running") + SEPARATOR
            worker.send_raw(data[:at])
            worker.send_raw(data[at:])
        worker.barrier()
    assert {server.task(task_id)["status"] for task_id in tasks} == {"running"}


# -- protocol 4: what it sends ------------------------


def test_the_first_batch_holds_five_tasks_and_nobody_asked(server: SimulatedServer) -> None:
    """Protocol 4.4."""
    for _ in range(7):
        server.add_task(category="anything")
    with Worker(server) as worker:
        event = worker.receive()
    assert (event["action"], len(event["tasks"])) == ("run", 5)


def test_a_pending_task_is_sent_again_every_three_seconds(server: SimulatedServer) -> None:
    """Protocol 4.4, on a clock that goes ten times as fast."""
    began = time.time()
    server.model.clock = lambda: began + 10 * (time.time() - began)
    with Worker(server, "w1") as worker:
        task_id = server.add_task()
        seen = []
        for _ in range(3):
            assert [task["id"] for task in worker.receive()["tasks"]] == [task_id]
            seen.append(time.monotonic())
    assert 0.25 < seen[2] - seen[1] < 2


def test_the_categories_filter_a_broadcast(server: SimulatedServer) -> None:
    """Protocol 4.5."""
    with Worker(server, "w1", ("command",)) as worker:
        foreign, mine = server.add_task(category="sql"), server.add_task(category="command")
        server.offer(foreign, mine)
        assert [task["id"] for task in worker.receive()["tasks"]] == [mine]


def test_a_full_queue_drops_events_in_silence(server: SimulatedServer) -> None:
    """Protocol 4.5: a hundred wait, the rest is gone."""
    with Worker(server, "w1") as worker:
        with server.guard:  # nothing is written meanwhile
            server.offer(*(server.add_task() for _ in range(130)))
        wait_until(lambda: len(server.model.history.of("dropped")) == 30, "it did not come true")
        assert len({worker.receive()["tasks"][0]["id"] for _ in range(100)}) == 100


def test_a_stop_needs_a_worker_that_is_connected(server: SimulatedServer) -> None:
    """Protocol 4.5."""
    task_id = server.add_task()
    with Worker(server, "w1") as worker:
        worker.send(worker.update(task_id, status="running", worker_id=worker.id))
        worker.barrier()
        path = f"/task/{task_id}/stop/"
        assert call(server, "POST", path, AUTH | JSON, b'{"force": false}')[0] == 200
        assert worker.receive()["action"] == "stop"
    wait_until(lambda: not server.model.connections, "it did not come true")
    assert call(server, "POST", path, AUTH | JSON, b'{"force": false}')[0] == 503


# -- protocol 5: what it takes ------------------------


def test_a_taken_name_is_refused_without_a_word(server: SimulatedServer) -> None:
    """Protocol 5.2: the connection stays open and unregistered."""
    with Worker(server, "w1") as first, Worker(server, "w1") as second:
        second.barrier()
        assert call(server, "GET", f"/worker/{first.id}/")[0] == 200
        assert call(server, "GET", f"/worker/{second.id}/")[0] == 404


@pytest.mark.parametrize("data", [b"no JSON", b"[]", b'{"action": "dance"}'])
def test_nonsense_is_skipped(server: SimulatedServer, data: bytes) -> None:
    """Protocol 3.2, 5.1."""
    task_id = server.add_task()
    with Worker(server, "w1") as worker:
        worker.send(data, worker.update(task_id, status="running"))
        worker.barrier()
    assert server.task(task_id)["status"] == "running"


def test_an_event_with_a_wrong_key_is_dropped(server: SimulatedServer) -> None:
    """Protocol 5.1."""
    task_id = server.add_task()
    with Worker(server, "w1") as worker:
        worker.send(worker.event("task_update", task_id, {"status": "running"}, key="wrong"))
        worker.barrier()
    assert server.task(task_id)["status"] == "pending"


# -- trouble on demand ------------------------


def test_a_lost_answer_was_applied(server: SimulatedServer) -> None:
    server.model.faults.add(Fault("tasklog/append *", LOST, nth=1))
    task_id = server.add_task()
    with pytest.raises((http.client.HTTPException, OSError)):
        call(server, "POST", f"/tasklog/{task_id}/append/", AUTH | JSON, b'{"content": "x"}')
    assert server.log(task_id) == "x"


def test_a_discarded_request_was_not_applied(server: SimulatedServer) -> None:
    server.model.faults.add(Fault("tasklog/append *", DISCARD, nth=1))
    task_id = server.add_task()
    with pytest.raises((http.client.HTTPException, OSError)):
        call(server, "POST", f"/tasklog/{task_id}/append/", AUTH | JSON, b'{"content": "x"}')
    assert server.log(task_id) == ""


def test_statuses_garbage_and_delays_are_scripted(server: SimulatedServer) -> None:
    path = f"/task/{server.add_task()}/"
    for fault in (
        Fault("task *", status=503, nth=1),
        Fault("task *", GARBAGE, nth=2),
        Fault("task *", SLOW, 3, 0, 0, 0.2),
    ):
        server.model.faults.add(fault)
    assert call(server, "GET", path)[0] == 503
    assert "html" in call(server, "GET", path)[1]
    began = time.monotonic()
    assert call(server, "GET", path)[0] == 200
    assert time.monotonic() - began >= 0.2


def test_an_update_may_cost_the_connection(server: SimulatedServer) -> None:
    server.model.faults.add(Fault("update running *", DROP))
    task_id = server.add_task()
    with Worker(server, "w1") as worker:
        worker.send(worker.update(task_id, status="running"))
        wait_until(lambda: not server.model.connections, "it did not come true")
    assert server.task(task_id)["status"] == "pending"


def test_a_pong_may_stay_out(server: SimulatedServer) -> None:
    with Worker(server, "w1") as worker:
        server.model.faults.add(Fault("ping *", DISCARD))
        worker.socket.ping("b")
        wait_until(lambda: len(server.model.history.of("ping")) == 2, "it did not come true")
        worker.socket.settimeout(0.1)
        with pytest.raises(websocket.WebSocketTimeoutException):
            worker.socket.recv_data(control_frame=True)


def test_two_appends_to_one_log_at_a_time_are_noted(server: SimulatedServer) -> None:
    """Protocol 6.5: the real server would lose text."""
    server.model.faults.add(Fault("tasklog/append *", SLOW, nth=1, delay=0.3))
    path = f"/tasklog/{server.add_task()}/append/"
    first = threading.Thread(target=lambda: call(server, "POST", path, AUTH | JSON, b'{"content": "a"}'))
    first.start()
    wait_until(lambda: bool(server.appends_in_flight), "it did not come true")
    call(server, "POST", path, AUTH | JSON, b'{"content": "b"}')
    first.join(5)
    assert len(server.model.history.of("append overlap")) == 1


def test_health_needs_no_key_and_tells_who_is_connected(server: SimulatedServer) -> None:
    """Protocol 6.10."""
    with Worker(server, "w1") as worker:
        client = http.client.HTTPConnection("127.0.0.2", server.port, timeout=5)
        client.request("GET", "/health")
        document = json.loads(client.getresponse().read())
        client.close()
    assert list(document["components"]["websocket"]["details"]["workers"].values()) == [worker.id]


def test_a_paused_server_refuses_and_comes_back_at_the_same_port(server: SimulatedServer) -> None:
    task_id = server.add_task()
    server.pause()
    with pytest.raises(ConnectionRefusedError):
        call(server, "GET", f"/task/{task_id}/")
    server.resume()
    assert call(server, "GET", f"/task/{task_id}/")[0] == 200


def test_a_black_hole_answers_nothing_until_it_heals(server: SimulatedServer) -> None:
    task_id = server.add_task()
    server.pause(black_hole=True)
    with socket.create_connection(("127.0.0.2", server.port), timeout=0.2) as client:
        client.sendall(f"GET /api/v1/task/{task_id}/ HTTP/1.1\r\nHost: x\r\nAuthorization: {TOKEN}\r\n\r\n".encode())
        with pytest.raises(TimeoutError):
            client.recv(1)
        server.resume()
        client.settimeout(5)
        assert client.recv(12) == b"HTTP/1.1 200"


def test_who_leaves_a_black_hole_in_an_append_has_destroyed_the_log(server: SimulatedServer) -> None:
    """Protocol 6.5."""
    task_id = server.add_task()
    path = f"/tasklog/{task_id}/append/"
    assert call(server, "POST", path, AUTH | JSON, b'{"content":"first"}')[0] == 200
    server.pause(black_hole=True)
    body = b'{"content":"second"}'
    head = f"POST /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: {TOKEN}\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.2", server.port), timeout=5) as client:
        client.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: server.requests_in_line == 1, "it did not come true")
    wait_until(lambda: server.requests_in_line == 0, "it did not come true")
    server.resume()
    wait_until(lambda: server.log(task_id) == "second", "it did not come true")
    assert call(server, "GET", f"/tasklog/{task_id}/content/")[1]["data"] == {
        "task_id": task_id,
        "content": "second",
        "size": 5,
    }


def test_an_auth_service_that_is_away_takes_its_time(server: SimulatedServer) -> None:
    """Protocol 1.3."""
    task_id = server.add_task()
    server.lose("auth")
    assert call(server, "GET", f"/task/{task_id}/")[0] == 503
    server.regain("auth")
    assert call(server, "GET", f"/task/{task_id}/")[0] == 200


def test_it_closes_within_a_second_with_workers_connected() -> None:
    server = SimulatedServer(TOKEN)
    with server, Worker(server, "w1") as worker:
        server.pause(black_hole=True)
        worker.socket.ping("x")
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < 1.0
    assert not [thread for thread in threading.enumerate() if thread.name == "simulated-server"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.port), timeout=1)


def test_a_taken_port_is_told() -> None:
    with SimulatedServer() as one, pytest.raises(OSError, match="in use"), SimulatedServer(port=one.port):
        pass


def test_it_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "adapters.testkit.apiserver", "--token", TOKEN, "--demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        try:
            port = int(program.stdout.readline().rsplit(":", 1)[1].split("/")[0])
            client = http.client.HTTPConnection("127.0.0.2", port, timeout=5)
            client.request("GET", "/api/v1/task/", headers=AUTH)
            document = json.loads(client.getresponse().read())
            client.close()
        finally:
            program.terminate()
    assert document["data"]["count"] == 3
