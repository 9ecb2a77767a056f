"""The zone of a job: by its name, or the machine's."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from adapters.local.zones import zone
from domain.errors import ConfigError


def test_a_zone_is_known_by_its_name() -> None:
    assert zone("Europe/Berlin").key == "Europe/Berlin"
    assert zone("UTC").key == "UTC"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("europe/berlim", " (did you mean 'Europe/Berlin'?)"),
        ("Europe", ""),
        ("../etc/passwd", ""),
        ("a\0b", ""),
        ("x" * 5000, ""),
        ("+02:00", ""),
    ],
)
def test_a_name_that_is_none_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ConfigError) as told:
        zone(name)
    text = str(told.value)
    assert text.startswith(f"timezone {name!r} is unknown; write it like Europe/Berlin")
    assert not hint or text.endswith(hint)


@pytest.mark.parametrize(("variable", "key"), [("Asia/Tokyo", "Asia/Tokyo"), (":Asia/Tokyo", "Asia/Tokyo")])
def test_the_zone_of_the_environment_is_the_machine_s(monkeypatch: pytest.MonkeyPatch, variable: str, key: str) -> None:
    monkeypatch.setenv("TZ", variable)
    assert zone("").key == key


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("/usr/share/zoneinfo/Africa/Cairo", "Africa/Cairo"),
        ("/etc/localtime", "UTC"),
        (OSError(40, "Too many levels of symbolic links"), "UTC"),
    ],
)
@pytest.mark.parametrize("variable", ["", "CET-1CEST", "/some/file"])
def test_without_one_that_is_a_name_the_machine_s_file_tells_it(
    monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture, variable: str, target: str | OSError, key: str
) -> None:
    monkeypatch.setenv("TZ", variable)
    told = {"return_value": Path(target)} if isinstance(target, str) else {"side_effect": target}
    mocker.patch("pathlib.Path.resolve", **told)
    assert zone("").key == key


def test_a_machine_whose_zone_nobody_knows_is_told_as_that(
    monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
) -> None:
    monkeypatch.delenv("TZ", raising=False)
    mocker.patch("pathlib.Path.resolve", return_value=Path("/usr/share/zoneinfo/Mars/Base"))
    with pytest.raises(ConfigError, match="the machine's zone 'Mars/Base' is unknown"):
        zone("")
