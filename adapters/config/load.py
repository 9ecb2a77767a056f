"""All sources to one Settings, with the place every value came from; or one error that says all that is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel

from adapters.config.checks import both, conflicts, obsolete, unknown_keys, unknown_variables
from adapters.config.loaded import Loaded
from adapters.config.plugins import asked, find_journal, find_source, find_transport, shipped
from adapters.config.settings import Settings, keys, refuse_section, with_sections
from adapters.config.sources import Value, Values, from_assignments, from_environment, from_file, from_source
from adapters.config.typed import typed, validated
from adapters.plugin import JournalPlugin, TransportPlugin
from domain.errors import ConfigError

FILE_NAME = "config_worker.json"
JOURNAL_SECTION = "journal_options"
Told = list[tuple[str, str]]  # keys, and what is wrong with each


class WrongSettings(ConfigError):
    """All that was found wrong; ``loaded`` has the defaults in the place of it, for whoever looks for more."""

    def __init__(self, problems: Sequence[str], loaded: Loaded) -> None:
        super().__init__("\n".join(problems))
        self.loaded = loaded


@dataclass(frozen=True, slots=True)
class _Sources:
    """What does not change while it is found out which plug-ins there are."""

    file: Values
    environment: Mapping[str, str]
    assignments: Values

    def merged(self, plugins: Sequence[TransportPlugin]) -> Values:
        pairs = [pair for plugin in plugins for pair in plugin.alternatives]
        values = layered(self.file, from_environment(self.environment, _variables(plugins)), pairs)
        return layered(values, self.assignments, pairs)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The plug-ins of a worker. ``chosen`` is None for auto; ``unusable`` tells of those that cannot be had."""

    transports: Sequence[TransportPlugin]
    chosen: TransportPlugin | None
    journal: JournalPlugin
    unusable: Told

    def sections(self) -> dict[str, type[BaseModel]]:
        found = {name: section for plugin in self.transports for name, section in plugin.sections.items()}
        return found | ({JOURNAL_SECTION: self.journal.section} if self.journal.section.model_fields else {})


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
    """Merge defaults, file, further sources, environment and command line, in rising precedence.

    Raises ConfigError; WrongSettings where the sources could be read.
    """
    environment = os.environ if environment is None else environment
    file = find_file(explicit, environment, program or Path.cwd() / "bootstrap.py")
    return _load(file, assignments or {}, environment)


def defaults(assignments: Mapping[str, str]) -> Loaded:
    """The settings of a program that reads no file and no environment: defaults, and what is assigned here."""
    return _load(None, assignments, {})


def _load(file: Path | None, assignments: Mapping[str, str], environment: Mapping[str, str]) -> Loaded:
    plugins = shipped()
    given = from_assignments(assignments, "command line")
    values = from_file(file) if file is not None else {}
    pairs = [pair for plugin in plugins for pair in plugin.alternatives]
    values = layered(values, _further(values | given, environment), pairs)
    sources = _Sources(values, environment, given)
    values = sources.merged(plugins)
    chosen, problems = _chosen(values, plugins)
    if chosen is not None and not any(chosen is plugin for plugin in plugins):
        plugins.append(chosen)
        values = sources.merged(plugins)
    journal, unusable = _journal(values, plugins)
    base = file.parent.absolute() if file is not None else Path.cwd()
    parts = _Parts(plugins, chosen, journal, problems + unusable)
    return _judged(values, unknown_variables(environment, _variables(plugins)), base, parts)


def _judged(values: Values, problems: list[str], base: Path, parts: _Parts) -> Loaded:
    """The settings, if all is right with them. Raises WrongSettings."""
    plugins, journal = parts.transports, parts.journal
    model = with_sections(parts.sections())
    values = typed(values, model)
    secrets = frozenset([*journal.secrets, *(key for plugin in plugins for key in plugin.secrets)])
    problems += obsolete(values, {key: value for plugin in plugins for key, value in plugin.obsolete.items()})
    problems += unknown_keys(values, keys(model))
    settings, wrong, texts = validated(model, values, secrets)
    wrong |= {key for key, _ in parts.unusable}
    sources = {key: value.source for key, value in values.items()}
    loaded = Loaded(settings, sources, base, parts.chosen or plugins[0], model, secrets, frozenset(wrong))
    if parts.chosen is None:
        loaded = replace(loaded, transport=next(it for it in plugins if it.is_configured(loaded)))
    pairs = [pair for plugin in plugins for pair in plugin.alternatives]
    told = [*conflicts(loaded), *both(pairs, values)]
    told += asked(loaded.transport.name, "transport", loaded.transport.check, loaded)
    told += asked(journal.name, "journal", journal.check, loaded)
    # What is of the wrong type is not judged twice; everything else is.
    told = [*parts.unusable, *(pair for pair in told if pair[0] not in wrong)]
    problems += [*texts, *(loaded.told(key, text) for key, text in told)]
    if problems:
        raise WrongSettings(problems, loaded)
    return loaded


def _variables(plugins: Sequence[TransportPlugin]) -> dict[str, str]:
    return {name: key for plugin in plugins for name, key in plugin.variables.items()}


def _chosen(values: Values, plugins: Sequence[TransportPlugin]) -> tuple[TransportPlugin | None, Told]:
    """The transport that the settings name; None for auto, or where it cannot be had."""
    given = values.get("transport", Value("auto", "default"))
    if not isinstance(given.raw, str) or given.raw.strip() == "auto":
        return None, []
    taken = {name: plugin for plugin in plugins for name in plugin.sections}
    try:
        found = find_transport(given.raw.strip())
        if not any(found is plugin for plugin in plugins):
            for name, section in found.sections.items():
                refuse_section(name, section, {**taken, JOURNAL_SECTION: None})
        return found, []
    except ConfigError as error:
        return None, [("transport", str(error))]


def _journal(values: Values, plugins: Sequence[TransportPlugin]) -> tuple[JournalPlugin, Told]:
    """The journal that the settings name; the usual one where that cannot be had."""
    usual = Settings.model_fields["journal"].default
    given = values.get("journal", Value(usual, "default"))
    if not isinstance(given.raw, str):
        return find_journal(usual), []
    try:
        found = find_journal(given.raw.strip())
        refuse_section(JOURNAL_SECTION, found.section, {name: None for plugin in plugins for name in plugin.sections})
        return found, []
    except ConfigError as error:
        return find_journal(usual), [("journal", str(error))]


def _further(values: Values, environment: Mapping[str, str]) -> Values:
    """What the sources give that the file or the command line names."""
    given = values.get("config_sources", Value([], "default"))
    names = given.raw.split(",") if given.text else given.raw
    found: Values = {}
    for name in names if isinstance(names, list) else ():
        try:
            found |= from_source(find_source(str(name).strip()), environment)
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
