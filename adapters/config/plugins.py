"""Plug-ins by name: those that ship, those that entry points name, and those that the settings name themselves."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from adapters.builtin import AUTO, BUILTIN, OLD_NAMES
from adapters.plugin import (
    CONFIG_SOURCES,
    JOURNALS,
    TRANSPORTS,
    ConfigSource,
    JournalPlugin,
    TransportPlugin,
    load_object,
)
from domain.errors import ConfigError

_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://|$)")

Kind = TypeVar("Kind")
Subject = TypeVar("Subject")


def find(group: str, name: str, kind: type[Kind]) -> Kind:
    """The plug-in that ``name`` means: one that ships, an entry point of ``group``, or ``module:object``.

    Raises ConfigError.
    """
    name = OLD_NAMES.get(name, name)
    points = {point.name: point.value for point in importlib.metadata.entry_points(group=group)}
    known = points | BUILTIN.get(group, {})
    target = known.get(name, name)
    if not _TARGET.fullmatch(target):
        raise ConfigError(f"{name!r} is none of {', '.join(sorted(known)) or 'the installed ones'}, nor module:object")
    try:
        found = load_object(target)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{name!r} ({target}) cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(found, kind):
        raise ConfigError(f"{name!r} ({target}) is a {type(found).__name__} and not a {kind.__name__}")
    return found


def shipped() -> list[TransportPlugin]:
    """The transports that ship, in the order in which ``transport: auto`` asks them."""
    return [find(TRANSPORTS, name, TransportPlugin) for name in AUTO]


def find_transport(text: str) -> TransportPlugin:
    """The transport that the setting names: by the scheme of an address, by name, or as module:object.

    Raises ConfigError.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        return find(TRANSPORTS, text, TransportPlugin)
    for plugin in shipped():
        if scheme[1].lower() in plugin.schemes:
            return plugin
    # An entry point is found by its own name, so that no plug-in is imported that nobody has chosen.
    return find(TRANSPORTS, scheme[1].lower(), TransportPlugin)


def find_journal(name: str) -> JournalPlugin:
    """Raises ConfigError."""
    return find(JOURNALS, name, JournalPlugin)


def find_source(name: str) -> ConfigSource:
    """Raises ConfigError."""
    return find(CONFIG_SOURCES, name, ConfigSource)  # type: ignore[type-abstract]


def asked(
    name: str, key: str, check: Callable[[Subject], Iterable[tuple[str, str]]], subject: Subject
) -> Iterator[tuple[str, str]]:
    """What the check of a plug-in says; a check that fails itself is told as well."""
    try:
        yield from check(subject)
    except Exception as error:  # noqa: BLE001 - anything may go wrong in somebody else's module
        yield key, f"the check of {name} failed: {type(error).__name__}: {error}"
