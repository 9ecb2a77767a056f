"""The composition root: the only place where ports meet adapters, and the entry point of the program.

The process that a person starts is the guardian; it imports nothing but the standard library, which is why everything
else is imported inside the functions below, in the child.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", False):
    # Python looks in this file's directory first: what somebody leaves there, json.py say, would stand in for the
    # standard library (G84). ``see_own_modules`` puts it behind that.
    del sys.path[0]

import contextlib
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapters.cli.commands import Program, Task
    from adapters.config.load import Loaded
    from adapters.guardian.link import GuardianLink
    from adapters.guardian.observers import Observers
    from adapters.observability.redact import Redactor
    from adapters.process.cgroups import Cgroups
    from adapters.process.ports import Processes
    from adapters.process.supervisor import Supervisor
    from adapters.runners.container import Leftovers, Owner
    from adapters.runtime.signals import Wishes
    from adapters.state.directory import PauseMark
    from application.ports import Coordination, Identity, Limits, Ports, Transport
    from application.worker import Worker
    from domain.result import Result
    from domain.runner import RunnerRegistry

ROOT = Path(__file__).resolve().parent
VERSION = "0.1.0"
KILL_AND_FLUSH = 60.0  # seconds that ending may take beyond drain and grace: kill, tear down, flush


def see_own_modules() -> None:
    """Find the program's own modules: behind the standard library, before what is installed."""
    if str(ROOT) not in sys.path:
        packages = (at for at, path in enumerate(sys.path) if path.endswith("-packages"))
        sys.path.insert(next(packages, len(sys.path)), str(ROOT))


if __name__ == "__main__":  # here, because an older Python would stumble over what follows
    see_own_modules()
    from adapters.guardian.interpreter import go_on_where_the_packages_are

    go_on_where_the_packages_are(ROOT)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if argv is None:
        start_well()
    see_own_modules()
    from adapters.guardian import guardian
    from adapters.guardian.link import link_from_environment

    guardian.forbid_inspection()
    if not runs_the_worker(arguments):
        from adapters.cli.commands import main as command_line

        return command_line(program(), arguments)
    link = link_from_environment()
    if link is None:
        from adapters.guardian.interpreter import safety_flags

        return guardian.Guardian([sys.executable, *safety_flags(), str(Path(__file__).resolve()), *arguments]).run()
    with contextlib.closing(link):
        try:
            os.environ.update(link.secrets())
            from adapters.cli.commands import main as command_line

            return command_line(program(link), arguments)
        except Exception as error:
            link.failed(error)
            raise


def start_well() -> None:
    """Start over, at most once, where this process was started in a way that breaks things everywhere.

    A standard descriptor that is closed would become that of the next file opened, and its stream is None; one of
    /dev/null takes its place. In a locale that is not UTF-8, texts of tasks could not be arguments, names of files or
    variables; Python's own UTF-8 mode is for that, and what tasks find in their environment stays as it is.
    """
    again, options = False, list[str]()
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number is this one
            again = True
    if sys.getfilesystemencoding() != "utf-8" and "utf8" not in sys._xoptions:
        again, options = True, ["-X", "utf8"]
    if again:
        os.execv(sys.executable, [sys.executable, *options, *sys.orig_argv[1:]])  # noqa: S606 - itself


def runs_the_worker(arguments: list[str]) -> bool:
    """True if the command line means ``run``: with that word, or without any command."""
    rest = iter(arguments)
    for word in rest:
        if word in ("--config", "--set"):
            next(rest, None)
        elif word in ("-h", "--help", "--version"):
            return False
        elif not word.startswith("-"):
            return word == "run" and not {"-h", "--help"} & set(rest)
    return True


