"""Decoding of the ``args`` of runners: one JSON object into a dataclass, as lenient and as strict as tasks rely on.

Keys match exactly, else without regard to case; unknown keys are ignored; null leaves the default, and is the empty
text in a list or a map of texts; the last of two equal keys counts. A wrong type is an error for the whole task: no
text is taken for a number or a flag, and a whole number has at most 64 bits.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from domain.errors import InvalidTask

T = TypeVar("T")
WORDS = {str: "a string", int: "a whole number", bool: "true or false"}
LONE = re.compile("[\ud800-\udfff]")
NAME = re.compile(r"\$\{([a-zA-Z0-9_]+)\}")


def decode(args: str, model: type[T]) -> T:
    """Raises InvalidTask naming the key and what was expected."""
    document = load(args)
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise InvalidTask("args must be one JSON object")
    hints = typing.get_type_hints(model)
    lowered = {key.lower(): value for key, value in document.items()}
    values = {}
    for field in dataclasses.fields(model):  # type: ignore[arg-type]
        value = document[field.name] if field.name in document else lowered.get(field.name.lower())
        if value is not None:
            values[field.name] = _typed(field.name, value, hints[field.name])
    return model(**values)


def load(text: str) -> Any:
    """Strict JSON: no NaN, no number beyond a double, no trailing text, no raw control characters.

    Lone surrogates become U+FFFD.
    """
    if not text.strip():
        raise InvalidTask("args is empty: it must be one JSON object")
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_last)
    except (ValueError, RecursionError) as error:
        raise InvalidTask(f"args is not JSON: {error}") from None
    return _repaired(value)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _last(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The last of equal keys, where the last one stands: the order decides between keys of different case."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        found.pop(key, None)
        found[key] = value
    return found


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{digits[:40]} is too large a number")
    return number


def _repaired(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else LONE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_repaired(item) for item in value]
    if isinstance(value, dict):
        return {_repaired(key): _repaired(item) for key, item in value.items()}
    return value


def _typed(key: str, value: Any, wanted: Any) -> Any:
    if wanted is Any:
        return value
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union):
        return _typed(key, value, next(kind for kind in inner if kind is not type(None)))
    if origin in (list, tuple):
        if not isinstance(value, list):
            raise InvalidTask(f"{key} must be a list")
        return origin(_typed(f"{key}[{at}]", item, inner[0]) for at, item in enumerate(value))
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise InvalidTask(f"{key} must be an object")
        return {name: _typed(f"{key}.{name}", item, inner[1]) for name, item in value.items()}
    if value is None:
        return wanted()
    if type(value) is not wanted:
        raise InvalidTask(f"{key} must be {WORDS[wanted]}, not {_name(value)}")
    if wanted is int and not -(1 << 63) <= value < 1 << 63:
        raise InvalidTask(f"{key} must be a whole number of at most 64 bits")
    return value


def _name(value: Any) -> str:
    return {str: "a string", bool: "true or false", int: "a number", float: "a number", list: "a list"}.get(
        type(value), "an object"
    )


def substitute(text: str, environment: Mapping[str, str]) -> str:
    """``${NAME}`` from the task's environment, once through; unknown names stay as they are."""
    return NAME.sub(lambda match: environment.get(match.group(1), match.group()), text)


def need(value: str, key: str) -> str:
    """The value, or InvalidTask where it is blank."""
    if not value.strip():
        raise InvalidTask(f"{key} is missing")
    return value
