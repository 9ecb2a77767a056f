"""All sources to one Settings, with the place every value came from; or one error that says all that is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from adapters.config.checks import both, conflicts, explain, obsolete, unknown_keys, unknown_variables
from adapters.config.plugins import find_source, find_transport, shipped
from adapters.config.settings import Settings, keys, with_sections
from adapters.config.sources import Value, Values, from_assignments, from_environment, from_file, from_source, typed
from adapters.plugin import AnySection, TransportPlugin
from application.ports import Identity, Limits, LinkTimes
from domain.errors import ConfigError
from domain.runner import RunnerRegistry

FILE_NAME = "config_worker.json"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, the source of each dotted key, the transport that they chose, and where relative paths are meant from.

    ``model`` is the class of ``settings``; ``secrets`` are the keys whose values nobody is shown.
    """

    settings: Settings
    sources: Mapping[str, str]
    base: Path
    transport: TransportPlugin
    model: type[Settings]
    secrets: frozenset[str]

    @property
    def address(self) -> str:
        return self.settings.transport if "://" in self.settings.transport else ""

    def section(self, model: type[AnySection]) -> AnySection:
        for name in self.model.model_fields:
            value = getattr(self.settings, name)
            if isinstance(value, model):
                return value
        raise KeyError(f"the settings have no section {model.__name__}")

    def path(self, text: str) -> Path:
        return (self.base / text).absolute()

    def secret_values(self) -> tuple[str, ...]:
        """What nobody is shown, as far as it stands in the settings themselves."""
        return tuple(str(value) for key in self.secrets if (value := self._value(key)))

    @property
    def cgroup(self) -> str:
        """``execution.cgroup``, a directory made absolute."""
        text = self.settings.execution.cgroup
        return text if text in ("auto", "off") else str(self.path(text))

    def limits(self, times: LinkTimes) -> Limits:
        execution = self.settings.execution
        return Limits(
            concurrency=self.settings.worker.concurrency,
            grace=execution.grace,
            lease_ttl=execution.lease_ttl,
            ping_interval=times.ping_interval,
            pong_timeout=times.pong_timeout,
            reconnect_cap=times.reconnect_cap,
            drain=execution.drain,
            outbox=execution.outbox,
            output_limit=execution.output_limit,
        )

    def identity(self, worker_id: str, default_name: str, registry: RunnerRegistry, problems: list[str]) -> Identity:
        """Who this worker is and what it takes; a category without a runner is left out and told in ``problems``."""
        asked = self.settings.worker
        known = set(registry.list())
        if missing := [category for category in asked.tasks if category not in known]:
            text = f"no runner is there for {', '.join(missing)}; such tasks are not taken"
            problems.append(f"{self.source('worker.tasks')}: worker.tasks: {text}")
        tasks = tuple(category for category in asked.tasks if category in known)
        name = asked.name or default_name
        return Identity(worker_id, name, asked.description, asked.working_dir, tasks)

    def source(self, key: str) -> str:
        return self.sources.get(key, "settings")

    def rows(self) -> list[tuple[str, str, str]]:
        """(key, value as text, source), secrets masked."""
        found = []
        for key in keys(self.model):
            value = self._value(key)
            shown = "***" if key in self.secrets and value else repr(value) if isinstance(value, str) else str(value)
            found.append((key, shown, self.sources.get(key, "default")))
        return found

    def _value(self, key: str) -> Any:
        value: Any = self.settings
        for part in key.split("."):
            value = getattr(value, part)
        return value


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
    """Merge defaults, file, further sources, environment and command line, in rising precedence. Raises ConfigError."""
    environment = os.environ if environment is None else environment
    plugins = shipped()
    variables = {name: key for plugin in plugins for name, key in plugin.variables.items()}
    file = find_file(explicit, environment, program or Path.cwd() / "bootstrap.py")
    pairs = [pair for plugin in plugins for pair in plugin.alternatives]
    values = from_file(file) if file is not None else {}
    values = layered(values, _further(values, environment), pairs)
    values = layered(values, from_environment(environment, variables), pairs)
    values = layered(values, from_assignments(assignments or {}, "command line"), pairs)
    chosen, problems = _choose(values)
    if chosen is not None and chosen.name not in {plugin.name for plugin in plugins}:
        plugins.append(chosen)
    model = with_sections({name: section for plugin in plugins for name, section in plugin.sections.items()})
    values = typed(values, model)
    secrets = frozenset(key for plugin in plugins for key in plugin.secrets)
    problems += obsolete(values, {key: value for plugin in plugins for key, value in plugin.obsolete.items()})
    problems += [*unknown_keys(values, keys(model)), *unknown_variables(environment, variables)]
    settings, wrong, texts = validated(model, values, secrets)
    problems += texts
    base = file.parent.absolute() if file is not None else Path.cwd()
    sources = {key: value.source for key, value in values.items()}
    loaded = Loaded(settings, sources, base, chosen or plugins[0], model, secrets)
    if chosen is None:
        loaded = replace(loaded, transport=next(it for it in plugins if it.is_configured(loaded)))
    # What is of the wrong type is not judged twice; everything else is.
    told = [*conflicts(loaded), *both(pairs, values), *loaded.transport.check(loaded)]
    problems += [f"{loaded.source(key)}: {key}: {text}" for key, text in told if key not in wrong]
    if problems:
        raise ConfigError("\n".join(problems))
    return loaded


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


def _choose(values: Values) -> tuple[TransportPlugin | None, list[str]]:
    """The transport that the settings name; None for auto, or where it cannot be had."""
    given = values.get("transport", Value("auto", "default"))
    if not isinstance(given.raw, str) or given.raw.strip() == "auto":
        return None, []
    try:
        return find_transport(given.raw.strip()), []
    except ConfigError as error:
        return None, [f"{given.source}: transport: {error}"]


def _further(values: Values, environment: Mapping[str, str]) -> Values:
    """What the sources give that the file names."""
    given = values.get("config_sources", Value([], "default"))
    found: Values = {}
    for name in given.raw if isinstance(given.raw, list) else ():
        try:
            found |= from_source(find_source(str(name)), environment)
        except ConfigError as error:
            raise ConfigError(f"{given.source}: config_sources: {error}") from None
    return found


def layered(lower: Values, upper: Values, pairs: Sequence[tuple[str, str]]) -> Values:
    """``upper`` over ``lower``. ``pairs`` of keys are one setting in two forms: the later one hides the earlier."""
    hidden = {
        other
        for pair in pairs
        for key, other in (pair, pair[::-1])
        if key in upper and upper[key].raw and other not in upper
    }
    return {key: value for key, value in lower.items() if key not in hidden} | upper


def place(document: dict[str, Any], key: str, raw: Any) -> None:
    *parents, name = key.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
    document[name] = raw