def program(guardian: GuardianLink | None = None) -> Program:
    """What the commands need, over the real adapters."""
    from adapters.cli.commands import Program
    from adapters.config.load import load

    def runners(loaded: Loaded) -> tuple[list[str], list[str]]:
        registry, problems = make_registry(loaded, None, lambda: ())
        return registry.list(), problems

    return Program(
        name="python bootstrap.py" if (ROOT / "pyproject.toml").is_file() else "cronjob-worker",
        version=VERSION,
        load=lambda file, assignments: load(file, assignments, program=Path(__file__)),
        run=lambda loaded: run_worker(loaded, guardian),
        runners=runners,
        check=check,
        execute=execute_once,
        pause=lambda loaded, reason: pause_mark(loaded).set(reason),
        resume=lambda loaded: pause_mark(loaded).clear(),
    )


def check(loaded: Loaded) -> str:
    """What there is to say of settings that could be loaded. Raises ConfigError if the schedule is not right."""
    if loaded.settings.chosen_transport != "local":
        return "the settings are right"
    from adapters.local.schedule import read
    from application.ports import Identity
    from domain.errors import ConfigError

    worker = loaded.settings.worker
    path = loaded.path(loaded.settings.schedule.file)
    schedule = read(path, Identity(worker.id, worker.name, tasks=tuple(worker.tasks)))
    if schedule.problems:
        raise ConfigError("\n".join(schedule.problems))
    return f"the settings are right, and so is {path}"


def pause_mark(loaded: Loaded) -> PauseMark:
    from adapters.state.directory import PauseMark
    from adapters.state.identity import private_directory

    return PauseMark(private_directory(loaded.path(loaded.settings.state_dir)))


def make_registry(
    loaded: Loaded,
    processes: Processes | None,
    secrets: Callable[[], tuple[str, ...]],
    owner: Owner | None = None,
    temporary: str = "cronjob-",
) -> tuple[RunnerRegistry, list[str]]:
    """All runners by category, and a text for each plug-in that could not be loaded."""
    from adapters.config.plugins import load_plugins
    from adapters.runners.approval import ApprovalRunner
    from adapters.runners.command import CommandRunner, ProcessOptions
    from adapters.runners.container.runner import ContainerRunner
    from adapters.runners.database import DatabaseRunner
    from adapters.runners.file.runner import FileRunner
    from adapters.runners.git.runner import GitOptions, GitRunner
    from adapters.runners.guard import CommandGuard
    from adapters.runners.http import HttpRunner
    from adapters.runners.message import MessageRunner
    from adapters.runners.script import ScriptRunner
    from domain.runner import RunnerRegistry

    execution = loaded.settings.execution
    options = ProcessOptions(execution.grace, execution.memory_limit, secrets, temporary=temporary)
    guard = CommandGuard.from_environment(os.environ)
    registry = RunnerRegistry()
    for category in ("command", "default"):
        registry.register(category, lambda: CommandRunner(processes, options, guard))
    runners = loaded.settings.runners
    registry.register("script", lambda: ScriptRunner(processes, options, runners.script_dirs))
    registry.register("http", lambda: HttpRunner(runners.http_public_only))
    registry.register("message", lambda: MessageRunner(runners.ca_file))
    registry.register("approval", ApprovalRunner)
    registry.register("database", DatabaseRunner)
    git = GitOptions(runners.known_hosts, runners.ca_file)
    registry.register("git", lambda: GitRunner(processes, options, git))
    for category in ("container", "docker"):
        registry.register(category, lambda: ContainerRunner(processes, options, owner=owner))
    registry.register("file", lambda: FileRunner(runners.file_roots, runners.known_hosts))
    return registry, load_plugins(registry, loaded.settings.runners.plugins)


