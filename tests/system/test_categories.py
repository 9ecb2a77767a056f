"""Scripts that the server keeps for categories: they decide what a worker takes, and never end it (G82)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.process.supervisor import Supervisor
from adapters.runners.command import CommandRunner, ProcessOptions
from adapters.testkit.model.faults import REFUSE, Fault
from adapters.testkit.model.network import MemoryServer
from adapters.testkit.workers import WorkerKit
from application import categories
from application.ports import Identity, Limits
from domain.runner import RunnerRegistry

WORKER = "6f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c12"
Start = Callable[..., WorkerKit]


@pytest.fixture
def start(server: MemoryServer, tmp_path: Path) -> Iterator[Start]:
    processes = Supervisor()
    registry = RunnerRegistry()
    for category in ("command", "git"):
        registry.register(category, lambda: CommandRunner(processes, ProcessOptions(grace=0.2)))
    kits: list[WorkerKit] = []

    def make() -> WorkerKit:
        kit = WorkerKit(
            server.network(),
            registry,
            Limits(grace=0.2, drain=2.0, reconnect_cap=0.05),
            Identity(WORKER, "w1", tasks=("command", "git")),
            root=tmp_path,
        )
        kits.append(kit)
        kit.worker.start()
        return kit

    yield make
    for kit in kits:
        kit.stop()
    processes.close()


def scripts(server: MemoryServer, check: str = "", setup: str = "", teardown: str = "") -> None:
    with server.guard:
        server.model.categories["git"] = {"code": "git", "check": check, "setup": setup, "teardown": teardown}


def registered(server: MemoryServer) -> tuple[str, ...]:
    with server.guard:
        return next((it.tasks for it in server.model.connections if it.worker_id == WORKER and it.open), ())


def wait_until(what: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.01)


def test_a_category_without_scripts_is_taken(server: MemoryServer, start: Start) -> None:
    scripts(server, check="  ", setup="null")
    start()
    wait_until(lambda: registered(server) == ("command", "git"))


def test_a_failing_check_leaves_its_category_out_and_the_others_in(
    server: MemoryServer, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    scripts(server, check="echo no git here >&2; exit 3")
    start()
    wait_until(lambda: registered(server) == ("command",))
    left, taken = (server.add_task(category=it, command="true") for it in ("git", "command"))
    server.offer(left, taken)
    server.wait_for(taken, "success")
    assert server.task(left)["status"] == "pending"
    assert "tasks of category git are not taken: check ended with exit status 3 no git here" in caplog.text


def test_a_setup_makes_the_machine_ready_once_whatever_the_link_does(
    server: MemoryServer, start: Start, tmp_path: Path
) -> None:
    ready, count = tmp_path / "ready", tmp_path / "count"
    scripts(server, check=f"echo c >> {count}; test -e {ready}", setup=f"echo s >> {count}; touch {ready}")
    kit = start()
    for life in range(1, 51):
        wait_until(lambda life=life: kit.metrics.snapshot().get("connects", 0) >= life)  # type: ignore[misc]
        wait_until(lambda: registered(server) == ("command", "git"))
        server.drop_connections()
    assert count.read_text() == "c\ns\nc\n"


@pytest.mark.parametrize(
    ("check", "setup", "why"),
    [
        ("false", "exit 4", "setup ended with exit status 4"),
        ("false", "true", "check ended with exit status 1"),
        ("rm -f /no/such/file", "", "check ended with command 'rm' is blocked here (COMMAND_BLOCKED)"),
        ("sleep 1000 & sleep 1000", "", "check ended with timed out after 1 s"),
        ("yes | head -c 2000000; sleep 1000 & exit 9", "", "check ended with exit status 9"),
    ],
)
def test_scripts_that_fail_hang_fork_or_flood_disable_their_category_and_leave_nothing(
    server: MemoryServer,
    start: Start,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    check: str,
    setup: str,
    why: str,
) -> None:
    monkeypatch.setattr(categories, "SCRIPT_LIMIT", 1)
    scripts(server, check=check, setup=setup)
    start()
    wait_until(lambda: registered(server) == ("command",))
    assert f"tasks of category git are not taken: {why}" in caplog.text


def test_another_text_is_tried_at_the_next_connection_and_registered(server: MemoryServer, start: Start) -> None:
    scripts(server, check="false")
    start()
    wait_until(lambda: registered(server) == ("command",))
    scripts(server, check="true")
    server.drop_connections()
    wait_until(lambda: registered(server) == ("command", "git"))
    task = server.add_task(category="git", command="true")
    server.offer(task)
    server.wait_for(task, "success")


def test_a_machine_that_became_ready_is_found_by_its_check_alone(
    server: MemoryServer, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(categories, "PERIOD", 0.1)
    ready, setups = tmp_path / "ready", tmp_path / "setups"
    scripts(server, check=f"test -e {ready}", setup=f"echo s >> {setups}; false")
    start()
    wait_until(lambda: registered(server) == ("command",))
    ready.touch()
    wait_until(lambda: registered(server) == ("command", "git"))
    assert setups.read_text() == "s\n"


def test_while_the_server_tells_no_scripts_its_tasks_are_taken(server: MemoryServer, start: Start) -> None:
    scripts(server, check="false")
    server.model.faults.add(Fault("category/*", REFUSE, nth=1))
    kit = start()
    wait_until(lambda: registered(server) == ("command",))  # asked again once the link is up
    assert kit.metrics.snapshot()["connects"] == 2  # and registered with both before


def test_the_teardown_undoes_a_setup_of_this_life_at_its_end(
    server: MemoryServer, start: Start, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    scripts(server, check=f"test -e {ready}", setup=f"touch {ready}", teardown=f"mv {ready} {tmp_path}/gone")
    kit = start()
    wait_until(lambda: registered(server) == ("command", "git"))
    kit.stop(force=False)
    assert (tmp_path / "gone").exists()


def test_a_teardown_that_hangs_has_a_limit(
    server: MemoryServer,
    start: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # G35
    monkeypatch.setattr(categories, "TEARDOWN_LIMIT", 2.0)
    monkeypatch.setattr(categories, "SCRIPT_LIMIT", 5)
    ready = tmp_path / "ready"
    scripts(server, check=f"test -e {ready}", setup=f"touch {ready}", teardown="sleep 1000")
    kit = start()
    wait_until(lambda: registered(server) == ("command", "git"))
    kit.stop(force=False)
    assert "the teardown of category git failed: teardown ended with timed out after 1 s" in caplog.text


def test_where_nothing_was_set_up_nothing_is_torn_down(server: MemoryServer, start: Start, tmp_path: Path) -> None:
    scripts(server, check="true", setup="false", teardown=f"touch {tmp_path}/gone")
    kit = start()
    wait_until(lambda: registered(server) == ("command", "git"))
    kit.stop(force=False)
    assert not (tmp_path / "gone").exists()


def test_the_end_does_not_wait_for_a_script_that_hangs(server: MemoryServer, start: Start, tmp_path: Path) -> None:
    began = tmp_path / "began"
    scripts(server, check=f"touch {began}; sleep 1000")
    kit = start()
    wait_until(began.exists)
    assert kit.stop()
