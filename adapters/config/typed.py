"""Raw values to settings of the types that their keys want."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from adapters.config.checks import explain
from adapters.config.settings import Settings, keys
from adapters.config.sources import Value, Values, level_name

SEPARATORS = {"runners.script_dirs": ";"}


def typed(values: Values, model: type[BaseModel]) -> Values:
    """The values, each of the type that its key wants as far as that can be read from a text."""
    read = {
        key: Value(from_text(model, key, value.raw), value.source) if value.text else value
        for key, value in values.items()
    }
    return gathered(read, [key for key in keys(model) if _kind(model, key) == "dict"])


def gathered(values: Values, objects: list[str]) -> Values:
    """What stands below one of the keys ``objects`` as the entries of one object: its keys are nobody's to know."""
    found: Values = {}
    for key, value in values.items():
        above = next((known for known in objects if key.startswith(f"{known}.")), None)
        if above is None:
            found[key] = value
            continue
        former = found.get(above, Value({}, value.source))
        if isinstance(former.raw, dict):
            found[above] = replace(value, raw=former.raw | {key.removeprefix(f"{above}."): value.raw})
    return found


def from_text(model: type[BaseModel], key: str, text: str) -> Any:
    """A text as the JSON value that the key's type wants; a text that does not fit stays one and is refused later."""
    kind = _kind(model, key)
    if kind == "list":
        return [item.strip() for item in text.split(SEPARATORS.get(key, ",")) if item.strip()]
    if kind == "number" and re.fullmatch(r"-?\d+(\.\d+)?", text):
        with contextlib.suppress(ValueError):  # thousands of digits
            return float(text) if "." in text else int(text)
    if kind == "bool" and text.lower() in ("true", "false", "1", "0", "yes", "no"):
        return text.lower() in ("true", "1", "yes")
    if key == "log.level":
        return level_name(text)
    return text


def _kind(model: Any, key: str) -> str:
    head, _, rest = key.partition(".")
    field = model.model_fields.get(head)
    if field is None:
        return "text"
    if rest:
        return _kind(field.annotation, rest) if hasattr(field.annotation, "model_fields") else "text"
    name = str(field.annotation)
    for kind in ("list", "dict"):
        if name.startswith(kind):
            return kind
    if field.annotation is bool:
        return "bool"
    return "number" if "int" in name or "float" in name else "text"


def validated(model: type[Settings], values: Values, secrets: frozenset[str]) -> tuple[Settings, set[str], list[str]]:
    """The settings, with the defaults in the place of what has a wrong type; the keys of that, and a text for each."""
    known = set(keys(model))
    usable = {key: value.raw for key, value in values.items() if key in known}
    wrong: set[str] = set()
    texts: list[str] = []
    while True:
        document: dict[str, Any] = {}
        for key, raw in usable.items():
            place(document, key, raw)
        try:
            return model.model_validate(document), wrong, texts
        except ValidationError as error:
            found = explain(error, values, secrets)
            texts += [text for _, text in found]
            bad = {key for key, _ in found} & usable.keys()
            if not bad:
                return model(), wrong | {key for key, _ in found}, texts
            wrong |= bad
            usable = {key: raw for key, raw in usable.items() if key not in bad}


def place(document: dict[str, Any], key: str, raw: Any) -> None:
    *parents, name = key.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
    document[name] = raw
