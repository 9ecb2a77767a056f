"""All sources to one Settings, with the place every value came from; or one error that says all that is wrong."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from adapters.config.settings import SECRETS, Settings, keys
from adapters.config.sources import ENVIRONMENT, IGNORED, Value, Values, from_assignments, from_environment, from_file
from adapters.wire.framing import SEPARATOR
from domain.errors import ConfigError

FILE_NAME = "config_worker.json"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, the source of each dotted key, and the directory that relative paths are meant from."""

    settings: Settings
    sources: Mapping[str, str]
    base: Path

    def path(self, text: str) -> Path:
        """A path of the settings, made absolute."""
        return (self.base / text).absolute()

    def rows(self) -> list[tuple[str, str, str]]:
        """(key, value as text, source), secrets masked."""
        found = []
        for key in keys():
            value: Any = self.settings
            for part in key.split("."):
                value = getattr(value, part)
            shown = "***" if key in SECRETS and value else repr(value) if isinstance(value, str) else str(value)
            found.append((key, shown, self.sources.get(key, "default")))
        return found


def find_file(explicit: str | None, environment: Mapping[str, str], program: Path) -> Path | None:
    """``--config``, else ``WORKER_CONFIG``, else the file in the current directory, else beside the program."""
    named = explicit or environment.get("WORKER_CONFIG")
    if named:
        if not Path(named).is_file():
            origin = "--config" if explicit else "WORKER_CONFIG"
            raise ConfigError(f"{origin}: there is no file {named}")
        return Path(named)
    return next((path for path in (Path(FILE_NAME), program.parent / FILE_NAME) if path.is_file()), None)


def load(
    explicit: str | None = None,
    assignments: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    program: Path | None = None,
) -> Loaded:
    """Merge defaults, file, environment and command line, in rising precedence. Raises ConfigError."""
    environment = os.environ if environment is None else environment
    file = find_file(explicit, environment, program or Path.cwd() / "bootstrap.py")
    values: Values = {}
    if file is not None:
        values |= from_file(file)
    values |= from_environment(environment)
    values |= from_assignments(assignments or {}, "command line")
    problems = [*unknown_keys(values), *unknown_variables(environment)]
    document: dict[str, Any] = {}
    for key, value in values.items():
        if key in known_keys() or key.split(".")[0] in ("",):
            place(document, key, value.raw)
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        problems += explain(error, values)
        settings = Settings()
    problems += conflicts(settings, values)
    if problems:
        raise ConfigError("\n".join(problems))
    base = file.parent.absolute() if file is not None else Path.cwd()
    return Loaded(settings, {key: value.source for key, value in values.items()}, base)


def known_keys() -> set[str]:
    return set(keys())


def place(document: dict[str, Any], key: str, raw: Any) -> None:
    *parents, name = key.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
    document[name] = raw


def unknown_keys(values: Values) -> list[str]:
    known = keys()
    found = []
    for key, value in values.items():
        if key in known:
            continue
        if any(real.startswith(f"{key}.") for real in known):
            found.append(f"{value.source}: {key}: expected an object with keys, got {type(value.raw).__name__}")
            continue
        near = difflib.get_close_matches(key, known, 1, 0.5) or [
            real for real in known if real.split(".")[-1] == key.split(".")[-1]
        ]
        hint = f"; did you mean {near[0]}?" if near else "; `config show` lists all keys"
        found.append(f"{value.source}: {key}: unknown key{hint}")
    return found


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A WORKER_ variable that is one slip away from a known one is a slip."""
    known = [*ENVIRONMENT, *IGNORED, "WORKER_CONFIG"]
    found = []
    for name in environment:
        if name.startswith(("WORKER_", "API_", "WEBSOCKET_")) and name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.87)
            if near:
                found.append(f"environment {name}: unknown variable; did you mean {near[0]}?")
    return found


def explain(error: ValidationError, values: Values) -> list[str]:
    found = []
    for problem in error.errors():
        parts = [str(part) for part in problem["loc"]]
        key = ".".join(parts)
        while key and key not in values and "." in key:
            key = key.rpartition(".")[0]
        source = values[key].source if key in values else "settings"
        given = "***" if key in SECRETS else repr(problem.get("input"))[:60]
        found.append(f"{source}: {'.'.join(parts)}: {problem['msg'].lower()} (got {given})")
    return found


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def conflicts(settings: Settings, values: Values) -> list[str]:
    found = []

    def tell(key: str, text: str) -> None:
        found.append(f"{values.get(key, Value(None, 'settings')).source}: {key}: {text}")

    if settings.worker.id and not _UUID.fullmatch(settings.worker.id):
        tell(
            "worker.id", f"must be a uuid such as 6f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c12, got {settings.worker.id[:40]!r}"
        )
    if settings.chosen_transport == "websocket":
        if not settings.server.api_url:
            tell("transport", "websocket needs server.api_url (API_SERVER_URL)")
        elif not (settings.server.auth_token or settings.server.auth_token_file):
            tell("server.auth_token", "is missing: set API_AUTH_TOKEN, or server.auth_token_file")
    if settings.websocket.message_separator.encode() != SEPARATOR:
        tell("websocket.message_separator", r'the server knows only "\x00223399AABB2233CC"; leave the key out')
    if not settings.worker.tasks:
        tell("worker.tasks", "must name at least one category")
    return found


def token_provider(loaded: Loaded) -> Callable[[], str]:
    """The API key, read anew from its file each time the file changes, so that it can be rotated (G56)."""
    server = loaded.settings.server
    if not server.auth_token_file:
        return lambda: server.auth_token
    path = loaded.path(server.auth_token_file)
    known: list[Any] = [None, ""]

    def read() -> str:
        state = os.stat(path)
        stamp = (state.st_mtime_ns, state.st_ino, state.st_size)
        if known[0] != stamp:
            known[1] = path.read_text().strip()
            known[0] = stamp
        return str(known[1])

    return read
