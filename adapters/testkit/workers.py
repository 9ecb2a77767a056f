"""A whole worker in this process over the memory server: for tests, and for people who try things out."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from adapters.guardian.unguarded import NoWatchdog
from adapters.journal.memory import MemoryJournal
from adapters.observability.metrics import MemoryMetrics
from adapters.process.orphans import NoOrphans
from adapters.runtime.threads import ThreadRuntime
from adapters.spool.memory import MemorySpool
from adapters.testkit.model.network import MemoryNetwork, MemoryServer
from adapters.testkit.model.stream import server_of
from application.counters import unaccounted
from application.execution import Contexts, Execution
from application.ports import (
    Disk,
    Host,
    Identity,
    Journal,
    Limits,
    LinkTimes,
    LogSpool,
    Node,
    Runtime,
    Watchdog,
)
from application.worker import Worker
from domain.runner import RunnerRegistry


@dataclass
class WorkerKit:
    """One worker over one network to a memory server. ``journal`` and ``spool`` may be those of a previous run."""

    network: MemoryNetwork
    registry: RunnerRegistry
    limits: Limits = field(default_factory=lambda: Limits(grace=0.5, drain=5.0))
    times: LinkTimes = field(default_factory=lambda: LinkTimes(reconnect_cap=1.0))
    identity: Identity = field(
        default_factory=lambda: Identity(str(uuid.uuid4()), "w1", tasks=("command", "default", "fake"))
    )
    journal: Journal = field(default_factory=MemoryJournal)
    spool: LogSpool = field(default_factory=MemorySpool)
    watchdog: Watchdog = field(default_factory=NoWatchdog)
    root: Path = Path()
    redact: Callable[[str], str] = lambda text: text

    def __post_init__(self) -> None:
        runtime: Runtime = self.network.runtime
        self.metrics = MemoryMetrics()
        if isinstance(self.spool, MemorySpool):
            self.spool.take_over()
        self.server = server_of(self.network, self.metrics)
        contexts = Contexts(self.root, self.server.credentials, self.server.approvals)
        self.worker = Worker(
            host=Host(runtime=runtime, metrics=self.metrics, orphans=NoOrphans(), watchdog=self.watchdog),
            disk=Disk(journal=self.journal, spool=self.spool),
            server=replace(self.server, times=self.times),
            node=Node(self.identity, self.limits),
            execution=Execution(runtime, self.registry, contexts),
            redact=self.redact,
        )

    def stop(self, force: bool = True) -> bool:
        clean = self.worker.shutdown(lambda: force)
        lost = unaccounted(self.metrics.snapshot(), self.worker.delivery.waiting())
        assert not lost, lost  # at the end of every test with a whole worker (G86)
        return clean


def memory_server() -> MemoryServer:
    """A started memory server on real threads; the caller closes it."""
    server = MemoryServer(ThreadRuntime())
    server.start()
    return server
