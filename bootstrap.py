"""The composition root, where ports meet adapters, and the entry point of the program.

The process that a person starts becomes the guardian, which needs the standard library only: that is asked first.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # a json.py that lies beside this file must not stand in for the real one (G84)

from importlib.util import find_spec
from pathlib import Path

# An installed one is a package, for its types.
HOME = Path(__file__).resolve().parents[Path(__file__).name == "__init__.py"]
if __name__ == "__main__":
    sys.path.insert(next((at for at, it in enumerate(sys.path) if it.endswith("-packages")), len(sys.path)), str(HOME))
for _name in ("domain", "application", "adapters"):  # what others have installed may be called so too
    _there = str(getattr(find_spec(_name), "origin", None))
    if Path(_there).resolve().parent != (HOME / _name).resolve():
        sys.stderr.write(f"{_there} stands in the place of {HOME / _name}: install the worker alone, as by pipx\n")
        sys.exit(78)
if __name__ == "__main__":
    from adapters.guardian.entry import enter

    enter(sys.argv[1:], HOME)

from contextlib import ExitStack, closing

from dependency_injector.containers import DeclarativeContainer
from dependency_injector.providers import Dependency, Provider, Self, ThreadSafeSingleton

from adapters.cli.program import run_command
from adapters.config.loaded import Loaded
from adapters.config.plugins import find_journal
from adapters.guardian.entry import ensure_guardian
from adapters.guardian.link import Watcher
from adapters.guardian.observers import Observers
from adapters.guardian.unguarded import NoWatchdog
from adapters.observability.metrics import MemoryMetrics
from adapters.observability.redact import RedactedCredentials, Redactor, redactor_of
from adapters.observability.stacks import stacks
from adapters.plugin import Surroundings
from adapters.process.cgroups import open_cgroups
from adapters.process.orphans import orphans_of, owner_of
from adapters.process.ports import Processes
from adapters.process.supervisor import Supervisor
from adapters.process.temporary_files import prefix_of
from adapters.runners.builtin import all_runners
from adapters.runners.command import ProcessOptions
from adapters.runners.container import OrphanContainers, Owner
from adapters.runtime.signals import SignalFlags
from adapters.runtime.threads import ThreadRuntime
from adapters.spool.file import FileSpool
from adapters.state.directory import PauseMark, take_state_dir
from adapters.state.identity import default_name, worker_id
from application.border import guarded
from application.execution import Contexts, Execution
from application.ports import Disk, Host, Identity, Journal, Limits, LogSpool, Metrics, Node, Runtime
from application.ports.server import Server
from application.ports.watch import OrphanProcesses
from application.service import Service
from application.worker import Worker
from domain.runner import CredentialSource, RunnerRegistry


def make_state_dir(c: WorkerContainer) -> Path:
    return take_state_dir(c.loaded(), c.watcher(), c.signals(), c.stack())


def make_surroundings(c: WorkerContainer) -> Surroundings:
    return Surroundings(c.loaded(), c.runtime(), c.metrics(), c.state_dir(), c.stack(), c.redactor().add)


def open_transport(c: WorkerContainer) -> Server:
    return c.loaded().transport.open(make_surroundings(c))


def guard_server(c: WorkerContainer) -> Server:
    return guarded(c.transport(), c.redactor().text)


def open_journal(c: WorkerContainer) -> Journal:
    return find_journal(c.loaded().settings.journal).open(make_surroundings(c))


def open_spool(c: WorkerContainer) -> LogSpool:
    limits = c.loaded().settings.execution
    spool = FileSpool(c.state_dir() / "logs", limits.log_limit, limits.log_quota, c.redactor().stream)
    return c.stack().enter_context(closing(spool))


def make_processes(c: WorkerContainer) -> Processes:
    owner = owner_of(c.state_dir())
    observers = Observers(c.journal(), c.watcher())
    return c.stack().enter_context(closing(Supervisor(observers, owner, open_cgroups(c.loaded().cgroup, owner))))


def make_owner(c: WorkerContainer) -> Owner:
    identity = worker_id(c.state_dir(), c.loaded().settings.worker.id)
    return Owner(identity, c.state_dir() / "engines", prefix_of(owner_of(c.state_dir())))


def make_options(c: WorkerContainer) -> ProcessOptions:
    execution = c.loaded().settings.execution
    return ProcessOptions(execution.grace, execution.memory_limit, c.server().secrets, temporary=c.owner().temporary)


def make_runners(c: WorkerContainer) -> RunnerRegistry:
    return all_runners(c.loaded(), c.problems(), c.options(), c.processes(), c.owner())


def make_identity(c: WorkerContainer) -> Identity:
    identity = c.owner().worker_id
    return c.loaded().identity(identity, default_name(identity), c.runners(), c.problems())


def make_credentials(c: WorkerContainer) -> CredentialSource:
    return RedactedCredentials(c.server().credentials, c.redactor())


def make_orphan_containers(c: WorkerContainer) -> OrphanContainers:
    found = OrphanContainers(c.owner(), c.credentials(), c.processes().run, c.options().inherited)
    return c.stack().enter_context(closing(found))


def make_execution(c: WorkerContainer) -> Execution:
    settings, ask = c.loaded().settings, c.server().approvals
    contexts = Contexts(Path(settings.worker.working_dir).absolute(), c.credentials(), ask, c.redactor().add)
    return Execution(c.runtime(), c.runners(), contexts, settings.execution.default_timeout)


def make_worker(c: WorkerContainer) -> Worker:
    worker = Worker(
        host=Host(runtime=c.runtime(), metrics=c.metrics(), orphans=c.orphans(), watchdog=c.watcher()),
        disk=Disk(journal=c.journal(), spool=c.spool()),
        server=c.server(),
        node=Node(c.identity(), c.limits()),
        execution=c.execution(),
        redact=c.redactor().text,
    )
    c.processes().when_dead(worker.loops.fail)
    return worker


def make_service(c: WorkerContainer) -> Service:
    return Service(c.worker(), c.signals(), PauseMark(c.state_dir()), c.watcher(), stacks)


class WorkerContainer(DeclarativeContainer):
    """Every port, and the adapter behind it, made once, when it is first asked for. ``stack`` closes them, last first.

    A program of your own overrides a provider before it calls ``main``.
    """

    __self__ = Self()
    loaded: Provider[Loaded] = Dependency(instance_of=Loaded)
    stack: Provider[ExitStack] = ThreadSafeSingleton(ExitStack)
    problems: Provider[list[str]] = ThreadSafeSingleton(list)  # told at the start, and no reason not to start
    runtime: Provider[Runtime] = ThreadSafeSingleton(ThreadRuntime)
    metrics: Provider[Metrics] = ThreadSafeSingleton(MemoryMetrics)
    redactor: Provider[Redactor] = ThreadSafeSingleton(redactor_of, loaded)
    state_dir: Provider[Path] = ThreadSafeSingleton(make_state_dir, __self__)
    watcher: Provider[Watcher] = ThreadSafeSingleton(NoWatchdog)
    signals: Provider[SignalFlags] = ThreadSafeSingleton(SignalFlags)
    transport: Provider[Server] = ThreadSafeSingleton(open_transport, __self__)
    server: Provider[Server] = ThreadSafeSingleton(guard_server, __self__)  # the same behind its border
    journal: Provider[Journal] = ThreadSafeSingleton(open_journal, __self__)
    spool: Provider[LogSpool] = ThreadSafeSingleton(open_spool, __self__)
    orphans: Provider[OrphanProcesses] = ThreadSafeSingleton(orphans_of, state_dir)
    processes: Provider[Processes] = ThreadSafeSingleton(make_processes, __self__)
    owner: Provider[Owner] = ThreadSafeSingleton(make_owner, __self__)
    options: Provider[ProcessOptions] = ThreadSafeSingleton(make_options, __self__)
    credentials: Provider[CredentialSource] = ThreadSafeSingleton(make_credentials, __self__)
    runners: Provider[RunnerRegistry] = ThreadSafeSingleton(make_runners, __self__)
    identity: Provider[Identity] = ThreadSafeSingleton(make_identity, __self__)
    limits: Provider[Limits] = ThreadSafeSingleton(Loaded.limits, loaded)
    orphan_containers: Provider[OrphanContainers] = ThreadSafeSingleton(make_orphan_containers, __self__)
    execution: Provider[Execution] = ThreadSafeSingleton(make_execution, __self__)
    worker: Provider[Worker] = ThreadSafeSingleton(make_worker, __self__)
    service: Provider[Service] = ThreadSafeSingleton(make_service, __self__)


def main(argv: list[str] | None = None, container: type[WorkerContainer] = WorkerContainer) -> int:
    """Run the command line over ``container``; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    ensure_guardian(arguments)
    return run_command(arguments, lambda loaded: container(loaded=loaded), Path(__file__))


if __name__ == "__main__":
    sys.exit(main())
