"""The schedule file as JSON, with what JSON lets pass and nobody can mean."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from adapters.local.reading import DEEP, Doubled, check, document, unknown
from domain.errors import ConfigError

KEYS = ("name", "time", "command", "timezone")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "schedule.json"


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_the_entries_are_told_as_they_stand_there(path: Path) -> None:
    path.write_text('\ufeff{"jobs": [{"name": "\u65e5"}, 5]}', encoding="utf-8")
    assert document(path, KEYS) == ([{"name": "\u65e5"}, 5], [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "line 1, column 2: "),
        ('{"jobs":\n oops}', "line 2, column 2: "),
        ("[]", 'must hold {"jobs": [...]}'),
        ('{"jobs": {}}', "'jobs' must be called 'jobs', and be a list"),
        ('{"Job": []}', "'Job' must be called 'jobs', and be a list"),
        ('{"jobs": [], "jobs": []}', "tells 'jobs' twice; only the last would count"),
        ('{"jobs": [' + "1" * 5000 + "]}", "a number of more digits than anybody can mean"),
        ("[" * 100_000, "is not JSON in UTF-8"),
    ],
)
def test_a_file_whose_entries_cannot_be_told_is_refused_by_name(path: Path, text: str, reason: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))}: .*{re.escape(reason)}"):
        document(path, KEYS)


def test_bytes_that_are_no_text_and_a_file_that_is_not_there_are_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        document(path, KEYS)
    path.write_bytes(b'{"jobs": ["\xff"]}')
    with pytest.raises(ConfigError, match="is not JSON in UTF-8"):
        document(path, KEYS)


@pytest.mark.parametrize(
    ("key", "remedy"),
    [("job", "did you mean 'jobs'"), ("timezones", "write 'timezone' into each job"), ("colour", "take it out")],
)
def test_a_key_beside_the_jobs_is_told_with_what_to_do(path: Path, key: str, remedy: str) -> None:
    path.write_text(f'{{"jobs": [], "{key}": 1}}')
    entries, (problem,) = document(path, KEYS)
    assert entries == []
    assert f"unknown key {key!r} beside 'jobs'" in problem
    assert remedy in problem


def test_a_key_that_is_not_known_is_told_with_the_nearest_or_all() -> None:
    assert unknown("Comand", KEYS) == "unknown key 'Comand'; did you mean 'command'?"
    assert unknown("xyz", KEYS) == "unknown key 'xyz'; known are name, time, command, timezone"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"args": {"a": [1, float("nan")]}}, "args.a.2 is nan, which is no number"),
        ({"retry_delay": float("-inf")}, "retry_delay is -inf"),
        ({"name": "\ud83d"}, "name holds half of a character"),
        ({"args": {"\udc00": 1}}, "args holds half of a character"),
        ({"args": nested(DEEP)}, f"is nested deeper than {DEEP} levels"),
        (float("inf"), "is inf"),
    ],
)
def test_what_has_no_meaning_is_refused_with_its_place_however_deep_it_stands(entry: Any, reason: str) -> None:
    with pytest.raises(ConfigError) as told:
        check(entry)
    assert reason in str(told.value)


def test_a_key_that_an_entry_tells_twice_is_found_by_its_name(path: Path) -> None:
    path.write_text('{"jobs": [{"name": "a", "args": {"x": 1, "y": 2, "x": 3}}]}')
    ((entry,), _) = document(path, KEYS)
    assert isinstance(entry["args"], Doubled)
    with pytest.raises(ConfigError, match="args tells 'x' twice"):
        check(entry)


@pytest.mark.parametrize("entry", [{}, {"a": None, "b": [True, 1.5, "\u65e5"]}, 5, None, nested(DEEP)])
def test_anything_else_may_be_stored(entry: Any) -> None:
    check(entry)