def execute_once(loaded: Loaded, task: Task) -> Result:
    """One task here and now, without a server: ``exec``."""
    from adapters.local.credentials import LocalCredentials
    from adapters.process.supervisor import Supervisor
    from domain.runner import ExecutionContext

    processes = Supervisor()
    try:
        registry, _ = make_registry(loaded, processes, lambda: (loaded.settings.server.auth_token,))
        runner = registry.create(task.category)
        runner.parse_args(task.command, task.args)
        runner.set_timeout(task.timeout)
        task.running(runner)
        try:
            result = runner.execute(
                ExecutionContext(
                    working_dir=Path(task.directory) if task.directory else None,
                    environment=task.environment,
                    log=task.log,
                    credentials=LocalCredentials(
                        loaded.path(loaded.settings.state_dir) / "credentials.json", os.environ
                    ),
                )
            )
            if result.output and not getattr(runner, "live_output", False):
                task.log(f"{result.output}\n".encode("utf-8", "replace"))
            return result
        finally:
            runner.cleanup()
    finally:
        processes.close()


def run_worker(loaded: Loaded, guardian: GuardianLink | None) -> int:
    """Run until a signal says otherwise; returns the exit status."""
    from adapters.guardian.starting import TEMPORARY, is_passing
    from adapters.runtime.heap import give_large_blocks_back
    from adapters.runtime.signals import Wishes
    from domain.errors import WorkerError

    give_large_blocks_back()
    redactor = start_logging(loaded)
    wishes = Wishes()
    with contextlib.ExitStack() as stack:
        try:
            worker = start_worker(loaded, redactor, wishes, guardian, stack)
        except (WorkerError, OSError, MemoryError) as error:
            if guardian is not None:
                guardian.failed(error)
            if not is_passing(error):
                raise
            tell_passing(error)
            return TEMPORARY
        if worker is None:
            return 0
        serve(worker, pause_mark(loaded), wishes, guardian)
        clean = worker.shutdown(lambda: wishes.hurry)
        if worker.loops.failed is not None:
            return 70
        return 0 if clean else 1


def start_worker(
    loaded: Loaded, redactor: Redactor, wishes: Wishes, guardian: GuardianLink | None, stack: contextlib.ExitStack
) -> Worker | None:
    """A worker at work, and its guardian knows it; None if the end was asked for before that."""
    state_dir = take_state(loaded, wishes, guardian, stack)
    if state_dir is None:
        return None
    assembled = assemble(loaded, redactor, guardian, state_dir, stack)
    tell_start(loaded, assembled)
    obey(pause_mark(loaded), assembled.worker)
    assembled.worker.start()
    assembled.leftovers.start()
    if guardian is not None:
        guardian.hello(longest_end(loaded))
    return assembled.worker


def take_state(
    loaded: Loaded, wishes: Wishes, guardian: GuardianLink | None, stack: contextlib.ExitStack
) -> Path | None:
    """The state directory, locked until ``stack`` ends; None if the end was asked for meanwhile. Raises ConfigError.

    A former worker whose guardian was killed still ends its tasks there: that is waited for.
    """
    import logging

    from adapters.guardian.guardian import boottime
    from adapters.process.killing import is_alive
    from adapters.state.directory import Occupied, StateLock
    from adapters.state.identity import private_directory

    state_dir = private_directory(loaded.path(loaded.settings.state_dir))
    deadline, told = boottime() + longest_end(loaded), False
    while not wishes.end and not (guardian is not None and guardian.lost):
        try:
            stack.callback(StateLock(state_dir, "" if guardian is None else guardian.identity).release)
        except Occupied as error:
            if not error.guardian or is_alive(error.guardian) or boottime() > deadline:
                raise
            if not told:
                logging.getLogger("worker").warning(
                    "waiting up to %.0f s for the former worker (pid %s): its guardian is gone and it ends its tasks",
                    deadline - boottime(), error.owner,
                )  # fmt: skip
            told = True
        else:
            return state_dir
        if guardian is not None:
            guardian.beat()
        wishes.wait(0.2)
    return None


def longest_end(loaded: Loaded) -> float:
    """Seconds that a worker may take from the wish to end until it is gone."""
    limits = make_limits(loaded)
    return limits.drain + limits.grace + KILL_AND_FLUSH


def tell_passing(error: Exception) -> None:
    import logging

    logging.getLogger("worker").critical("the worker cannot start now, and may later: %s", error)


