"""What each command does, over the parts that the composition root makes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

from adapters.cli import commands
from adapters.cli.execute import OneTask
from adapters.config.inspect import inspect
from adapters.config.load import load
from adapters.config.loaded import Loaded
from adapters.guardian.link import Watcher, find_watcher
from adapters.guardian.starting import TEMPORARY, is_passing
from adapters.local.credentials import LocalCredentials
from adapters.memory.server import MemoryServer
from adapters.observability.logs import set_up
from adapters.observability.redact import Redactor, masked
from adapters.process.ports import Processes
from adapters.process.supervisor import Supervisor
from adapters.runners.builtin import all_runners
from adapters.runners.container import OrphanContainers, Owner
from adapters.runtime.heap import give_large_blocks_back
from adapters.state.directory import EndedWaiting, PauseMark
from adapters.state.identity import inspect_state, private_directory
from application.execution import Execution
from application.ports import Runtime, Server
from application.run_once import run_once
from application.service import Service
from domain.errors import ConfigError, WorkerError
from domain.result import Result

VERSION = "0.1.0"
log = logging.getLogger("worker")

Part_co = TypeVar("Part_co", covariant=True)


class Maker(Protocol[Part_co]):
    """Makes a part once, when it is first asked for; another one may be put in its place before that."""

    def __call__(self) -> Part_co: ...
    def override(self, provider: object) -> object: ...


class Parts(Protocol):
    """What the commands use of the container."""

    @property
    def stack(self) -> Maker[ExitStack]: ...
    @property
    def problems(self) -> Maker[list[str]]: ...
    @property
    def redactor(self) -> Maker[Redactor]: ...
    @property
    def state_dir(self) -> Maker[Path]: ...
    @property
    def watcher(self) -> Maker[Watcher]: ...
    @property
    def processes(self) -> Maker[Processes]: ...
    @property
    def owner(self) -> Maker[Owner]: ...
    @property
    def runtime(self) -> Maker[Runtime]: ...
    @property
    def transport(self) -> Maker[Server]: ...
    @property
    def orphan_containers(self) -> Maker[OrphanContainers]: ...
    @property
    def execution(self) -> Maker[Execution]: ...
    @property
    def service(self) -> Maker[Service]: ...


class Program(commands.Program[Loaded]):
    """The commands over ``make``, which makes the parts of one program from its settings."""

    def __init__(self, make: Callable[[Loaded], Parts], home: Path, watcher: Watcher) -> None:
        self._make = make
        self._home = home
        self._watcher = watcher
        self.name = "python bootstrap.py" if home.with_name("pyproject.toml").is_file() else "cronjob-worker"
        self.version = VERSION

    def load(self, file: str | None, assignments: Mapping[str, str]) -> Loaded:
        return load(file, assignments, program=self._home)

    def run(self, loaded: Loaded) -> int:
        give_large_blocks_back()
        parts, settings = self._make(loaded), loaded.settings.log
        parts.watcher.override(self._watcher)
        file = loaded.path(settings.file) if settings.file else None
        set_up(parts.redactor(), settings.level, settings.format, file, (settings.max_size, settings.max_backups))
        with parts.stack():
            try:
                service = self._begin(loaded, parts)
            except EndedWaiting:
                return 0
            except (WorkerError, OSError, MemoryError) as error:
                self._watcher.failed(error)  # the guardian tells the reason where it gives up
                if isinstance(error, ConfigError):
                    raise loaded.explain(error) from error
                if not is_passing(error):
                    raise
                log.critical("the worker cannot start now, and may later: %s", error)
                return TEMPORARY
            return service.run()

    def _begin(self, loaded: Loaded, parts: Parts) -> Service:
        """A worker at work, and its guardian knows it."""
        state_dir = parts.state_dir()
        where = f"{loaded.transport.name}, {loaded.transport.where(loaded)}; state in {state_dir}"
        log.info("cronjob-worker %s: %s", VERSION, where)
        service = parts.service()
        for problem in parts.problems():
            log.warning("%s", problem)
        service.start()
        parts.orphan_containers().start()
        self._watcher.hello(loaded.longest_end)
        return service

    def runners(self, loaded: Loaded) -> tuple[list[str], list[str]]:
        problems: list[str] = []
        return all_runners(loaded, problems).list(), problems

    def check(self, load: Callable[[], Loaded]) -> list[str]:
        return inspect(load, all_runners, inspect_state)

    def execute(self, loaded: Loaded, task: OneTask) -> Result:
        parts = self._make(loaded)
        redactor = parts.redactor()
        credentials = LocalCredentials(loaded.path(loaded.settings.state_dir) / "credentials.json", os.environ)
        alone = MemoryServer(parts.runtime()).server()
        parts.transport.override(replace(alone, credentials=credentials, secrets=loaded.secret_values))
        parts.owner.override(Owner())
        set_up(redactor, "DEBUG" if loaded.settings.log.level == "DEBUG" else "WARN", "text", stream=sys.stderr)
        with closing(Supervisor()) as processes, masked(redactor, task.log) as write:
            parts.processes.override(processes)
            result = run_once(parts.execution(), task.task, write, redactor.text, task.token)
        for problem in parts.problems():
            task.tell(problem)
        return result

    def pause(self, loaded: Loaded, reason: str) -> None:
        PauseMark(private_directory(loaded.path(loaded.settings.state_dir))).set(reason)

    def resume(self, loaded: Loaded) -> bool:
        return PauseMark(private_directory(loaded.path(loaded.settings.state_dir))).clear()


def run_command(arguments: list[str], make: Callable[[Loaded], Parts], home: Path) -> int:
    """Run the command line; returns the exit status. ``home`` is the file of the program."""
    with closing(find_watcher()) as watcher:
        try:
            os.environ.update(watcher.secrets())
            return commands.main(Program(make, home, watcher), arguments)
        except Exception as error:
            watcher.failed(error)
            raise
