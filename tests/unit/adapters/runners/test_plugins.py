"""Runners of others: one that cannot be loaded leaves the others alone."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
from pytest_mock import MockerFixture

from adapters.runners.command import CommandRunner
from adapters.runners.plugins import RUNNERS, load_runners
from adapters.runners.script import ScriptRunner
from domain.runner import RunnerRegistry


def named(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, RUNNERS)


def test_runners_come_from_entry_points_and_the_settings_have_the_last_word(mocker: MockerFixture) -> None:
    points = [
        named("a", "adapters.runners.command:CommandRunner"),
        named("b", "adapters.runners.command:CommandRunner"),
    ]
    asked = mocker.patch("importlib.metadata.entry_points", return_value=points)
    registry = RunnerRegistry()
    assert load_runners(registry, {"b": "adapters.runners.script:ScriptRunner"}) == []
    assert isinstance(registry.create("a"), CommandRunner)
    assert isinstance(registry.create("b"), ScriptRunner)
    asked.assert_called_once_with(group=RUNNERS)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("no_such_module:X", "ModuleNotFoundError"),
        ("json:NoSuchName", "AttributeError"),
        ("json:JSONDecoder", "what it makes is not a Runner: see docs/writing-a-runner.md"),
        ("sys:exit", "SystemExit"),
    ],
)
def test_what_cannot_be_loaded_is_told_with_its_origin_and_not_registered(
    mocker: MockerFixture, target: str, told: str
) -> None:
    mocker.patch("importlib.metadata.entry_points", return_value=[named("broken", target)])
    registry = RunnerRegistry()
    problems = load_runners(registry, {"mine": target, "fine": "adapters.runners.command:CommandRunner"})
    assert registry.list() == ["fine"]
    assert [text.split(" cannot")[0] for text in problems] == [
        f"the runner for 'broken' (entry point {target})", f"the runner for 'mine' (runners.plugins {target})",
    ]  # fmt: skip
    assert all(told in text for text in problems)