def start_logging(loaded: Loaded) -> Redactor:
    """Returns what keeps secrets out of every line from here on."""
    from adapters.observability.logs import set_up
    from adapters.observability.redact import Redactor

    settings = loaded.settings
    redactor = Redactor()
    redactor.add(settings.server.auth_token)
    file = loaded.path(settings.log.file) if settings.log.file else None
    set_up(redactor, settings.log.level, settings.log.format, file, (settings.log.max_size, settings.log.max_backups))
    return redactor


def tell_start(loaded: Loaded, assembled: Assembled) -> None:
    import logging

    settings = loaded.settings
    log = logging.getLogger("worker")
    for problem in assembled.problems:
        log.warning("%s", problem)
    where = settings.server.api_url if settings.chosen_transport == "websocket" else settings.schedule.file
    log.info("cronjob-worker %s: %s, %s; state in %s", VERSION, settings.chosen_transport, where, assembled.state_dir)


def serve(worker: Worker, mark: PauseMark, wishes: Wishes, guardian: GuardianLink | None) -> None:
    """Let the worker work; returns when it is to end: by a signal, a broken loop, or because the guardian is gone."""
    import logging

    from adapters.observability.stacks import stacks

    log = logging.getLogger("worker")
    while not wishes.end and not worker.loops.broken.is_set():
        wishes.wait(0.5)
        obey(mark, worker)
        if wishes.stacks:
            wishes.stacks = False
            log.warning("asked what each thread does:\n%s", stacks())
        if hanging := worker.loops.find_hanging():
            log.critical("these loops hang and the worker starts anew: %s\n%s", ", ".join(hanging), stacks())
            wishes.hurry = True
        if guardian is not None and guardian.lost:
            log.error("the guardian is gone: the worker ends, because nobody would end its tasks after it")
            break


def obey(mark: PauseMark, worker: Worker) -> None:
    """Bring the worker in line with what ``pause`` and ``resume`` left in its state directory."""
    reason = mark.reason()
    if reason is None:
        worker.resume()
    else:
        worker.pause(reason)


@dataclass(frozen=True, slots=True)
class Assembled:
    worker: Worker
    problems: list[str]
    state_dir: Path
    leftovers: Leftovers


def assemble(
    loaded: Loaded,
    redactor: Redactor,
    guardian: GuardianLink | None,
    state_dir: Path,
    stack: contextlib.ExitStack,
) -> Assembled:
    """Build the whole graph. What has to be closed is closed by ``stack``, the last one first."""
    from adapters.guardian.observers import Observers
    from adapters.observability.redact import RedactedCredentials
    from adapters.process.environment import child_environment
    from adapters.process.orphans import owner_of
    from adapters.process.temporary_files import prefix_of
    from adapters.runners.container import Leftovers, Owner
    from adapters.state.identity import worker_id
    from application.execution import Contexts, Execution
    from application.ports import Node
    from application.worker import Worker

    settings = loaded.settings
    identity_id = worker_id(state_dir, settings.worker.id)
    token = make_token(loaded, redactor)

    def secrets() -> tuple[str, ...]:
        return (token(),)

    ports = make_ports(loaded, token, redactor, state_dir, guardian, stack)
    processes = make_supervisor(loaded, state_dir, Observers(ports.journal, guardian))
    stack.callback(processes.close)
    owner = Owner(identity_id, state_dir / "engines")
    temporary = prefix_of(owner_of(state_dir))
    registry, problems = make_registry(loaded, processes, secrets, owner, temporary)
    identity = make_identity(loaded, identity_id, registry, problems)
    credentials = RedactedCredentials(ports.coordination, redactor)
    inherited = functools.partial(child_environment, os.environ, {})
    leftovers = Leftovers(owner, credentials, processes.run, lambda: inherited(secrets()), temporary=temporary)
    stack.callback(leftovers.close)
    contexts = Contexts(Path(settings.worker.working_dir).absolute(), credentials, ports.coordination, redactor.add)
    limits = make_limits(loaded)
    runs = Execution(ports.runtime, registry, contexts, settings.execution.default_timeout)
    worker = Worker(ports, Node(identity, limits), runs, redactor.text)
    processes.when_dead(worker.loops.fail)
    return Assembled(worker, problems, state_dir, leftovers)


