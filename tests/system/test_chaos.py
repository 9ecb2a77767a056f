"""The real transport and a whole worker through a proxy that misbehaves (G45, G47, G48, G49)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.apiserver.http import ApiClient
from adapters.apiserver.locks import HttpGate
from adapters.apiserver.server import server_over
from adapters.apiserver.stream import LinkOptions, WebSocketTransport
from adapters.guardian.unguarded import NoWatchdog
from adapters.journal.memory import MemoryJournal
from adapters.observability.metrics import MemoryMetrics
from adapters.process.orphans import NoOrphans
from adapters.runners.base import BaseRunner
from adapters.runtime.threads import ThreadRuntime
from adapters.spool.memory import MemorySpool
from adapters.testkit.apiserver import SimulatedServer
from adapters.wire.endpoints import ApiAddress
from application.counters import unaccounted
from application.execution import Contexts, Execution
from application.ports import Disk, Host, Identity, Limits, LinkTimes, Node, Report, Stop, Verb
from application.worker import Worker
from domain.errors import ConnectionLost, TransportError
from domain.result import EndReason, Result
from domain.runner import ExecutionContext, RunnerRegistry
from tests.support.chaosproxy import ChaosProxy, Mode
from tests.support.judge import judge

# What a reset leaves half open in the server is closed by the garbage collector of its event loop.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

OVER = ("success", "failed", "error", "timeout", "stopped", "canceled")
TOKEN = "t0ken"
LIMITS = Limits(lease_ttl=20.0, acquire_ttl=8.0, drain=5.0, grace=0.5)
TIMES = LinkTimes(ping_interval=0.3, pong_timeout=0.5, reconnect_cap=0.2)
FOUND = TIMES.ping_interval + TIMES.pong_timeout + 2.0
MARGIN = 1.0  # seconds that a loaded machine may add
MODES = [
    (Mode.HOLE, 0), (Mode.HOLE_UP, 0), (Mode.HOLE_DOWN, 0), (Mode.REFUSE, 0), (Mode.RESET, 0), (Mode.SLOW, 30),
    (Mode.SLICE, 3), (Mode.CUT, 150), (Mode.DOUBLE, 0),
]  # fmt: skip


class WatchedTransport(WebSocketTransport):
    """Tells of each try to connect."""

    tried: threading.Event

    def connect(self, identity: Identity) -> None:
        self.tried.set()
        super().connect(identity)


class Lines(BaseRunner):
    """A task that writes a line each 20 ms, ``command`` of them, and obeys. Its process is told to the judge."""

    def __init__(self, server: SimulatedServer) -> None:
        super().__init__()
        self._server = server

    def parse_args(self, command: str, args: str) -> None:
        self._count = int(command)

    def run(self, context: ExecutionContext) -> Result:
        task = context.task_id
        with self._server.guard:
            self._server.model.note("process start", task, status=self._server.model.tasks[task]["status"])
        try:
            for number in range(self._count):
                if self.wait(0.02):
                    return self.cancelled()
                context.log(f"{number}\n".encode())
            return self.end(EndReason.COMPLETED)
        finally:
            with self._server.guard:
                self._server.model.note("process end", task)


class Whole:
    """A whole worker of this process behind the proxy."""

    def __init__(self, server: SimulatedServer, proxy: ChaosProxy, root: Path) -> None:
        self.server = server
        self.identity = Identity("5f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c11", "w1", tasks=("fake",))
        address = ApiAddress.parse(proxy.url)
        self.metrics, self.spool = MemoryMetrics(), MemorySpool()
        self.client = ApiClient(address, lambda: TOKEN, timeout=1.0)
        options = LinkOptions(connect_timeout=1.0, send_timeout=1.0, lock_ttl=2.0)
        self.transport = WatchedTransport(address, HttpGate(self.client), lambda: TOKEN, self.metrics, options)
        self.transport.tried = threading.Event()
        runtime = ThreadRuntime()
        self.ports = server_over(self.client, self.transport, runtime.now, TIMES)
        registry = RunnerRegistry()
        registry.register("fake", lambda: Lines(server))
        execution = Execution(runtime, registry, Contexts(root, self.ports.credentials, self.ports.approvals))
        self.worker = Worker(
            host=Host(runtime, self.metrics, NoOrphans(), NoWatchdog()),
            disk=Disk(MemoryJournal(), self.spool),
            server=self.ports,
            node=Node(self.identity, LIMITS),
            execution=execution,
            redact=lambda text: text,
        )

    def registered(self) -> bool:
        with self.server.guard:
            alive = [it for it in self.server.model.connections if it.open and it.worker_id == self.identity.id]
        return bool(alive) and self.worker.link.up.is_set()

    def stop(self) -> None:
        assert self.worker.shutdown(lambda: True)
        self.client.close()
        assert not unaccounted(self.metrics.snapshot(), self.worker.delivery.waiting())  # G86


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer(TOKEN) as made:
        yield made


@pytest.fixture
def proxy(server: SimulatedServer) -> Iterator[ChaosProxy]:
    with ChaosProxy("127.0.0.2", server.port) as made:
        yield made


@pytest.fixture
def whole(server: SimulatedServer, proxy: ChaosProxy, tmp_path: Path) -> Iterator[Whole]:
    made = Whole(server, proxy, tmp_path)
    made.worker.start()
    wait_until(made.registered, "the first registration")
    yield made
    proxy.mode(Mode.PASS)
    made.stop()


def wait_until(what: Callable[[], object], of: str, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, of
        threading.Event().wait(0.01)


class Traffic:
    """Reports up and events down all the time, as in a busy hour."""

    def __init__(self, whole: Whole, up: bool, down: bool) -> None:
        self._whole, self._up, self._down = whole, up, down
        self._task = whole.server.add_task(category="fake", command="1", status="success")
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._flow)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()

    def _flow(self) -> None:
        while not self._closing.wait(0.02):
            if self._down:
                push(self._whole.server, self._task)
            try:
                if self._up:
                    self._whole.ports.outcomes.progress(Report(self._task, Verb.PROGRESS), "")
            except TransportError:
                pass


def push(server: SimulatedServer, *tasks: str) -> None:
    """A stop of tasks that are over: an event that changes nothing."""
    with server.guard:
        for connection in server.model.connections:
            server.model._push(connection, "stop", [server.model.tasks[task] for task in tasks])


def push_in_pieces(server: SimulatedServer, task: str) -> None:
    """The same event as many small WebSocket messages, so that a cut leaves half of it in the decoder."""
    with server.guard:
        push(server, task)
        for connection in server.model.connections:
            whole = connection.send_queue.pop()
            connection.send_queue.extend(whole[at : at + 40] for at in range(0, len(whole), 40))
            connection.wake()


@pytest.mark.parametrize(
    ("hole", "up", "down"),
    [
        (Mode.HOLE, False, False),
        (Mode.HOLE, True, True),
        (Mode.HOLE_UP, False, False),
        (Mode.HOLE_UP, True, False),
        (Mode.HOLE_DOWN, False, False),
        (Mode.HOLE_DOWN, True, True),
    ],
)
def test_a_half_open_link_is_found_in_time_and_made_again(
    whole: Whole, proxy: ChaosProxy, hole: Mode, up: bool, down: bool
) -> None:  # G45, G47
    with Traffic(whole, up, down):
        whole.transport.tried.clear()
        proxy.mode(hole)
        began = time.monotonic()
        assert whole.transport.tried.wait(FOUND + MARGIN), "the dead link was not found"
        assert time.monotonic() - began <= FOUND + MARGIN
        proxy.mode(Mode.PASS)
        wait_until(whole.registered, "it is registered again")


@pytest.mark.parametrize(("mode", "amount"), MODES, ids=[mode for mode, _ in MODES])
def test_a_worker_is_registered_after_each_kind_of_trouble(
    whole: Whole, server: SimulatedServer, proxy: ChaosProxy, mode: Mode, amount: int
) -> None:  # G47
    proxy.mode(mode, amount)
    server.drop_connections()  # so that it has to connect in the middle of it
    if mode in (Mode.SLOW, Mode.SLICE, Mode.DOUBLE):
        wait_until(whole.registered, "it is registered in spite of it")
    else:
        wait_until(lambda: whole.metrics.snapshot().get("connects_failed", 0) >= 1, "a try failed")
        assert not whole.registered()
    proxy.mode(Mode.PASS)
    wait_until(whole.registered, "it is registered again")


@pytest.mark.parametrize("size", range(1, 8))
def test_events_and_reports_in_slices_arrive_whole(
    whole: Whole, server: SimulatedServer, proxy: ChaosProxy, size: int
) -> None:  # G49
    proxy.mode(Mode.SLICE, size)
    task = server.add_task(category="fake", command="3", name="日本" * 50)
    server.offer(task)
    assert server.wait_for(task, *OVER)["status"] == "success"
    wait_until(lambda: server.log(task) == "0\n1\n2\n", "the log is whole")
    assert whole.metrics.snapshot().get("events_invalid", 0) == 0


def test_nothing_of_a_cut_message_is_seen_on_the_next_connection(
    server: SimulatedServer, proxy: ChaosProxy
) -> None:  # G48
    address = ApiAddress.parse(proxy.url)
    client = ApiClient(address, lambda: TOKEN, timeout=2.0)
    metrics = MemoryMetrics()
    transport = WebSocketTransport(address, HttpGate(client), lambda: TOKEN, metrics)
    identity = Identity("5f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c12", "w2", tasks=("fake",))
    torn, good = (server.add_task(category="fake", name=name, status="success") for name in ("torn", "good"))
    try:
        for amount in range(1, 400, 11):
            transport.connect(identity)
            proxy.mode(Mode.CUT, amount)
            push_in_pieces(server, torn)
            with pytest.raises(ConnectionLost):
                transport.receive(1, 5.0)
            proxy.mode(Mode.PASS)
            transport.connect(identity)
            push(server, good)
            assert [event.task_id for event in transport.receive(1, 5.0) if isinstance(event, Stop)] == [good]
            assert transport.receive(1, 0) == []
            transport.close()
    finally:
        transport.close()
        client.close()
    assert metrics.snapshot().get("events_invalid", 0) == 0


def test_thirty_tasks_end_once_each_while_the_way_goes_through_every_trouble(
    whole: Whole, server: SimulatedServer, proxy: ChaosProxy
) -> None:
    made: list[str] = []
    for number, (mode, amount) in enumerate([*MODES, (Mode.PASS, 0)]):
        new = [server.add_task(category="fake", command=str(5 + 20 * (number % 3))) for _ in range(3)]
        made += new
        server.offer(*new)
        wait_until(lambda new=new: server.task(new[0])["status"] != "pending", "a task is taken")  # type: ignore[misc]
        tried = whole.metrics.snapshot().get("connects_failed", 0)
        proxy.mode(mode, amount)
        server.drop_connections()
        if mode not in (Mode.SLOW, Mode.SLICE, Mode.DOUBLE, Mode.PASS):
            wait_until(lambda tried=tried: whole.metrics.snapshot().get("connects_failed", 0) > tried, "it suffers")  # type: ignore[misc]
        proxy.mode(Mode.PASS)
        wait_until(whole.registered, f"it is registered after {mode}")
    for task in made:
        server.wait_for(task, *OVER)
    wait_until(lambda: not whole.worker.delivery.waiting() and not whole.spool.pending(), "all is delivered")
    with server.guard:
        assert judge(server.model, settled=True) == []
    ends = server.model.history.of("terminal")
    assert len(ends) == len({record.task for record in ends}) == len(made) == 30
