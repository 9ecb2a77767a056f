"""The composition root, where ports meet adapters, and the entry point of the program.

The process that a person starts becomes the guardian, which needs nothing but the standard library: that is why it is
asked first, before anything else is imported.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        # Python looks in this file's directory first: what somebody leaves there, json.py say, would stand in for the
        # standard library (G84).
        _home = sys.path.pop(0)
        sys.path.insert(next((at for at, it in enumerate(sys.path) if it.endswith("-packages")), len(sys.path)), _home)
    from adapters.guardian.entry import enter

    enter(sys.argv[1:])

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from dependency_injector import containers, providers

from adapters.cli import commands
from adapters.cli.execute import OneTask
from adapters.config.inspect import inspect
from adapters.config.load import load
from adapters.config.loaded import Loaded
from adapters.config.plugins import find_journal, load_runners
from adapters.guardian.entry import ensure_guardian
from adapters.guardian.link import Watcher, find_watcher
from adapters.guardian.observers import Observers
from adapters.local.credentials import LocalCredentials
from adapters.observability.logs import set_up
from adapters.observability.metrics import MemoryMetrics
from adapters.observability.redact import RedactedCredentials, Redactor, masked
from adapters.observability.stacks import stacks
from adapters.plugin import Surroundings
from adapters.process.cgroups import open_cgroups
from adapters.process.orphans import ProcessRemains, owner_of
from adapters.process.ports import Processes
from adapters.process.supervisor import Supervisor
from adapters.process.temporary_files import prefix_of
from adapters.runners.builtin import register_builtin
from adapters.runners.command import ProcessOptions
from adapters.runners.container import Leftovers, Owner
from adapters.runtime.signals import SignalFlags
from adapters.runtime.threads import ThreadRuntime
from adapters.spool.file import FileSpool
from adapters.state.directory import PauseMark, open_state_dir
from adapters.state.identity import default_name, inspect_state, private_directory, worker_id
from application.execution import Contexts, Execution
from application.ports import Identity, Journal, LogSpool, Metrics, Node, Ports, Remains, Runtime, Server
from application.run_once import run_once
from application.service import Service
from application.worker import Worker
from domain.errors import ConfigError
from domain.result import Result
from domain.runner import ApprovalDesk, CredentialSource, RunnerRegistry

VERSION = "0.1.0"
KILL_AND_FLUSH = 60.0  # seconds that ending may take beyond drain and grace: kill, tear down, flush
Singleton = providers.ThreadSafeSingleton


def make_redactor(c: WorkerContainer) -> Redactor:
    redactor = Redactor()
    redactor.add(*c.loaded().secret_values())
    return redactor


def make_state_dir(c: WorkerContainer) -> Path:
    return open_state_dir(c.loaded().path(c.loaded().settings.state_dir), c.stack())


def make_surroundings(c: WorkerContainer) -> Surroundings:
    return Surroundings(c.loaded(), c.runtime(), c.metrics(), c.state_dir(), c.stack(), c.redactor().add)


def open_server(c: WorkerContainer) -> Server:
    return c.loaded().transport.open(c.surroundings())


def open_journal(c: WorkerContainer) -> Journal:
    return find_journal(c.loaded().settings.journal).open(c.surroundings())


def open_spool(c: WorkerContainer) -> LogSpool:
    limits = c.loaded().settings.execution
    spool = FileSpool(c.state_dir() / "logs", limits.log_limit, limits.log_quota, c.redactor().stream)
    return c.stack().enter_context(closing(spool))


def make_orphans(c: WorkerContainer) -> Remains:
    return ProcessRemains(owner_of(c.state_dir()))


def make_processes(c: WorkerContainer) -> Processes:
    owner = owner_of(c.state_dir())
    groups = open_cgroups(c.loaded().cgroup, owner)
    return c.stack().enter_context(closing(Supervisor(Observers(c.journal(), c.watcher()), owner, groups)))


def make_owner(c: WorkerContainer) -> Owner:
    identity = worker_id(c.state_dir(), c.loaded().settings.worker.id)
    return Owner(identity, c.state_dir() / "engines", prefix_of(owner_of(c.state_dir())))


def make_options(c: WorkerContainer) -> ProcessOptions:
    execution = c.loaded().settings.execution
    return ProcessOptions(execution.grace, execution.memory_limit, c.server().secrets, temporary=c.owner().temporary)


def all_runners(
    loaded: Loaded,
    problems: list[str],
    options: ProcessOptions | None = None,
    processes: Processes | None = None,
    owner: Owner | None = None,
) -> RunnerRegistry:
    registry = register_builtin(loaded.settings.runners, loaded.path, options, processes, owner)
    problems += load_runners(registry, loaded.settings.runners.plugins)
    return registry


def make_runners(c: WorkerContainer) -> RunnerRegistry:
    return all_runners(c.loaded(), c.problems(), c.options(), c.processes(), c.owner())


def make_identity(c: WorkerContainer) -> Identity:
    identity = c.owner().worker_id
    return c.loaded().identity(identity, default_name(identity), c.runners(), c.problems())


def make_credentials(c: WorkerContainer) -> CredentialSource:
    return RedactedCredentials(c.server().coordination, c.redactor())


def find_approvals(c: WorkerContainer) -> ApprovalDesk | None:
    return c.server().coordination


def make_leftovers(c: WorkerContainer) -> Leftovers:
    found = Leftovers(c.owner(), c.credentials(), c.processes().run, c.options().inherited)
    return c.stack().enter_context(closing(found))


def make_execution(c: WorkerContainer) -> Execution:
    settings = c.loaded().settings
    contexts = Contexts(Path(settings.worker.working_dir).absolute(), c.credentials(), c.approvals(), c.redactor().add)
    return Execution(c.runtime(), c.runners(), contexts, settings.execution.default_timeout)


def make_worker(c: WorkerContainer) -> Worker:
    server = c.server()
    ports = Ports(
        runtime=c.runtime(),
        transport=server.transport,
        coordination=server.coordination,
        journal=c.journal(),
        spool=c.spool(),
        metrics=c.metrics(),
        remains=c.orphans(),
        warden=c.watcher(),
    )
    return Worker(ports, Node(c.identity(), c.loaded().limits(server.times)), c.execution(), c.redactor().text)


def make_service(c: WorkerContainer) -> Service:
    return Service(c.worker(), SignalFlags(), PauseMark(c.state_dir()), c.watcher(), stacks)


class WorkerContainer(containers.DeclarativeContainer):
    """Every port, and the adapter behind it. A program of your own overrides a provider before it calls ``main``.

    Each is made once, when it is first asked for. What has to be closed is closed by ``stack``, the last one first.
    """

    __self__ = providers.Self()
    loaded: providers.Provider[Loaded] = providers.Dependency(instance_of=Loaded)
    stack: providers.Provider[ExitStack] = Singleton(ExitStack)
    problems: providers.Provider[list[str]] = Singleton(list)  # told at the start, and no reason not to start
    runtime: providers.Provider[Runtime] = Singleton(ThreadRuntime)
    metrics: providers.Provider[Metrics] = Singleton(MemoryMetrics)
    redactor: providers.Provider[Redactor] = Singleton(make_redactor, __self__)
    state_dir: providers.Provider[Path] = Singleton(make_state_dir, __self__)
    watcher: providers.Provider[Watcher] = Singleton(find_watcher)
    surroundings: providers.Provider[Surroundings] = Singleton(make_surroundings, __self__)
    server: providers.Provider[Server] = Singleton(open_server, __self__)
    journal: providers.Provider[Journal] = Singleton(open_journal, __self__)
    spool: providers.Provider[LogSpool] = Singleton(open_spool, __self__)
    orphans: providers.Provider[Remains] = Singleton(make_orphans, __self__)
    processes: providers.Provider[Processes] = Singleton(make_processes, __self__)
    owner: providers.Provider[Owner] = Singleton(make_owner, __self__)
    options: providers.Provider[ProcessOptions] = Singleton(make_options, __self__)
    credentials: providers.Provider[CredentialSource] = Singleton(make_credentials, __self__)
    approvals: providers.Provider[ApprovalDesk | None] = Singleton(find_approvals, __self__)
    runners: providers.Provider[RunnerRegistry] = Singleton(make_runners, __self__)
    identity: providers.Provider[Identity] = Singleton(make_identity, __self__)
    leftovers: providers.Provider[Leftovers] = Singleton(make_leftovers, __self__)
    execution: providers.Provider[Execution] = Singleton(make_execution, __self__)
    worker: providers.Provider[Worker] = Singleton(make_worker, __self__)
    service: providers.Provider[Service] = Singleton(make_service, __self__)


class Program(commands.Program[Loaded]):
    """What the commands do, over a container."""

    def __init__(self, container: type[WorkerContainer]) -> None:
        self._container = container
        self.name = "python bootstrap.py" if Path(__file__).with_name("pyproject.toml").is_file() else "cronjob-worker"
        self.version = VERSION

    def load(self, file: str | None, assignments: Mapping[str, str]) -> Loaded:
        return load(file, assignments, program=Path(__file__))

    def run(self, loaded: Loaded) -> int:
        try:
            return self._run(loaded)
        except ConfigError as error:
            raise loaded.explain(error) from None

    def _run(self, loaded: Loaded) -> int:
        c, log = self._container(loaded=loaded), loaded.settings.log
        with c.stack():
            file = loaded.path(log.file) if log.file else None
            set_up(c.redactor(), log.level, log.format, file, (log.max_size, log.max_backups))
            service, limits = c.service(), c.loaded().limits(c.server().times)
            c.watcher().hello(limits.drain + limits.grace + KILL_AND_FLUSH)
            c.stack().callback(c.watcher().close)
            c.leftovers().start()
            where = f"{loaded.transport.name}, {loaded.transport.where(loaded)}; state in {c.state_dir()}"
            return service.run(f"cronjob-worker {VERSION}: {where}", c.problems())

    def runners(self, loaded: Loaded) -> tuple[list[str], list[str]]:
        problems: list[str] = []
        return all_runners(loaded, problems).list(), problems

    def check(self, load: Callable[[], Loaded]) -> list[str]:
        return inspect(load, all_runners, inspect_state)

    def execute(self, loaded: Loaded, task: OneTask) -> Result:
        c = self._container(loaded=loaded)
        credentials = LocalCredentials(loaded.path(loaded.settings.state_dir) / "credentials.json", os.environ)
        c.credentials.override(providers.Object(RedactedCredentials(credentials, c.redactor())))
        c.approvals.override(providers.Object(None))
        c.owner.override(providers.Object(Owner()))
        c.options.override(providers.Object(ProcessOptions(secrets=loaded.secret_values)))
        c.processes.override(Singleton(Supervisor))
        set_up(c.redactor(), "DEBUG" if loaded.settings.log.level == "DEBUG" else "WARN", "text", stream=sys.stderr)
        with closing(c.processes()), masked(c.redactor(), task.log) as log:
            result = run_once(c.execution(), task.task, log, c.redactor().text, task.token)
        for problem in c.problems():
            task.tell(problem)
        return result

    def pause(self, loaded: Loaded, reason: str) -> None:
        PauseMark(private_directory(loaded.path(loaded.settings.state_dir))).set(reason)

    def resume(self, loaded: Loaded) -> bool:
        return PauseMark(private_directory(loaded.path(loaded.settings.state_dir))).clear()


def main(argv: list[str] | None = None, container: type[WorkerContainer] = WorkerContainer) -> int:
    """Run the command line over ``container``; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    ensure_guardian(arguments)
    return commands.main(Program(container), arguments)


if __name__ == "__main__":
    sys.exit(main())
