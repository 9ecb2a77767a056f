"""A whole worker in a test, over a server in memory: the real core on real threads, with runners of yours.

    def test_my_runner_is_stopped() -> None:
        registry = RunnerRegistry()
        registry.register("mine", MyRunner)
        with memory_worker(registry) as server:
            task = server.add("something", category="mine")
            server.wait_for(task, Status.RUNNING)
            server.stop(task)
            server.wait_for(task, Status.STOPPED)
            assert server.reports(task)[-1].end_reason is EndReason.STOPPED

``memory_worker`` is for runners; ``running_worker`` for a transport of yours, over which the same whole worker runs.
The fixture ``cronjob_worker`` of the pytest plug-in does the same as the block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from adapters.config.load import defaults
from adapters.guardian.unguarded import NoWatchdog
from adapters.journal.memory import MemoryJournal
from adapters.memory.server import MemoryServer
from adapters.observability.metrics import MemoryMetrics
from adapters.process.orphans import NoOrphans
from adapters.process.ports import Command, Exit, Processes
from adapters.runtime.threads import ThreadRuntime
from adapters.spool.memory import MemorySpool
from application.counters import unaccounted
from application.ports import Disk, Identity, Limits, LinkTimes, Runtime, Server, Watchdog
from application.worker import Worker
from bootstrap import WorkerContainer
from domain.runner import CancelToken, RunnerRegistry

ID = "5f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c11"


class NoProcesses:
    """For runners that bring what they run with."""

    def when_dead(self, tell: Callable[[BaseException], None]) -> None:
        """Nothing here can die."""

    def run(self, command: Command, cancel: CancelToken) -> Exit:
        raise NotImplementedError("this worker has no processes: give it a Supervisor, or the runner one of its own")

    def close(self) -> None:
        """Nothing to end."""


@dataclass(frozen=True, slots=True)
class Around:
    """What a worker in a test has beside its server. ``root`` is where tasks work that ask for no other directory."""

    runtime: Runtime = field(default_factory=ThreadRuntime)
    metrics: MemoryMetrics = field(default_factory=MemoryMetrics)
    disk: Disk = field(default_factory=lambda: Disk(journal=MemoryJournal(), spool=MemorySpool()))
    watchdog: Watchdog = field(default_factory=NoWatchdog)
    limits: Limits = field(default_factory=lambda: Limits(grace=0.5, drain=5.0))
    root: Path = Path()
    processes: Processes = field(default_factory=NoProcesses)


def assemble(server: Server, registry: RunnerRegistry, identity: Identity, around: Around) -> Worker:
    """The worker over ``server``, not started yet: the program's own parts, with others in the place of some."""
    parts = WorkerContainer(loaded=defaults({"worker.working_dir": str(around.root)}))
    parts.runtime.override(around.runtime)
    parts.metrics.override(around.metrics)
    parts.orphans.override(NoOrphans())
    parts.watcher.override(around.watchdog)
    parts.journal.override(around.disk.journal)
    parts.spool.override(around.disk.spool)
    parts.transport.override(server)
    parts.identity.override(identity)
    parts.limits.override(around.limits)
    parts.runners.override(registry)
    parts.processes.override(around.processes)
    return parts.worker()


def end(worker: Worker, metrics: MemoryMetrics, hurry: bool = True) -> bool:
    """Shut down; True if nothing was left behind. Fails where a task is not accounted for (G86)."""
    clean = worker.shutdown(lambda: hurry)
    lost = unaccounted(metrics.snapshot(), worker.delivery.waiting())
    assert not lost, lost
    return clean


@contextmanager
def running_worker(server: Server, registry: RunnerRegistry, around: Around | None = None) -> Iterator[Worker]:
    """A worker that is connected to ``server``, of any transport, and ends with the block.

    It takes what ``registry`` has runners for.
    """
    around = around or Around()
    identity = Identity(ID, "w1", tasks=tuple(registry.list()))
    worker = assemble(replace(server, times=LinkTimes(reconnect_cap=1.0)), registry, identity, around)
    worker.start()
    try:
        assert worker.link.up.wait(10.0), "the worker did not connect within 10 s"
        yield worker
    finally:
        end(worker, around.metrics)


@contextmanager
def memory_worker(registry: RunnerRegistry, around: Around | None = None) -> Iterator[MemoryServer]:
    """A worker that is connected to a server in memory, which it gives: add tasks there, and look what was told."""
    around = around or Around()
    server = MemoryServer(around.runtime)
    with running_worker(server.server(), registry, around):
        yield server
