"""What every way to a server must do, whatever carries it. An adapter's test module subclasses TransportContract."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.testkit.model.controls import ServerControls
from adapters.wire.framing import SEPARATOR
from application.ports import Coordination, Identity, Report, Transport
from domain.errors import ConnectionLost, ConnectionRefused, NotFound, TransportError, WorkerError
from domain.status import Status
from domain.task import Action, Task, TaskEvent

CATEGORIES = ("command", "default")
DEADLINE = 5.0


def eventually(check: Callable[[], bool], what: str = "it did not come true") -> None:
    """Wait until ``check`` holds. Fails the test after five seconds."""
    until = time.monotonic() + DEADLINE
    while not check():
        if time.monotonic() > until:
            pytest.fail(what)
        time.sleep(0.005)


def someone(name: str = "w1") -> Identity:
    return Identity(str(uuid.uuid4()), name, tasks=CATEGORIES)


@dataclass
class WorkerLink:
    """One worker's two ports."""

    transport: Transport
    coordination: Coordination
    identity: Identity = field(default_factory=someone)

    def connect(self) -> None:
        self.transport.connect(self.identity)

    def events(self, amount: int) -> list[TaskEvent]:
        """Receive until ``amount`` tasks have come."""
        events: list[TaskEvent] = []
        until = time.monotonic() + DEADLINE
        while sum(len(event.tasks) for event in events) < amount:
            assert time.monotonic() < until, f"only {len(events)} events came"
            events += self.transport.receive(0.5)
        return events

    def tasks(self, amount: int) -> list[Task]:
        return [task for event in self.events(amount) for task in event.tasks]


@dataclass
class Site:
    """A server, and how to make a link to it that ends with the test. ``make`` takes the API key."""

    server: ServerControls
    make: Callable[[str], WorkerLink]
    ends: ExitStack

    def link(self, token: str | None = None) -> WorkerLink:
        made = self.make(self.server.model.token if token is None else token)
        self.ends.callback(made.transport.close)
        return made


