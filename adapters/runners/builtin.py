"""The runners that ship, by category."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from adapters.process.ports import Processes
from adapters.runners.approval import ApprovalRunner
from adapters.runners.command import CommandRunner, ProcessOptions
from adapters.runners.container.owner import Owner
from adapters.runners.container.runner import ContainerRunner
from adapters.runners.database import DatabaseRunner
from adapters.runners.file.runner import FileRunner
from adapters.runners.git.runner import GitOptions, GitRunner
from adapters.runners.guard import CommandGuard
from adapters.runners.http import HttpRunner
from adapters.runners.message import MessageRunner
from adapters.runners.plugins import load_runners
from adapters.runners.script import ScriptRunner
from domain.runner import RunnerRegistry


class Allowed(Protocol):
    """What the operator allows and provides, as it stands in the settings."""

    @property
    def script_dirs(self) -> Sequence[str]: ...
    @property
    def file_roots(self) -> Sequence[str]: ...
    @property
    def known_hosts(self) -> str: ...
    @property
    def ca_file(self) -> str: ...
    @property
    def http_public_only(self) -> bool: ...


class RunnerSettings(Allowed, Protocol):
    @property
    def plugins(self) -> Mapping[str, str]: ...


def register_builtin(
    allowed: Allowed,
    place: Callable[[str], Path],
    options: ProcessOptions | None = None,
    processes: Processes | None = None,
    owner: Owner | None = None,
) -> RunnerRegistry:
    """A registry with all of them. ``place`` makes a path of the settings absolute.

    Without ``processes`` each run brings a supervisor of its own.
    """

    def file(text: str) -> str:
        return str(place(text)) if text else ""

    registry = RunnerRegistry()
    options = options or ProcessOptions()
    guard = CommandGuard.from_environment(os.environ)
    git = GitOptions(file(allowed.known_hosts), file(allowed.ca_file))
    script_dirs = [file(text) for text in allowed.script_dirs]
    roots = [file(text) for text in allowed.file_roots]
    for category in ("command", "default"):
        registry.register(category, lambda: CommandRunner(processes, options, guard))
    for category in ("container", "docker"):
        registry.register(category, lambda: ContainerRunner(processes, options, owner=owner))
    registry.register("script", lambda: ScriptRunner(processes, options, script_dirs))
    registry.register("git", lambda: GitRunner(processes, options, git))
    registry.register("file", lambda: FileRunner(roots, file(allowed.known_hosts)))
    registry.register("http", lambda: HttpRunner(allowed.http_public_only))
    registry.register("message", lambda: MessageRunner(file(allowed.ca_file)))
    registry.register("approval", ApprovalRunner)
    registry.register("database", DatabaseRunner)
    return registry


class LoadedRunners(Protocol):
    """The settings, as far as runners go."""

    @property
    def runners(self) -> RunnerSettings: ...
    def path(self, text: str) -> Path:
        """A path of the settings, made absolute."""


def all_runners(
    loaded: LoadedRunners,
    problems: list[str],
    options: ProcessOptions | None = None,
    processes: Processes | None = None,
    owner: Owner | None = None,
) -> RunnerRegistry:
    """The built-in runners and those of others; ``problems`` gets a text for each that could not be loaded."""
    registry = register_builtin(loaded.runners, loaded.path, options, processes, owner)
    problems += load_runners(registry, loaded.runners.plugins)
    return registry
