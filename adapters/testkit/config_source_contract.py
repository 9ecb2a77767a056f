"""What every further source of settings promises: subclass ``ConfigSourceContract`` in a test module of yours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from adapters.config.sources import from_source
from adapters.plugin import ConfigSource
from adapters.testkit.promises import broken, kept
from adapters.testkit.watch_contracts import at_once
from domain.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SourceCase:
    """A source, the environment that it reads, what it has to give then, and an environment in which it cannot."""

    source: ConfigSource
    environment: Mapping[str, str]
    gives: Mapping[str, Any]
    unreadable: Mapping[str, str] | None = None


class ConfigSourceContract:
    @pytest.fixture
    def case(self) -> Iterator[SourceCase]:
        """Write this one."""
        raise NotImplementedError("give the fixture 'case'")

    def test_it_has_a_name_for_people(self, case: SourceCase) -> None:
        kept(isinstance(case.source, ConfigSource), "it is a ConfigSource", f"it is {type(case.source).__name__}")
        kept(bool(case.source.name.strip()), "a source has a name, which errors name", "it is empty")

    def test_it_gives_its_settings_in_time(self, case: SourceCase) -> None:
        at_once(lambda: case.source.read(case.environment), "ConfigSource.read")
        found = {key: value.raw for key, value in from_source(case.source, case.environment).items()}
        kept(found == dict(case.gives), "ConfigSource.read gives what stands there", f"of {case.gives} came {found}")

    def test_values_are_those_of_json(self, case: SourceCase) -> None:
        odd = {
            key: value.raw
            for key, value in from_source(case.source, case.environment).items()
            if not isinstance(value.raw, str | int | float | bool | list | dict | None)
        }
        kept(not odd, "values have JSON's types", f"others are {odd}")

    def test_where_it_cannot_be_read_it_says_so(self, case: SourceCase) -> None:
        if case.unreadable is None:
            pytest.skip("this source can always be read: unreadable is None")
        try:
            case.source.read(case.unreadable)
        except ConfigError as error:
            kept(len(str(error)) > 10, "ConfigError tells what is wrong and what to do", f"it says {str(error)!r}")
        except Exception as error:  # noqa: BLE001 - that is what is tested
            broken("ConfigSource.read raises ConfigError and nothing else", f"it raised {error!r}")
        else:
            broken("ConfigSource.read raises ConfigError where it cannot be read", "it returned")
