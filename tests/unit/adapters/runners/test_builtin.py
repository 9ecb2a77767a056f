"""The runners that ship, and what of the settings reaches them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from adapters.runners.builtin import all_runners, register_builtin
from adapters.runners.command import CommandRunner
from domain.errors import InvalidTask
from domain.result import EndReason
from domain.runner import ExecutionContext
from tests.support.runner_fakes import Programs

CATEGORIES = [
    "approval",
    "command",
    "container",
    "database",
    "default",
    "docker",
    "file",
    "git",
    "http",
    "message",
    "script",
]


@dataclass
class Allowed:
    script_dirs: list[str] = field(default_factory=lambda: ["scripts"])
    file_roots: list[str] = field(default_factory=lambda: ["files"])
    known_hosts: str = ""
    ca_file: str = ""
    http_public_only: bool = False
    plugins: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Loaded:
    directory: Path
    runners: Allowed = field(default_factory=Allowed)

    def path(self, text: str) -> Path:
        return self.directory / text


def test_each_category_has_a_runner_and_each_run_one_of_its_own(tmp_path: Path) -> None:
    registry = register_builtin(Allowed(), Loaded(tmp_path).path)
    assert registry.list() == CATEGORIES
    for category in CATEGORIES:
        assert type(registry.create(category)) is type(registry.create(category))
        assert registry.create(category) is not registry.create(category)


def test_directories_of_the_settings_are_where_its_place_is(tmp_path: Path) -> None:
    registry = register_builtin(Allowed(), Loaded(tmp_path).path)
    stat = registry.create("file")
    stat.parse_args("", json.dumps({"action": "stat", "path": f"{tmp_path}/files/a"}))
    with pytest.raises(InvalidTask, match="FILE_RUNNER_ALLOWED_PATHS"):
        stat.parse_args("", json.dumps({"action": "stat", "path": f"{tmp_path}/a"}))
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/x.sh").touch()
    programs = Programs()
    script = register_builtin(Allowed(), Loaded(tmp_path).path, processes=programs).create("script")
    script.parse_args("", json.dumps({"language": "sh", "type": "file", "file": f"{tmp_path}/scripts/x.sh"}))
    script.execute(ExecutionContext())
    assert [list(command.argv) for command in programs.commands] == [["/bin/bash", f"{tmp_path}/scripts/x.sh"]]


def test_the_guard_reads_the_environment_of_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMAND_BLOCKED", "forbidden")
    registry = register_builtin(Allowed(), Loaded(tmp_path).path)
    with pytest.raises(InvalidTask, match="COMMAND_BLOCKED"):
        registry.create("command").parse_args("forbidden", "")


def test_public_addresses_only_reaches_http_tasks(tmp_path: Path) -> None:
    runner = register_builtin(Allowed(http_public_only=True), Loaded(tmp_path).path).create("http")
    runner.parse_args("", json.dumps({"url": "http://127.0.0.1:9/"}))
    result = runner.execute()
    assert (result.end_reason, "not a public one" in result.error) == (EndReason.FAILED, True)


def test_runners_of_others_join_them_and_their_problems_are_told(tmp_path: Path, mocker: MockerFixture) -> None:
    mocker.patch("importlib.metadata.entry_points", return_value=[])
    plugins = {"mine": "adapters.runners.command:CommandRunner", "gone": "no_such_module:X"}
    problems: list[str] = []
    registry = all_runners(Loaded(tmp_path, Allowed(plugins=plugins)), problems)
    assert registry.list() == sorted([*CATEGORIES, "mine"])
    assert isinstance(registry.create("mine"), CommandRunner)
    assert len(problems) == 1
