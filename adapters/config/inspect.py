"""``config check``: what a start would find out, found out before it."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from adapters.config.load import WrongSettings
from adapters.config.loaded import Loaded
from adapters.config.plugins import asked
from adapters.plugin import Checked
from adapters.process.cgroups import find_parent
from domain.errors import ConfigError
from domain.runner import RunnerRegistry


def inspect(
    load: Callable[[], Loaded],
    make_runners: Callable[[Loaded, list[str]], RunnerRegistry],
    inspect_state: Callable[[Path, str], Iterable[tuple[str, str]]],
    environment: Mapping[str, str] = os.environ,
) -> list[str]:
    """A text for each thing that is wrong, with its source and key. Makes nothing, starts nothing, connects nowhere.

    ``make_runners`` adds to its list what cannot be loaded. ``inspect_state`` gets the state directory and the
    configured id. Raises ConfigError where a source of settings cannot be read at all.
    """
    problems: list[str] = []
    try:
        loaded = load()
    except WrongSettings as error:
        loaded = error.loaded
        problems += str(error).splitlines()
    missing: list[str] = []
    registry = make_runners(loaded, missing)
    problems += [loaded.told("runners.plugins", text) if "(runners.plugins" in text else text for text in missing]
    problems += _patterns(environment)
    told = [*_paths(loaded), *_cgroup(loaded)]
    told += inspect_state(loaded.path(loaded.settings.state_dir), loaded.settings.worker.id)
    try:
        identity = loaded.identity("", "", registry, problems)
    except ConfigError as error:
        problems.append(str(error))
    else:
        if "transport" not in loaded.wrong:
            checked = Checked(loaded, identity, registry)
            told += asked(loaded.transport.name, "transport", loaded.transport.inspect, checked)
    return problems + [loaded.told(key, text) for key, text in told if key not in loaded.wrong]


def _paths(loaded: Loaded) -> Iterator[tuple[str, str]]:
    section = loaded.settings.runners
    for key, text in (("runners.ca_file", section.ca_file), ("runners.known_hosts", section.known_hosts)):
        path = loaded.path(text)
        try:
            if text and key == "runners.ca_file":
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
            elif text:
                path.read_bytes()
        except ssl.SSLError:
            yield key, f"{path} holds no certificates in PEM form"
        except (OSError, ValueError) as error:
            yield key, f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
    directory = Path(loaded.settings.worker.working_dir).absolute()
    if why := unusable_directory(directory):
        yield "worker.working_dir", why
    if loaded.settings.log.file:
        yield from (("log.file", why) for why in _log_file(loaded.path(loaded.settings.log.file)))


def _log_file(path: Path) -> Iterator[str]:
    if path.is_dir():
        yield f"{path} is a directory; name a file"
    elif path.exists():
        if not os.access(path, os.W_OK):
            yield f"{path} cannot be written"
    elif why := unusable_directory(path.parent):
        yield why


def unusable_directory(path: Path) -> str:
    """Why files cannot be made in a directory that may still have to be made itself; empty if they can."""
    there = next((above for above in (path, *path.parents) if os.path.lexists(above)), path)
    if not there.is_dir():
        return f"{there} is no directory"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"{there} cannot be written"


def _cgroup(loaded: Loaded) -> Iterator[tuple[str, str]]:
    try:
        find_parent(loaded.cgroup)
    except ConfigError as error:
        yield "execution.cgroup", str(error).removeprefix("execution.cgroup: ")


def _patterns(environment: Mapping[str, str]) -> Iterator[str]:
    """A pattern of the command guard that is none would be left out, and what it was to block would run."""
    for pattern in environment.get("COMMAND_BLOCKED_PATTERNS", "").split(","):
        try:
            re.compile(pattern.strip())
        except re.error as error:
            yield f"environment COMMAND_BLOCKED_PATTERNS: {pattern.strip()!r} is no regular expression: {error}"
