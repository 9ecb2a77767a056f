"""A whole worker over the modelled API server; ``whole_worker`` has one over any transport."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path

from adapters.guardian.unguarded import NoWatchdog
from adapters.journal.memory import MemoryJournal
from adapters.observability.metrics import MemoryMetrics
from adapters.runtime.threads import ThreadRuntime
from adapters.spool.memory import MemorySpool
from adapters.testkit.model.network import MemoryNetwork, MemoryServer
from adapters.testkit.model.stream import server_of
from adapters.testkit.whole_worker import Around, assemble, end
from application.ports import (
    Disk,
    Identity,
    Journal,
    Limits,
    LinkTimes,
    LogSpool,
    Runtime,
    Watchdog,
)
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

    def __post_init__(self) -> None:
        runtime: Runtime = self.network.runtime
        self.metrics = MemoryMetrics()
        if isinstance(self.spool, MemorySpool):
            self.spool.take_over()
        self.server = server_of(self.network, self.metrics)
        disk = Disk(journal=self.journal, spool=self.spool)
        around = Around(runtime, self.metrics, disk, self.watchdog, self.limits, self.root)
        self.worker = assemble(replace(self.server, times=self.times), self.registry, self.identity, around)

    def stop(self, force: bool = True) -> bool:
        return end(self.worker, self.metrics, force)


def memory_server() -> MemoryServer:
    """A started memory server on real threads; the caller closes it."""
    server = MemoryServer(ThreadRuntime())
    server.start()
    return server
