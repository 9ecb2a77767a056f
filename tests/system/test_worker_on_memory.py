"""The whole worker, real processes, over the in-memory server: every byte through the codec."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from adapters.process.supervisor import Supervisor
from adapters.runners.command import CommandRunner, ProcessOptions
from adapters.testkit.program import wait_until
from adapters.testkit.workers import WorkerKit
from adapters.transports.memory.faults import DISCARD, LOST, Fault
from adapters.transports.memory.network import MemoryServer
from application.ports import Limits
from domain.runner import RunnerRegistry

OVER = ("success", "failed", "error", "timeout", "stopped", "canceled")


@pytest.fixture
def registry(processes: Supervisor) -> RunnerRegistry:
    found = RunnerRegistry()
    found.register("command", lambda: CommandRunner(processes, ProcessOptions(grace=0.5)))
    return found


Start = Callable[..., WorkerKit]


@pytest.fixture
def start(server: MemoryServer, registry: RunnerRegistry, tmp_path: Path) -> Iterator[Start]:
    kits: list[WorkerKit] = []

    def make(**fields: object) -> WorkerKit:
        kit = WorkerKit(server.way(), registry, root=tmp_path, **fields)  # type: ignore[arg-type]
        kits.append(kit)
        kit.worker.start()
        assert kit.worker.link.up.wait(5)
        return kit

    yield make
    for kit in kits:
        kit.stop()


def output(server: MemoryServer, task: str) -> dict[str, object]:
    value = json.loads(server.task(task)["output"])
    assert isinstance(value, dict)
    return value


def test_a_task_runs_once_and_its_output_and_log_arrive(server: MemoryServer, start: Start) -> None:
    start()
    task = server.add_task(command="echo", args='["Hello, World!"]')
    server.offer(task)
    assert server.wait_for(task, *OVER)["status"] == "success"
    assert output(server, task)["message"] == "Hello, World!\n"
    assert output(server, task)["exit_code"] == 0
    wait_until(lambda: server.log(task) == "Hello, World!\n", lambda: server.log(task))
    assert len(server.model.history.of("terminal", task)) == 1


def test_a_failure_tells_its_exit_code_and_its_log_says_why(server: MemoryServer, start: Start) -> None:
    start()
    task = server.add_task(command="echo out; echo oops >&2; exit 3")
    server.offer(task)
    assert server.wait_for(task, *OVER)["status"] == "failed"
    assert output(server, task)["exit_code"] == 3
    assert server.log(task).startswith("out\noops\n")
    assert "exit status 3" in server.log(task)


def test_a_time_out_is_a_time_out(server: MemoryServer, start: Start) -> None:
    start()
    task = server.add_task(command="sleep 300; true", timeout=1)
    server.offer(task)
    assert server.wait_for(task, *OVER)["status"] == "timeout"


def test_the_servers_time_out_ends_the_run(server: MemoryServer, start: Start) -> None:  # G5 of the runners
    start()
    task = server.add_task(command="sleep 300")
    server.offer(task)
    server.wait_for(task, "running")
    with server.guard:
        server.model._push(server.model.connections[0], "timeout", [server.model.tasks[task]])
    assert server.wait_for(task, *OVER, timeout=5)["status"] == "timeout"


def test_the_servers_copy_is_run_and_not_the_events(server: MemoryServer, start: Start) -> None:  # G6 of the runners
    start()
    task = server.add_task(command="echo", args='["new"]')
    with server.guard:
        server.model._push(server.model.connections[0], "run", [server.model.tasks[task] | {"args": '["old"]'}])
    server.wait_for(task, *OVER)
    assert output(server, task)["message"] == "new\n"


def test_an_empty_line_ends_no_log_and_a_burst_is_whole(
    server: MemoryServer, start: Start
) -> None:  # G8 of the runners
    start()
    task = server.add_task(command="echo one; echo; echo; seq 1 2000")
    server.offer(task)
    server.wait_for(task, *OVER)
    wanted = "one\n\n\n" + "".join(f"{number}\n" for number in range(1, 2001))
    deadline = threading.Event()
    for _ in range(500):
        if server.log(task) == wanted:
            break
        deadline.wait(0.02)
    assert server.log(task) == wanted


@pytest.mark.parametrize("force", [False, True])
def test_a_stop_ends_a_running_task(server: MemoryServer, start: Start, force: bool) -> None:
    start()
    task = server.add_task(command="sleep 300")
    server.offer(task)
    server.wait_for(task, "running")
    assert server.stop_task(task, force) == 200
    assert server.wait_for(task, *OVER, timeout=5)["status"] == "stopped"


def test_a_stop_in_the_same_message_as_its_run_ends_stopped_every_time(server: MemoryServer, start: Start) -> None:
    start()
    for _ in range(20):
        task = server.add_task(command="sleep 300")
        with server.guard:
            connection = server.model.connections[0]
            row = server.model.tasks[task]
            server.model._push(connection, "run", [row])
            server.model._push(connection, "stop", [row])
            both = b"".join(connection.send_queue)
            connection.send_queue.clear()
            connection.send_queue.append(both)
        assert server.wait_for(task, *OVER, timeout=5)["status"] == "stopped"


def test_duplicate_events_execute_once(server: MemoryServer, start: Start, tmp_path: Path) -> None:  # G19
    kit = start()
    task = server.add_task(command=f"echo x >> {tmp_path}/witness; sleep 0.3")
    for _ in range(50):
        server.offer(task)
    server.wait_for(task, *OVER)
    for _ in range(20):
        server.offer(task)
    assert (tmp_path / "witness").read_text() == "x\n"
    assert kit.worker.delivery.empty.wait(5)


@pytest.mark.parametrize("status", ["running", "success", "canceled", "timeout"])
def test_a_stale_event_executes_nothing(server: MemoryServer, start: Start, status: str, tmp_path: Path) -> None:  # G20
    kit = start()
    task = server.add_task(command=f"touch {tmp_path}/witness")
    with server.guard:
        connection, row = server.model.connections[0], server.model.tasks[task]
        server.model._push(connection, "run", [row])
        row["status"] = status
    while not kit.metrics.snapshot().get("events_stale"):
        threading.Event().wait(0.01)
    assert not (tmp_path / "witness").exists()


def test_a_task_of_another_worker_or_category_is_left_alone(server: MemoryServer, start: Start) -> None:  # G21
    kit = start()
    tasks = [
        server.add_task(metadata={"worker_select": ["somebody else"]}),
        server.add_task(metadata={"worker_select": "w1"}),
        server.add_task(category="git"),
    ]
    with server.guard:
        for task in tasks:
            server.model._push(server.model.connections[0], "run", [server.model.tasks[task]])
    while kit.metrics.snapshot().get("events_not_mine", 0) < 3:
        threading.Event().wait(0.01)
    assert {server.task(task)["status"] for task in tasks} == {"pending"}


def test_a_lost_result_is_sent_again_until_it_is_read(server: MemoryServer, start: Start) -> None:  # G2
    start()
    server.model.faults.add(Fault("update failed *", DISCARD, nth=1))
    task = server.add_task(command="exit 4")
    server.offer(task)
    assert server.wait_for(task, *OVER, timeout=10)["status"] == "failed"


def test_a_lost_start_keeps_the_process_from_starting(server: MemoryServer, start: Start, tmp_path: Path) -> None:  # G4
    start()
    server.model.faults.add(Fault("update running *", DISCARD))
    task = server.add_task(command=f"touch {tmp_path}/witness")
    server.offer(task)
    while len(server.model.history.of("update lost", task)) < 2:
        threading.Event().wait(0.01)
    assert not (tmp_path / "witness").exists()
    server.model.faults.clear()
    assert server.wait_for(task, *OVER, timeout=10)["status"] == "success"
    assert (tmp_path / "witness").exists()


def test_a_log_whose_answers_are_lost_is_neither_lost_nor_doubled(server: MemoryServer, start: Start) -> None:  # G38
    start()
    server.model.faults.add(Fault("tasklog/append *", LOST, nth=1))
    task = server.add_task(command="for i in 1 2 3 4; do echo line $i; sleep 0.4; done")
    server.offer(task)
    server.wait_for(task, *OVER, timeout=40)
    while server.log(task).count("\n") < 4:
        threading.Event().wait(0.05)
    assert server.log(task) == "".join(f"line {i}\n" for i in (1, 2, 3, 4))


def test_a_lost_lock_ends_the_task_where_nothing_else_protects_it(
    server: MemoryServer, start: Start
) -> None:  # G13, G7 of the runners
    start(limits=Limits(grace=0.5, acquire_ttl=3.0, lease_ttl=4.0, reconnect_cap=1.0, on_lost_lease="stop"))
    task = server.add_task(command="sleep 300")
    server.offer(task)
    server.wait_for(task, "running")
    with server.guard:
        server.model.locks.steal(f"task:lock:{task}")
    row = server.wait_for(task, *OVER, timeout=10)
    assert row["status"] == "error"
    assert "lease_lost" in row["output"]


def test_an_end_that_the_server_holds_is_not_overwritten_and_ends_the_task(
    server: MemoryServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:  # G3
    kit = start()
    task = server.add_task(command="sleep 300")
    server.offer(task)
    server.wait_for(task, "running")
    while kit.worker.table.find(task).phase != "running":  # type: ignore[union-attr]
        threading.Event().wait(0.01)
    with server.guard:
        server.model.end(task, "canceled")
    kit.worker.recovery.wake()
    while kit.worker.table.find(task) is not None:
        threading.Event().wait(0.01)
    assert server.task(task)["status"] == "canceled"


def test_a_full_worker_refuses_and_takes_the_task_later(
    server: MemoryServer, start: Start
) -> None:  # G11 of the runners
    kit = start(limits=Limits(concurrency=1, grace=0.5, drain=5.0))
    first, second = server.add_task(command="sleep 0.5"), server.add_task(command="true")
    server.offer(first)
    server.wait_for(first, "running")
    server.offer(second)
    assert server.wait_for(second, *OVER, timeout=10)["status"] == "success"
    assert kit.metrics.snapshot()["events_refused"] >= 1


def test_shutdown_hands_the_reason_on_and_leaves_nothing(server: MemoryServer, start: Start) -> None:  # G35
    kit = start()
    task = server.add_task(command="echo begun; sleep 300")
    server.offer(task)
    while "begun" not in server.log(task):
        threading.Event().wait(0.01)
    assert kit.stop()
    assert server.task(task)["status"] == "error"
    assert "shuts down" in server.log(task)


def test_shutdown_waits_for_what_is_nearly_over(server: MemoryServer, start: Start) -> None:
    kit = start()
    task = server.add_task(command="sleep 0.6; echo done")
    server.offer(task)
    server.wait_for(task, "running")
    assert kit.stop(hurry=False)
    assert server.task(task)["status"] == "success"


def test_the_books_balance(server: MemoryServer, start: Start) -> None:  # G86
    kit = start()
    tasks = [server.add_task(command=command) for command in ("true", "exit 1", "echo '{\"a\":1}'", "kill -9 $$")]
    server.offer(*tasks)
    assert [server.wait_for(task, *OVER)["status"] for task in tasks] == ["success", "failed", "success", "failed"]
    assert output(server, tasks[2]) == {"a": 1, "exit_code": 0}
    assert kit.worker.delivery.empty.wait(5)
    assert kit.stop()
    seen = kit.metrics.snapshot()
    assert (seen["events_executed"], seen["tasks_settled"]) == (4, 4)


def test_many_starts_are_confirmed_with_few_requests(server: MemoryServer, registry: RunnerRegistry) -> None:  # G4
    way, asked = server.way(), Counter[str]()
    way.conditions.delay = lambda: 0.02
    plain = way.request

    def counting(method: str, path: str, *rest: Any) -> Any:
        asked[f"{method} {'one' if path.strip('/').count('/') else 'list'}" if path.startswith("/task/") else path] += 1
        return plain(method, path, *rest)

    way.request = counting  # type: ignore[method-assign]
    kit = WorkerKit(way, registry)
    kit.worker.start()
    assert kit.worker.link.up.wait(5)
    tasks = [server.add_task(command="true") for _ in range(50)]
    server.offer(*tasks)
    assert {server.wait_for(task, *OVER)["status"] for task in tasks} == {"success"}
    assert kit.stop()
    assert 50 <= asked["GET one"] < 75  # each is read once before it is announced; more only around the crowd's edges
    assert asked["GET list"]


def test_a_task_for_which_there_is_no_thread_is_taken_later(
    server: MemoryServer, start: Start, mocker: MockerFixture
) -> None:  # G36
    kit = start()
    begin = threading.Thread.start

    def no_room(thread: threading.Thread) -> None:
        if thread.name.startswith("task-"):
            raise RuntimeError("can't start new thread")
        begin(thread)

    task = server.add_task(command="true")
    mocker.patch.object(threading.Thread, "start", no_room)
    server.offer(task)
    wait_until(lambda: kit.metrics.snapshot().get("events_refused"), "the offer is refused")
    mocker.stopall()
    server.offer(task)
    assert server.wait_for(task, *OVER)["status"] == "success"
