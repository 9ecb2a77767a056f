"""What can be wrong with settings, each told with its source, its key, and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import ValidationError

from adapters.config.sources import ENVIRONMENT, IGNORED, Values

if TYPE_CHECKING:
    from adapters.config.loaded import Loaded

# What begins like this is meant for this worker. Those of the command guard are read by the runner itself.
PREFIXES = ("WORKER_", "API_", "WEBSOCKET_", "LOG_", "COMMAND_", "ALLOWED_", "FILE_RUNNER_")
GUARD = (
    "COMMAND_SECURITY_DISABLED", "COMMAND_ALLOWED", "COMMAND_BLOCKED", "COMMAND_BLOCKED_PATTERNS",
    "COMMAND_BLOCKED_PATHS",
)  # fmt: skip
GUARDING = (*GUARD, "ALLOWED_SCRIPT_DIRS", "FILE_RUNNER_ALLOWED_PATHS")


def unknown_keys(values: Values, known: Sequence[str]) -> list[str]:
    sections = {key.rpartition(".")[0] for key in known if "." in key}
    found = []
    for key, value in values.items():
        if key in known:
            continue
        if any(real.startswith(f"{key}.") for real in known):
            if value.raw == {}:
                continue
            found.append(f"{value.source}: {key}: expected an object with keys, got {type(value.raw).__name__}")
            continue
        near = difflib.get_close_matches(key, [*known, *sections], 1, 0.5) or [
            real for real in known if real.split(".")[-1] == key.split(".")[-1]
        ]
        hint = f"; did you mean {near[0]}?" if near else "; `config show` lists all keys"
        found.append(f"{value.source}: {key}: unknown key{hint}")
    return found


def obsolete(values: Values, accepted: Mapping[str, object]) -> list[str]:
    """Take out of ``values`` what older files may still say; tells of each that says something else."""
    found = []
    for key, only in accepted.items():
        value = values.pop(key, None)
        if value is not None and value.raw != only:
            found.append(f"{value.source}: {key}: there is only {only!r}; leave the key out")
    return found


def unknown_variables(environment: Mapping[str, str], more: Mapping[str, str]) -> list[str]:
    """A variable that is one slip away from a known one is a slip: unseen, it may leave a door open."""
    known = [*ENVIRONMENT, *more, *IGNORED, *GUARD, "WORKER_CONFIG"]
    found = []
    for name, text in environment.items():
        if not text.strip() or name in known:
            continue
        # Whoever misspells what guards must hear of it, also where the slip is in the first letters.
        near = _near(name, known if name.upper().startswith(PREFIXES) else GUARDING)
        if near:
            found.append(f"environment {name}: unknown variable; did you mean {near}?")
    return found


def _near(name: str, known: Sequence[str]) -> str | None:
    words = {_sorted(it): it for it in known}
    near = difflib.get_close_matches(name.upper(), known, 1, 0.87)
    turned = difflib.get_close_matches(_sorted(name.upper()), words, 1, 0.95)
    return near[0] if near else words[turned[0]] if turned else None


def _sorted(name: str) -> str:
    return "_".join(sorted(name.split("_")))


def explain(error: ValidationError, values: Values, secrets: frozenset[str]) -> list[tuple[str, str]]:
    """The key of each mistake as it stands in a source, and the whole text about it."""
    found = []
    for problem in error.errors():
        parts = [str(part) for part in problem["loc"]]
        key = ".".join(parts)
        while key and key not in values and "." in key:
            key = key.rpartition(".")[0]
        source = values[key].source if key in values else "settings"
        text = f"{problem['msg'].lower()} (got {repr(problem.get('input'))[:60]})"
        if key in secrets:
            text = (
                "is not what it should be"
                if "value_error" in problem["type"]
                else f"{problem['msg'].lower()} (got ***)"
            )
        found.append((key, f"{source}: {'.'.join(parts)}: {text}"))
    return found


def both(pairs: Sequence[tuple[str, str]], values: Values) -> Iterator[tuple[str, str]]:
    """Two forms of one setting in one source: which is meant nobody knows."""
    for one, other in pairs:
        if all(key in values and values[key].raw for key in (one, other)):
            yield other, f"{one} is set too; leave one of them out"


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def conflicts(loaded: Loaded) -> Iterator[tuple[str, str]]:
    """(key, what is wrong and what to do) for settings of the right types that the worker would refuse later."""
    settings = loaded.settings
    if settings.worker.id and not _UUID.fullmatch(settings.worker.id):
        given = settings.worker.id[:40]
        yield "worker.id", f"must be a uuid such as 6f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c12, got {given!r}"
    if not settings.worker.tasks:
        yield "worker.tasks", "must name at least one category"