def make_token(loaded: Loaded, redactor: Redactor) -> Callable[[], str]:
    """The API key as it is at the moment; the redactor knows each before anybody else does."""
    from adapters.config.load import token_provider

    token = token_provider(loaded)

    def redacted_token() -> str:
        value = token()
        redactor.add(value)
        return value

    return redacted_token


def make_ports(
    loaded: Loaded,
    token: Callable[[], str],
    redactor: Redactor,
    state_dir: Path,
    guardian: GuardianLink | None,
    stack: contextlib.ExitStack,
) -> Ports:
    from adapters.guardian.unguarded import NoWarden
    from adapters.journal.sqlite import SqliteJournal
    from adapters.process.orphans import ProcessRemains, owner_of
    from adapters.spool.file import FileSpool
    from application.ports import Ports

    journal = SqliteJournal(state_dir / "journal.sqlite")
    stack.callback(journal.close)
    execution = loaded.settings.execution
    spool = FileSpool(state_dir / "logs", execution.log_limit, execution.log_quota, redactor.stream)
    stack.callback(spool.close)
    outside = make_container(loaded, token, state_dir)
    stack.callback(outside.close)
    return Ports(
        outside.runtime,
        outside.transport,
        outside.coordination,
        journal,
        spool,
        outside.metrics,
        ProcessRemains(owner_of(state_dir)),
        guardian or NoWarden(),
    )


def make_identity(loaded: Loaded, identity_id: str, registry: RunnerRegistry, problems: list[str]) -> Identity:
    """Who this worker is and what it takes; a category without a runner is left out and told in ``problems``."""
    from adapters.state.identity import default_name
    from application.ports import Identity

    asked = loaded.settings.worker
    known = set(registry.list())
    tasks = tuple(category for category in asked.tasks if category in known)
    if missing := [category for category in asked.tasks if category not in known]:
        problems.append(f"worker.tasks: no runner is there for {', '.join(missing)}; such tasks are not taken")
    name = asked.name or default_name(identity_id)
    return Identity(identity_id, name, asked.description, asked.working_dir, tasks)


def make_supervisor(loaded: Loaded, state_dir: Path, observer: Observers) -> Supervisor:
    from adapters.process.orphans import owner_of
    from adapters.process.supervisor import Supervisor

    owner = owner_of(state_dir)
    return Supervisor(observer, owner, make_cgroups(loaded.settings.execution.cgroup, owner))


def make_cgroups(setting: str, owner: str) -> Cgroups | None:
    """Control groups where they can be had, those of former lives ended; says which way processes are found."""
    import logging

    from adapters.process.cgroups import Cgroups, find_parent

    parent = find_parent(setting)
    where = f"control groups in {parent}, " if parent is not None else ""
    logging.getLogger("worker").info("the processes of tasks are found by %stheir tree and their mark", where)
    if parent is None:
        return None
    groups = Cgroups(parent, owner)
    groups.sweep()
    return groups


def make_limits(loaded: Loaded) -> Limits:
    from application.ports import Limits

    settings = loaded.settings
    return Limits(
        concurrency=settings.worker.concurrency,
        grace=settings.execution.grace,
        lease_ttl=settings.execution.lease_ttl,
        on_lost_lease=settings.execution.on_lost_lease,
        ping_interval=settings.websocket.ping_interval,
        pong_timeout=settings.websocket.pong_timeout,
        reconnect_cap=settings.websocket.reconnect_cap,
        drain=settings.execution.drain,
        outbox=settings.execution.outbox,
        output_limit=settings.execution.output_limit,
    )


