"""A whole worker in virtual time over a server in memory that confirms what it is told, or over any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

from adapters.guardian.unguarded import NoWatchdog
from adapters.journal.memory import MemoryJournal
from adapters.memory.server import MemoryServer
from adapters.observability.metrics import MemoryMetrics
from adapters.process.orphans import NoOrphans
from adapters.spool.memory import MemorySpool
from adapters.testkit.simulation import SimNode, Simulation
from application.border import guarded
from application.counters import unaccounted
from application.execution import Contexts, Execution
from application.ports import Disk, Host, Identity, Limits, Node, Server
from application.worker import Worker
from domain.result import EndReason, Result
from domain.runner import ExecutionContext, RunnerRegistry
from domain.status import Status

IDENTITY = Identity("5f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c11", "w1", tasks=("fake",))


class Sleeper:
    """A task that prints a line, sleeps as many seconds as its command says, and obeys."""

    status = Status.PENDING
    result: Result | None = None

    def __init__(self, node: SimNode, started: list[str]) -> None:
        self._asked = node.event()
        self._started = started

    def parse_args(self, command: str, args: str) -> None:
        self._seconds = float(command)

    def set_timeout(self, seconds: float | None) -> None: ...

    def execute(self, context: ExecutionContext | None = None) -> Result:
        assert context is not None
        self._started.append(context.task_id)
        context.log(b"at work\n")
        if self._asked.wait(self._seconds):
            return Result(Status.STOPPED, EndReason.STOPPED)
        return Result(Status.SUCCESS, EndReason.COMPLETED, output="done")

    def stop(self) -> None:
        self._asked.set()

    kill = stop

    def cleanup(self) -> None: ...


class Scene:
    """``change`` puts another server in the place of the one in memory, or of parts of it. The worker starts at once."""

    def __init__(
        self,
        limits: Limits | None = None,
        change: Callable[[Server], Server] = lambda server: server,
        seed: int = 1,
        redact: Callable[[str], str] = lambda text: text,
    ) -> None:
        self.sim = Simulation(seed)
        self.node = node = self.sim.node("worker")
        self.memory = MemoryServer(self.sim.node("server"))
        self.started: list[str] = []
        self.journal, self.spool, self.metrics = MemoryJournal(), MemorySpool(), MemoryMetrics()
        registry = RunnerRegistry()
        registry.register("fake", lambda: Sleeper(node, self.started))
        server = guarded(change(self.offered()), redact)
        contexts = Contexts(Path(), server.credentials, server.approvals)
        self.worker = Worker(
            host=Host(node, self.metrics, NoOrphans(), NoWatchdog()),
            disk=Disk(self.journal, self.spool),
            server=server,
            node=Node(IDENTITY, limits or Limits(concurrency=10, grace=0.5, drain=5.0)),
            execution=Execution(node, registry, contexts),
            redact=redact,
        )
        node.start("worker", self.worker.start)

    def offered(self) -> Server:
        return self.memory.server()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sim.close()

    def add(self, command: str = "1", **fields: object) -> str:
        return self.memory.add(command, category="fake", **fields)

    def live(self, seconds: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Let ``seconds`` pass, or less where ``done`` holds before; returns whether it does."""
        return self.sim.run(done, seconds)

    def connected(self) -> bool:
        return self.live(60.0, self.worker.link.up.is_set)

    def end(self) -> bool:
        """Shut the worker down; whether nothing was left behind. Each offer is accounted for (G86)."""
        clean: list[bool] = []
        self.node.start("end", lambda: clean.append(self.worker.shutdown(lambda: False)))
        assert self.live(120.0, lambda: bool(clean)), "it does not end"
        lost = unaccounted(self.metrics.snapshot(), self.worker.delivery.waiting())
        assert not lost, lost
        return clean[0]