class TransportContract:
    """Subclass it and give ``site``. ``network`` is False for an adapter that no network can cut."""

    network = True

    @pytest.fixture
    def site(self) -> Iterator[Site]:
        raise NotImplementedError

    @pytest.fixture
    def link(self, site: Site) -> WorkerLink:
        """A connected one."""
        link = site.link()
        link.connect()
        return link

    @pytest.fixture
    def server(self, site: Site) -> ServerControls:
        return site.server

    def needs_network(self) -> None:
        if not self.network:
            pytest.skip("this adapter has no network that could fail")

    # -- connecting --------------------------------------------------------------------------------------------------

    def test_connecting_registers_the_name_and_the_categories(self, link: WorkerLink, server: ServerControls) -> None:
        row = server.model.workers[link.identity.id]
        assert (row["name"], row["metadata"]["tasks"]) == (link.identity.name, list(CATEGORIES))

    def test_a_taken_name_is_refused(self, site: Site, link: WorkerLink) -> None:
        """The server itself says nothing at all (protocol 5.2)."""
        other = site.link()
        other.identity = someone(link.identity.name)
        with pytest.raises(ConnectionRefused):
            other.connect()

    def test_a_wrong_key_does_not_connect(self, site: Site) -> None:
        stranger = site.link("wrong")
        with pytest.raises(TransportError):
            stranger.connect()
        assert stranger.identity.id not in site.server.model.workers

    def test_an_unconnected_link_says_so(self, site: Site) -> None:
        with pytest.raises(ConnectionLost):
            site.link().transport.receive(0.1)

    # -- receiving ---------------------------------------------------------------------------------------------------

    def test_a_pending_task_arrives(self, link: WorkerLink, server: ServerControls) -> None:
        task_id = server.add_task(category="command", command="echo hi")
        server.offer(task_id)
        event = link.events(1)[0]
        assert event.action is Action.RUN
        assert [(task.id, task.command) for task in event.tasks] == [(task_id, "echo hi")]

    def test_what_waited_before_the_connection_arrives(self, site: Site) -> None:
        wanted = {site.server.add_task() for _ in range(3)}
        link = site.link()
        link.connect()
        assert {task.id for task in link.tasks(3)} == wanted

    def test_events_in_one_go_all_arrive_in_order(self, link: WorkerLink, server: ServerControls) -> None:
        wanted = [server.add_task() for _ in range(20)]
        server.offer(*wanted)
        assert [task.id for task in link.tasks(20)] == wanted

    def test_nothing_to_receive_is_an_empty_answer_in_time(self, link: WorkerLink) -> None:
        began = time.monotonic()
        assert not link.transport.receive(0.05)
        assert time.monotonic() - began < 1.0

    def test_a_stop_arrives(self, link: WorkerLink, server: ServerControls) -> None:
        task_id = self.running_task(link, server)
        assert server.stop_task(task_id, force=True) == 200
        assert [(event.action, event.tasks[0].id) for event in link.events(1)] == [(Action.KILL, task_id)]

    def test_a_bad_message_is_skipped(self, link: WorkerLink, server: ServerControls) -> None:
        self.needs_network()
        push(server, SEPARATOR + b'{"action": "run", "tasks": 7}' + SEPARATOR)
        task_id = server.add_task()
        server.offer(task_id)
        assert [task.id for task in link.tasks(1)] == [task_id]

    # -- the end of a connection ---------------------------------------------------------------------------------------

    def test_close_wakes_a_blocked_receive(self, link: WorkerLink) -> None:
        blocked, woken = threading.Event(), threading.Event()

        def receive() -> None:
            blocked.set()
            try:
                link.transport.receive(DEADLINE)
            except ConnectionLost:
                pass
            woken.set()

        thread = threading.Thread(target=receive)
        thread.start()
        blocked.wait(DEADLINE)
        link.transport.close()
        in_time = woken.wait(1.0)
        thread.join(2 * DEADLINE)
        assert in_time

    def test_close_twice_is_no_error(self, link: WorkerLink) -> None:
        link.transport.close()
        link.transport.close()

    def test_after_close_it_connects_again(self, link: WorkerLink, server: ServerControls) -> None:
        link.transport.close()
        link.connect()
        task_id = server.add_task()
        server.offer(task_id)
        assert [task.id for task in link.tasks(1)] == [task_id]

    def test_a_dropped_connection_is_told(self, link: WorkerLink, server: ServerControls) -> None:
        self.needs_network()
        server.drop_connections()
        with pytest.raises(ConnectionLost):
            link.transport.receive(DEADLINE)

    def test_sending_on_a_dropped_connection_fails_in_the_end(self, link: WorkerLink, server: ServerControls) -> None:
        self.needs_network()
        server.drop_connections()

        def fails() -> bool:
            try:
                link.transport.send(Report(str(uuid.uuid4()), Status.RUNNING))
            except ConnectionLost:
                return True
            return False

        eventually(fails, "send never noticed the dropped connection")

    def test_half_a_message_before_a_cut_is_forgotten(self, link: WorkerLink, server: ServerControls) -> None:
        """The first separator of the next connection must not complete it (G48)."""
        self.needs_network()
        push(server, SEPARATOR + json.dumps({"action": "run", "tasks": [{"id": str(uuid.uuid4())}]}).encode())
        assert not link.transport.receive(0.1)
        server.drop_connections()
        with pytest.raises(ConnectionLost):
            link.transport.receive(DEADLINE)
        link.connect()
        task_id = server.add_task()
        server.offer(task_id)
        assert [task.id for task in link.tasks(1)] == [task_id]

    def test_a_ping_ends_the_silence(self, link: WorkerLink) -> None:
        self.needs_network()
        eventually(lambda: link.transport.silence() > 0.05)

        def renewed() -> bool:
            before = link.transport.silence()
            link.transport.ping()
            link.transport.receive(0.05)
            return link.transport.silence() < before

        eventually(renewed, "a ping did not end the silence")

    # -- reporting -----------------------------------------------------------------------------------------------------

    def test_running_names_the_worker(self, link: WorkerLink, server: ServerControls) -> None:
        row = server.task(self.running_task(link, server))
        assert (row["worker_id"], row["worker_name"]) == (link.identity.id, link.identity.name)

    def test_what_is_sent_is_read_back(self, link: WorkerLink, server: ServerControls) -> None:
        task_id = self.running_task(link, server)
        link.transport.send(Report(task_id, Status.SUCCESS, output='{"exit_code": 0}'))
        server.wait_for(task_id, "success", timeout=DEADLINE)
        task = link.coordination.fetch(task_id)
        assert (task.status, task.output, task.ended) == (Status.SUCCESS, '{"exit_code": 0}', True)

    def test_the_first_end_wins(self, link: WorkerLink, server: ServerControls) -> None:
        """G3, protocol 5.3."""
        task_id = self.running_task(link, server)
        link.transport.send(Report(task_id, Status.FAILED, output="first"))
        link.transport.send(Report(task_id, Status.SUCCESS, output="second"))
        self.settle(link, server)
        assert (server.task(task_id)["status"], server.task(task_id)["output"]) == ("failed", "first")

    def test_a_long_output_arrives_whole(self, link: WorkerLink, server: ServerControls) -> None:
        task_id, output = self.running_task(link, server), "0123456789" * 6000
        link.transport.send(Report(task_id, Status.SUCCESS, output=output))
        assert server.wait_for(task_id, "success", timeout=DEADLINE)["output"] == output

    def test_no_message_is_larger_than_the_server_and_its_proxies_take(
        self, link: WorkerLink, server: ServerControls
    ) -> None:
        """G53."""
        self.needs_network()
        task_id = self.running_task(link, server)
        link.transport.send(Report(task_id, Status.SUCCESS, output="\u4e2d" * 20_000))
        server.wait_for(task_id, "success", timeout=DEADLINE)
        sent = [record.detail for record in server.model.history.of("message")]
        assert all(it["size"] <= 4096 and it["ascii"] for it in sent)

    @settings(
        max_examples=15,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
    def test_any_text_survives(self, link: WorkerLink, server: ServerControls, text: str) -> None:
        task_id = self.running_task(link, server)
        link.transport.send(Report(task_id, Status.SUCCESS, output=text))
        assert server.wait_for(task_id, "success", timeout=DEADLINE)["output"] == text

    def test_a_whole_separator_in_the_output_survives(self, link: WorkerLink, server: ServerControls) -> None:
        task_id, output = self.running_task(link, server), json.dumps(f"a\0{SEPARATOR.decode()}b")
        link.transport.send(Report(task_id, Status.SUCCESS, output=output))
        assert server.wait_for(task_id, "success", timeout=DEADLINE)["output"] == output

    def test_an_output_beyond_the_column_is_lost_in_silence(self, link: WorkerLink, server: ServerControls) -> None:
        """A manner of the server that a worker must know of; nothing acknowledges a report (protocol 5.3)."""
        self.needs_network()
        task_id = self.running_task(link, server)
        link.transport.send(Report(task_id, Status.SUCCESS, output="x" * 65_536))
        self.settle(link, server)
        assert server.task(task_id)["status"] == "running"

    def test_a_report_of_an_unknown_task_is_not_answered(self, link: WorkerLink, server: ServerControls) -> None:
        link.transport.send(Report(str(uuid.uuid4()), Status.SUCCESS, output="{}"))
        self.settle(link, server)
        assert not link.transport.receive(0.05)

    # -- coordination --------------------------------------------------------------------------------------------------

    def test_a_lock_has_one_owner(self, link: WorkerLink) -> None:
        key = f"task:lock:{uuid.uuid4()}"
        assert link.coordination.acquire(key, 30, 5)
        assert link.coordination.acquire(key, 30, 5) is None

    def test_only_the_owner_refreshes_a_lock(self, link: WorkerLink) -> None:
        locks, key = link.coordination, f"task:lock:{uuid.uuid4()}"
        value = locks.acquire(key, 30, 5)
        assert value
        assert locks.refresh(key, value, 30, 5)
        assert not locks.refresh(key, "0" * 32, 30, 5)

    def test_a_lock_may_be_released_twice(self, link: WorkerLink) -> None:
        locks, key = link.coordination, f"task:lock:{uuid.uuid4()}"
        value = locks.acquire(key, 30, 5)
        assert value
        locks.release(key, value, 5)
        locks.release(key, value, 5)
        assert locks.acquire(key, 30, 5)

    def test_a_foreign_release_frees_nothing(self, link: WorkerLink) -> None:
        locks, key = link.coordination, f"task:lock:{uuid.uuid4()}"
        assert locks.acquire(key, 30, 5)
        locks.release(key, "0" * 32, 5)
        assert locks.acquire(key, 30, 5) is None

    def test_an_unknown_task_is_not_found(self, link: WorkerLink) -> None:
        with pytest.raises(NotFound):
            link.coordination.fetch(str(uuid.uuid4()))

    def test_a_log_grows_tells_its_size_and_is_written_anew(self, link: WorkerLink, server: ServerControls) -> None:
        task_id = self.running_task(link, server)
        assert link.coordination.read(task_id) is None
        assert link.coordination.append(task_id, "caf\u00e9\n") == 6
        assert link.coordination.append(task_id, "more\n") == 11
        assert link.coordination.read(task_id) == "caf\u00e9\nmore\n".encode()
        link.coordination.replace(task_id, "caf\u00e9s\n")
        assert server.log(task_id) == "caf\u00e9s\n"
        assert link.coordination.append(task_id, "x") == 8

    def test_of_worker_lists_what_runs_there(self, link: WorkerLink, server: ServerControls) -> None:
        server.add_task()
        wanted = {self.running_task(link, server) for _ in range(3)}
        listed = link.coordination.of_worker(link.identity.id, Status.RUNNING, 100)
        assert {task.id for task in listed} == wanted

    def test_an_unknown_category_is_not_found(self, link: WorkerLink) -> None:
        with pytest.raises(NotFound):
            link.coordination.category("nothing")

    def test_errors_of_the_other_end_are_ours(self, link: WorkerLink) -> None:
        with pytest.raises(WorkerError):
            link.coordination.fetch("not a uuid")

    # -- helpers -------------------------------------------------------------------------------------------------------

    def running_task(self, link: WorkerLink, server: ServerControls, **fields: Any) -> str:
        task_id = server.add_task(**fields)
        link.transport.send(Report(task_id, Status.RUNNING))
        server.wait_for(task_id, "running", timeout=DEADLINE)
        return task_id

    def settle(self, link: WorkerLink, server: ServerControls) -> None:
        """Return when all that was sent before has been processed: messages keep their order."""
        self.running_task(link, server)


def push(server: ServerControls, data: bytes) -> None:
    """Send raw bytes to the one connection, as no healthy server does."""
    with server.guard:
        (connection,) = server.model.connections
        connection.send_queue.append(data)
        connection.wake()
