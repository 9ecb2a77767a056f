"""The composition root, where ports meet adapters, and the entry point of the program.

The process that a person starts becomes the guardian, which needs the standard library only: that is asked first.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # a json.py that lies beside this file must not stand in for the real one (G84)

from importlib.util import find_spec
from pathlib import Path

HOME = Path(__file__).resolve().parent
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
from adapters.observability.redact import RedactedCredentials, Redactor
from adapters.observability.stacks import stacks
from adapters.plugin import Surroundings
from adapters.process.cgroups import open_cgroups
from adapters.process.orphans import ProcessOrphans, owner_of
from adapters.process.ports import Processes
from adapters.process.supervisor import Supervisor
from adapters.process.temporary_files import prefix_of
from adapters.runners.builtin import all_runners
from adapters.runners.command import ProcessOptions
from adapters.runners.container import Leftovers, Owner
from adapters.runtime.signals import SignalFlags
from adapters.runtime.threads import ThreadRuntime
from adapters.spool.file import FileSpool
from adapters.state.directory import PauseMark, take_state_dir
from adapters.state.identity import default_name, worker_id
from application.execution import Contexts, Execution
from application.ports import Disk, Host, Identity, Journal, LogSpool, Metrics, Node, OrphanProcesses, Runtime, Server
from application.service import Service
from application.worker import Worker
from domain.runner import ApprovalDesk, CredentialSource, RunnerRegistry


def make_redactor(c: WorkerContainer) -> Redactor:
    return Redactor(*c.loaded().secret_values())


def make_state_dir(c: WorkerContainer) -> Path:
    return take_state_dir(c.loaded(), c.watcher(), c.signals(), c.stack())


def make_surroundings(c: WorkerContainer) -> Surroundings:
    return Surroundings(c.loaded(), c.runtime(), c.metrics(), c.state_dir(), c.stack(), c.redactor().add)


def open_server(c: WorkerContainer) -> Server:
    return c.loaded().transport.open(make_surroundings(c))


def open_journal(c: WorkerContainer) -> Journal:
    return find_journal(c.loaded().settings.journal).open(make_surroundings(c))


def open_spool(c: WorkerContainer) -> LogSpool:
    limits = c.loaded().settings.execution
    spool = FileSpool(c.state_dir() / "logs", limits.log_limit, limits.log_quota, c.redactor().stream)
    return c.stack().enter_context(closing(spool))


def make_orphans(c: WorkerContainer) -> OrphanProcesses:
    return ProcessOrphans(owner_of(c.state_dir()))


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


def find_approvals(c: WorkerContainer) -> ApprovalDesk | None:
    return c.server().approvals


def make_leftovers(c: WorkerContainer) -> Leftovers:
    found = Leftovers(c.owner(), c.credentials(), c.processes().run, c.options().inherited)
    return c.stack().enter_context(closing(found))


def make_execution(c: WorkerContainer) -> Execution:
    settings = c.loaded().settings
    contexts = Contexts(Path(settings.worker.working_dir).absolute(), c.credentials(), c.approvals(), c.redactor().add)
    return Execution(c.runtime(), c.runners(), contexts, settings.execution.default_timeout)


def make_worker(c: WorkerContainer) -> Worker:
    worker = Worker(
        host=Host(runtime=c.runtime(), metrics=c.metrics(), orphans=c.orphans(), watchdog=c.watcher()),
        disk=Disk(journal=c.journal(), spool=c.spool()),
        server=c.server(),
        node=Node(c.identity(), c.loaded().limits()),
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
    redactor: Provider[Redactor] = ThreadSafeSingleton(make_redactor, __self__)
    state_dir: Provider[Path] = ThreadSafeSingleton(make_state_dir, __self__)
    watcher: Provider[Watcher] = ThreadSafeSingleton(NoWatchdog)
    signals: Provider[SignalFlags] = ThreadSafeSingleton(SignalFlags)
    server: Provider[Server] = ThreadSafeSingleton(open_server, __self__)
    journal: Provider[Journal] = ThreadSafeSingleton(open_journal, __self__)
    spool: Provider[LogSpool] = ThreadSafeSingleton(open_spool, __self__)
    orphans: Provider[OrphanProcesses] = ThreadSafeSingleton(make_orphans, __self__)
    processes: Provider[Processes] = ThreadSafeSingleton(make_processes, __self__)
    owner: Provider[Owner] = ThreadSafeSingleton(make_owner, __self__)
    options: Provider[ProcessOptions] = ThreadSafeSingleton(make_options, __self__)
    credentials: Provider[CredentialSource] = ThreadSafeSingleton(make_credentials, __self__)
    approvals: Provider[ApprovalDesk | None] = ThreadSafeSingleton(find_approvals, __self__)
    runners: Provider[RunnerRegistry] = ThreadSafeSingleton(make_runners, __self__)
    identity: Provider[Identity] = ThreadSafeSingleton(make_identity, __self__)
    leftovers: Provider[Leftovers] = ThreadSafeSingleton(make_leftovers, __self__)
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
