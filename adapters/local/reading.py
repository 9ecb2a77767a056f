"""The schedule file as JSON, with what JSON lets pass and nobody can mean."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from domain.errors import ConfigError

DEEP = 50  # levels of one job's objects and lists


class Doubled(dict[str, Any]):
    """An object that tells one key twice."""

    key = ""


def document(path: Path, keys: Collection[str]) -> tuple[list[Any], list[str]]:
    """The entries of ``jobs``, and what is wrong beside them; ``keys`` are those of an entry.

    Raises ConfigError where there are no entries to tell.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_object)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (UnicodeDecodeError, RecursionError):
        raise ConfigError(f"{path}: is not JSON in UTF-8") from None
    except ValueError:
        raise ConfigError(f"{path}: holds a number of more digits than anybody can mean") from None
    if not isinstance(found, dict) or not isinstance(found.get("jobs"), list):
        near = next((key for key in found if key.lower() in ("jobs", "job")), "") if isinstance(found, dict) else ""
        hint = f"; {near!r} must be called 'jobs', and be a list" if near else ""
        raise ConfigError(f'{path}: must hold {{"jobs": [...]}}{hint}')
    if isinstance(found, Doubled):
        raise ConfigError(f"{path}: tells {found.key!r} twice; only the last would count: make one of them")
    others = [key for key in found if key != "jobs"]
    return found["jobs"], [f"{path}: unknown key {key!r} beside 'jobs': {_remedy(key, keys)}" for key in others]


def unknown(key: str, known: Collection[str]) -> str:
    """What a message says about a key that is not known."""
    near = difflib.get_close_matches(key.lower(), known, 1)
    return f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}")


def check(entry: Any) -> None:
    """Raises ConfigError for what cannot be stored or has no one meaning, however deep in the entry it stands."""
    rest: list[tuple[Any, tuple[str, ...]]] = [(entry, ())]
    while rest:
        value, path = rest.pop()
        if wrong := _fault(value, path):
            raise ConfigError(f"{'.'.join(path[:5])} {wrong}".strip())
        if isinstance(value, dict):
            rest += [(key, path) for key in value]
            rest += [(item, (*path, key)) for key, item in value.items()]
        elif isinstance(value, list):
            rest += [(item, (*path, str(number))) for number, item in enumerate(value, 1)]


def _fault(value: Any, path: tuple[str, ...]) -> str:
    if len(path) > DEEP:
        return f"is nested deeper than {DEEP} levels"
    if isinstance(value, Doubled):
        return f"tells {value.key!r} twice; only the last would count: take one of them out"
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value}, which is no number; write one, such as 10"
    if isinstance(value, str) and not _is_text(value):
        return "holds half of a character (a \\ud800 to \\udfff without its other half)"
    return ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled, seen = Doubled(found), set[str]()
    doubled.key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return doubled


def _remedy(key: str, keys: Collection[str]) -> str:
    near = difflib.get_close_matches(key.lower(), ["jobs", *keys], 1, 0.75)
    if near == ["jobs"]:
        return "it has no effect; did you mean 'jobs'?"
    return f"it has no effect; write {near[0]!r} into each job" if near else "it has no effect; take it out"


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
