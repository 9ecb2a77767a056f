"""The settings as the program uses them: each value with its source, paths made absolute, secrets known."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from adapters.config.settings import Runners, Settings, keys
from adapters.plugin import AnySection, TransportPlugin, without_login
from application.ports import Identity, Limits
from domain.errors import ConfigError
from domain.runner import RunnerRegistry

KILL_AND_FLUSH = 60.0  # seconds that ending may take beyond drain and grace: kill, tear down, flush


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, the source of each dotted key, the transport that they chose, and where relative paths are meant from.

    ``model`` is the class of ``settings``; ``secrets`` are the keys whose values nobody is shown; ``wrong`` are keys
    whose values were refused and which hold their defaults here.
    """

    settings: Settings
    sources: Mapping[str, str]
    base: Path
    transport: TransportPlugin
    model: type[Settings]
    secrets: frozenset[str]
    wrong: frozenset[str] = frozenset()

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
        path = Path(text)
        with contextlib.suppress(RuntimeError):  # a user whom nobody knows
            path = path.expanduser()
        return (self.base / path).absolute()

    @property
    def runners(self) -> Runners:
        return self.settings.runners

    @property
    def state_dir(self) -> Path:
        return self.path(self.settings.state_dir)

    def secret_values(self) -> tuple[str, ...]:
        """What nobody is shown, as far as it stands in the settings themselves."""
        found = [str(value) for key in self.secrets if (value := self._value(key))]
        login = urlsplit(self.address).netloc.rpartition("@")[0]
        if password := login.partition(":")[2]:
            found += [password, unquote(password)]
        return tuple(found)

    @property
    def cgroup(self) -> str:
        """``execution.cgroup``, a directory made absolute."""
        text = self.settings.execution.cgroup
        return text if text in ("auto", "off") else str(self.path(text))

    def limits(self) -> Limits:
        execution = self.settings.execution
        return Limits(
            concurrency=self.settings.worker.concurrency,
            grace=execution.grace,
            lease_ttl=execution.lease_ttl,
            on_lost_lease=execution.on_lost_lease,
            drain=execution.drain,
            outbox=execution.outbox,
            output_limit=execution.output_limit,
        )

    @property
    def longest_end(self) -> float:
        """Seconds that a worker may take from the wish to end until it is gone."""
        return self.settings.execution.drain + self.settings.execution.grace + KILL_AND_FLUSH

    def identity(self, worker_id: str, default_name: str, registry: RunnerRegistry, problems: list[str]) -> Identity:
        """Who this worker is and what it takes; a category without a runner is left out and told in ``problems``.

        Raises ConfigError where nothing is left, for that would mean every category.
        """
        asked = self.settings.worker
        known = set(registry.list())
        if missing := [category for category in asked.tasks if category not in known]:
            text = f"no runner is there for {', '.join(missing)}; such tasks are not taken"
            problems.append(self.told("worker.tasks", text))
        tasks = tuple(category for category in asked.tasks if category in known)
        if not tasks:
            text = f"no runner is there for any of them; there are {', '.join(sorted(known))}"
            raise ConfigError(self.told("worker.tasks", text))
        name = asked.name or default_name
        return Identity(worker_id, name, asked.description, asked.working_dir, tasks)

    def source(self, key: str) -> str:
        return self.sources.get(key, "settings")

    def told(self, key: str, text: str) -> str:
        """What is wrong with a key, with its source."""
        return f"{self.source(key)}: {key}: {text}"

    def explain(self, error: ConfigError) -> ConfigError:
        """An error that begins with a key of the settings, with the source of that key too."""
        key, colon, text = str(error).partition(": ")
        return ConfigError(self.told(key, text)) if colon and key in keys(self.model) else error

    def rows(self) -> list[tuple[str, str, str]]:
        """(key, value as text, source), secrets masked."""
        found = []
        for key in keys(self.model):
            value = self._value(key)
            if key == "transport":
                value = without_login(value)
            shown = "***" if key in self.secrets and value else repr(value) if isinstance(value, str) else str(value)
            found.append((key, shown, self.sources.get(key, "default")))
        return found

    def _value(self, key: str) -> Any:
        value: Any = self.settings
        for part in key.split("."):
            value = getattr(value, part)
        return value
