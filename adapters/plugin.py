"""The door by which transports, journals and sources of settings come in: ours and those of other teams alike.

A plug-in is one object in a module. An entry point names it (groups ``cronjob_worker.transports``,
``cronjob_worker.journals``, ``cronjob_worker.config_sources``), or the settings do, as ``module:object``.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from application.ports import Identity, Journal, Metrics, Runtime, Server
from domain.runner import RunnerRegistry

TRANSPORTS = "cronjob_worker.transports"
JOURNALS = "cronjob_worker.journals"
CONFIG_SOURCES = "cronjob_worker.config_sources"
RUNNERS = "cronjob_worker.runners"

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h|d)", re.ASCII)
_LOGIN = re.compile(r"(?<=://)[^/?#]*@")

# --- the settings of a plug-in ---------------------------------------------------------------------------------------


class Section(BaseModel):
    """A section of the settings: unknown keys are refused, types are not guessed. Every field has a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _duration(value: Any) -> Any:
    """``"90s"`` as people write it; anything else is left for the type to judge."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(match[1]) * UNITS[match[2]] if match else value


Duration = Annotated[float, BeforeValidator(_duration), Field(allow_inf_nan=False)]
Seconds = Annotated[Duration, Field(gt=0, le=86_400 * 30)]
Text = Annotated[str, StringConstraints(strip_whitespace=True)]

AnySection = TypeVar("AnySection", bound=BaseModel)


def without_login(address: str) -> str:
    """An address as it may be shown."""
    return _LOGIN.sub("***@", address)


class LoadedSettings(Protocol):
    """The settings as a plug-in sees them."""

    @property
    def address(self) -> str:
        """The setting ``transport`` where it is an address (``scheme://...``), else empty."""

    def section(self, model: type[AnySection]) -> AnySection:
        """The plug-in's own section, by its model."""

    def path(self, text: str) -> Path:
        """A path of the settings, made absolute: relative ones are meant from the file's directory, ``~`` from home."""


# --- what a plug-in is ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the factory of a plug-in gets. ``stack`` closes what has to be closed when the worker ends, last one first.

    ``state_dir`` is private (0700) and this worker's alone. What ``mask`` was told is shown in no log, output or error.
    """

    settings: LoadedSettings
    runtime: Runtime
    metrics: Metrics
    state_dir: Path
    stack: ExitStack
    mask: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Checked:
    """What ``inspect`` may look at: it starts nothing and connects nowhere."""

    settings: LoadedSettings
    identity: Identity
    runners: RunnerRegistry


@dataclass(frozen=True, slots=True)
class TransportPlugin:
    """A way to a server.

    ``open`` makes it; called once, after the settings were found right; raises ConfigError. ``sections`` are its parts
    of the settings, by names that nobody else has; ``transport_options`` is the usual one where there is but one.
    ``check`` yields (key, what is wrong and what to do) for settings of the right types, at each start; ``inspect``
    yields more of it where people ask for it (``config check``). ``where`` tells people the address in a line, without
    secrets. ``is_configured`` tells whether ``transport: auto`` means this one, and is asked of those that ship.
    ``secrets`` name the keys whose values are never shown. ``variables`` maps environment variables to keys.
    ``alternatives`` are two keys for one thing: of two sources the later one counts. ``obsolete`` keys are accepted
    with the one value that they ever had.
    """

    name: str
    open: Callable[[Surroundings], Server]
    sections: Mapping[str, type[BaseModel]] = field(default_factory=dict)
    schemes: Sequence[str] = ()
    check: Callable[[LoadedSettings], Iterable[tuple[str, str]]] = lambda _: ()
    inspect: Callable[[Checked], Iterable[tuple[str, str]]] = lambda _: ()
    where: Callable[[LoadedSettings], str] = lambda settings: without_login(settings.address)
    is_configured: Callable[[LoadedSettings], bool] = lambda _: False
    secrets: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    alternatives: Sequence[tuple[str, str]] = ()
    obsolete: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JournalPlugin:
    """A place for tasks in hand and their ends.

    ``open``, ``check`` and ``secrets`` are as those of a transport. ``section``, where it has fields, is the section
    ``journal_options`` of the settings.
    """

    name: str
    open: Callable[[Surroundings], Journal]
    section: type[BaseModel] = Section
    check: Callable[[LoadedSettings], Iterable[tuple[str, str]]] = lambda _: ()
    secrets: Sequence[str] = ()


@runtime_checkable
class ConfigSource(Protocol):
    """One more place where settings stand, such as a secret store. Read once, when the program starts."""

    name: str

    def read(self, environment: Mapping[str, str]) -> Mapping[str, Any]:
        """Dotted keys (``server.auth_token``) to values of JSON's types; blocks for seconds at most.

        Raises ConfigError, with the remedy, where it cannot be read.
        """


def load_object(target: str) -> Any:
    """What ``module:object`` names. Raises whatever its import raises."""
    module, colon, name = target.partition(":")
    if not colon:
        raise ValueError("write it as module:object")
    return getattr(importlib.import_module(module), name)