@dataclass(frozen=True, slots=True)
class Outside:
    """The chosen server and the way to it."""

    runtime: Any
    metrics: Any
    transport: Transport
    coordination: Coordination
    close: Callable[[], None]


def make_container(loaded: Loaded, token: Callable[[], str], state_dir: Path) -> Outside:
    """Choose the transport by the settings; only the chosen one is built."""
    from dependency_injector import containers, providers

    from adapters.observability.metrics import MemoryMetrics
    from adapters.runtime.threads import ThreadRuntime

    closing = contextlib.ExitStack()

    class Container(containers.DeclarativeContainer):
        choice = providers.Object(loaded.settings.chosen_transport)
        runtime: providers.Provider[ThreadRuntime] = providers.ThreadSafeSingleton(ThreadRuntime)
        metrics: providers.Provider[MemoryMetrics] = providers.ThreadSafeSingleton(MemoryMetrics)
        server: providers.Provider[tuple[Transport, Coordination]] = providers.Selector(
            choice,
            websocket=providers.ThreadSafeSingleton(websocket_pair, loaded, token, metrics, closing),
            local=providers.ThreadSafeSingleton(local_pair, loaded, runtime, state_dir, closing),
            memory=providers.ThreadSafeSingleton(memory_pair, runtime, metrics, closing),
        )

    made = Container()
    transport, coordination = made.server()
    return Outside(made.runtime(), made.metrics(), transport, coordination, closing.close)


def websocket_pair(
    loaded: Loaded, token: Callable[[], str], metrics: Any, closing: contextlib.ExitStack
) -> tuple[Transport, Coordination]:
    from adapters.apiserver.coordination import HttpCoordination
    from adapters.apiserver.http import ApiClient
    from adapters.apiserver.stream import LinkOptions, WebSocketTransport
    from adapters.apiserver.tls import tls_context
    from adapters.wire.endpoints import ApiAddress, ProxyAddress

    server = loaded.settings.server
    address = ApiAddress.parse(server.api_url, server.allow_plain_http)
    named = (server.tls.ca_file, server.tls.cert_file, server.tls.key_file)
    ca, certificate, key = (str(loaded.path(name)) if name else "" for name in named)
    tls = tls_context(ca, certificate, key) if address.secure else None
    proxy = ProxyAddress.parse(server.proxy) if server.proxy else None
    client = ApiClient(address, token, tls=tls, proxy=proxy)
    closing.callback(client.close)
    coordination = HttpCoordination(client)
    options = LinkOptions(connect_timeout=loaded.settings.websocket.connect_timeout, tls=tls, proxy=proxy)
    return WebSocketTransport(address, coordination, token, metrics, options), coordination


def local_pair(
    loaded: Loaded, runtime: Any, state_dir: Path, closing: contextlib.ExitStack
) -> tuple[Transport, Coordination]:
    from adapters.local.credentials import LocalCredentials
    from adapters.local.planner import Planner
    from adapters.local.server import LocalServer
    from adapters.local.store import Store

    store = Store(state_dir / "history.sqlite")
    closing.callback(store.close)
    schedule = loaded.settings.schedule
    planner = Planner(loaded.path(schedule.file), store, schedule.keep_runs)
    server = LocalServer(runtime, planner, store, LocalCredentials(state_dir / "credentials.json", os.environ))
    return server, server


def memory_pair(runtime: Any, metrics: Any, closing: contextlib.ExitStack) -> tuple[Transport, Coordination]:
    from adapters.apiserver.coordination import HttpCoordination
    from adapters.testkit.model.client import MemoryApiClient
    from adapters.testkit.model.network import MemoryServer
    from adapters.testkit.model.stream import MemoryTransport

    server = MemoryServer(runtime)
    server.start()
    closing.callback(server.close)
    way = server.way()
    return MemoryTransport(way, metrics), HttpCoordination(MemoryApiClient(way.request))


if __name__ == "__main__":
    sys.exit(main())
