"""All sources to one Settings, with the place every value came from; or one error that says all that is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from adapters.config.checks import conflicts, explain, unknown_keys, unknown_variables, unreadable_files
from adapters.config.settings import SECRETS, Settings, keys
from adapters.config.sources import Values, from_assignments, from_environment, from_file
from domain.errors import ConfigError

FILE_NAME = "config_worker.json"
TOKEN_FORMS = ("server.auth_token", "server.auth_token_file")


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
        values = layered(values, from_file(file))
    values = layered(values, from_environment(environment))
    values = layered(values, from_assignments(assignments or {}, "command line"))
    problems = [*unknown_keys(values), *unknown_variables(environment)]
    document: dict[str, Any] = {}
    known = set(keys())
    for key, value in values.items():
        if key in known:
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
    loaded = Loaded(settings, {key: value.source for key, value in values.items()}, base)
    if problems := unreadable_files(settings, loaded.sources, base):
        raise ConfigError("\n".join(problems))
    return loaded


def layered(lower: Values, upper: Values) -> Values:
    """``upper`` over ``lower``. The API key and its file are one setting in two forms: the later one counts."""
    hidden = {
        TOKEN_FORMS[1 - at]
        for at, key in enumerate(TOKEN_FORMS)
        if key in upper and upper[key].raw and TOKEN_FORMS[1 - at] not in upper
    }
    return {key: value for key, value in lower.items() if key not in hidden} | upper


def place(document: dict[str, Any], key: str, raw: Any) -> None:
    *parents, name = key.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
    document[name] = raw


def token_provider(loaded: Loaded) -> Callable[[], str]:
    """The API key, read anew from its file each time the file changes, so that it can be rotated (G56).

    While the file is missing or empty, as in the middle of a rotation, the last key counts. Any thread. Raises
    ConfigError if there never was one.
    """
    server = loaded.settings.server
    if not server.auth_token_file:
        return lambda: server.auth_token
    path = loaded.path(server.auth_token_file)
    known: tuple[object, str] = (None, "")

    def read() -> str:
        nonlocal known
        last, token = known
        try:
            state = os.stat(path)
            stamp = (state.st_mtime_ns, state.st_ino, state.st_size)
            if stamp != last:
                token = path.read_text().strip() or token
                known = (stamp, token)
        except (OSError, UnicodeDecodeError):
            pass
        if not token:
            raise ConfigError(f"server.auth_token_file: {path} holds no API key that can be read")
        return token

    return read
