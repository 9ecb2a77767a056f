"""The sources of settings: each gives dotted keys to raw values, and says where each value stands."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.plugin import ConfigSource
from domain.errors import ConfigError

ENVIRONMENT = {
    "WORKER_NAME": "worker.name",
    "WORKER_DESCRIPTION": "worker.description",
    "WORKER_ID": "worker.id",
    "WORKER_TASKS_LIST": "worker.tasks",
    "WORKER_WORKING_DIR": "worker.working_dir",
    "WORKER_CONCURRENCY": "worker.concurrency",
    "WORKER_STATE_DIR": "state_dir",
    "WORKER_TRANSPORT": "transport",
    "LOG_LEVEL": "log.level",
    "LOG_FORMAT": "log.format",
    "LOG_FILE_PATH": "log.file",
    "LOG_MAX_SIZE": "log.max_size",
    "LOG_MAX_BACKUPS": "log.max_backups",
    "ALLOWED_SCRIPT_DIRS": "runners.script_dirs",
    "FILE_RUNNER_ALLOWED_PATHS": "runners.file_roots",
}
# Read and without effect here: said once, so that nobody wonders.
IGNORED = ("LOG_OUTPUT", "LOG_MAX_AGE", "LOG_COMPRESS")
FLAT = {"name", "id", "description", "working_dir", "metadata"}


@dataclass(frozen=True, slots=True)
class Value:
    """A raw value and where it stands. ``text`` is True where its type is still to be read from the text."""

    raw: Any
    source: str
    text: bool = False


Values = dict[str, Value]


def from_environment(environment: Mapping[str, str], more: Mapping[str, str]) -> Values:
    """Variables that are set and not empty, those of transports (``more``) too; of two for one key the later counts."""
    found: Values = {}
    for name, key in (ENVIRONMENT | dict(more)).items():
        text = environment.get(name, "").strip()
        if text:
            found[key] = Value(text, f"environment {name}", text=True)
    return found


def from_assignments(assignments: Mapping[str, str], source: str) -> Values:
    """``key=value`` of the command line."""
    return {key: Value(text, source, text=True) for key, text in assignments.items()}


def from_source(source: ConfigSource, environment: Mapping[str, str]) -> Values:
    """What a source of another team gives. Raises ConfigError, whatever it raises."""
    try:
        found = dict(flatten(source.read(environment), f"source {source.name}"))
    except ConfigError as error:
        raise ConfigError(f"{source.name}: {error}") from None
    except Exception as error:
        raise ConfigError(f"{source.name} failed: {type(error).__name__}: {error}") from error
    if "config_sources" in found:
        raise ConfigError(f"{source.name}: gives config_sources, which only the file and the command line may name")
    return found


def level_name(text: str) -> str:
    return {"WARNING": "WARN", "CRITICAL": "FATAL", "TRACE": "DEBUG"}.get(text.upper(), text.upper())


def from_file(path: Path) -> Values:
    """A settings file: JSON, also with // comments and the escape \\x00. Raises ConfigError with line and column."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    try:
        document = json.loads(tolerant(text), object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except _Twice as error:
        raise ConfigError(f"{path}: the key {error} stands twice in one object; keep one of them") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply for settings") from None
    except ValueError:
        raise ConfigError(f"{path}: holds a number of more digits than any setting has") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must hold one JSON object")
    if is_flat(document):
        document = nested(document)
    return dict(flatten(document, str(path)))


class _Twice(Exception):
    """A key that stands twice: one of the values would be lost without a word."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(repr(next(name for name in names if names.count(name) > 1)))
    return document


def is_flat(document: Mapping[str, Any]) -> bool:
    """The original worker's own file: name, id, description, working_dir, metadata at the top."""
    return bool(document) and set(document) <= FLAT


def nested(document: Mapping[str, Any]) -> dict[str, Any]:
    worker = {key: document[key] for key in ("name", "id", "description", "working_dir") if key in document}
    metadata = document.get("metadata")
    if isinstance(metadata, dict) and "tasks" in metadata:
        worker["tasks"] = metadata["tasks"]
    return {"worker": worker}


def flatten(document: Mapping[str, Any], source: str, prefix: str = "") -> list[tuple[str, Value]]:
    found: list[tuple[str, Value]] = []
    for name, value in document.items():
        key = prefix + name
        if isinstance(value, dict) and value:
            found += flatten(value, source, f"{key}.")
        elif value is not None:
            raw = level_name(value) if key == "log.level" and isinstance(value, str) else value
            found.append((key, Value(raw, source)))
    return found


_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_COMMA = re.compile(r'"(?:[^"\\\n]|\\.)*"|,(?=\s*[}\]])', re.DOTALL)


def tolerant(text: str) -> str:
    """Strict JSON from what people paste: comments become blanks (lines and columns stay), \\x00 becomes \\u0000,
    a comma before a closing bracket goes. Nothing inside a string is touched but the escape."""

    def strip(match: re.Match[str]) -> str:
        token = match.group()
        if token.startswith('"'):
            return re.sub(r"(?<!\\)((?:\\\\)*)\\x([0-9a-fA-F]{2})", r"\1\\u00\2", token)
        return re.sub(r"[^\n]", " ", token)

    return _COMMA.sub(lambda match: match.group() if match.group() != "," else " ", _TOKEN.sub(strip, text))
