"""The embedded schedule comes in by the door of all transports."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pytest_mock import MockerFixture

from adapters.local.plugin import ScheduleSection, plugin
from adapters.observability.metrics import MemoryMetrics
from adapters.plugin import AnySection, Checked, Surroundings
from adapters.testkit.simulation import Simulation
from application.ports import Identity, Offer
from domain.errors import InvalidTask, MissingExtra
from domain.runner import RunnerRegistry

WORKER = Identity("w", "w", tasks=("command", "broken", "extra"))
Write = Callable[..., None]


class Settings:
    """LoadedSettings with the schedule in one directory."""

    address = ""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def section(self, model: type[AnySection]) -> AnySection:
        made: BaseModel = ScheduleSection(file="jobs.json", keep_runs=1)
        assert isinstance(made, model)
        return made

    def path(self, text: str) -> Path:
        return self._directory / text


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def jobs(*found: dict[str, Any]) -> None:
        (tmp_path / "jobs.json").write_text(json.dumps({"jobs": found}))

    return jobs


@pytest.fixture
def world() -> Iterator[Simulation]:
    made = Simulation(1)
    yield made
    made.close()


@pytest.fixture
def checked(settings: Settings, mocker: MockerFixture) -> Checked:
    runners = RunnerRegistry()
    runners.register("command", mocker.Mock)
    for category, error in (("broken", InvalidTask("args are no list")), ("extra", MissingExtra("x", "sql"))):
        runner = mocker.Mock(**{"parse_args.side_effect": error})
        runners.register(category, lambda made=runner: made)  # type: ignore[misc]  # bound to each
    return Checked(settings, WORKER, runners)


def test_its_parts_are_one_server_that_is_closed_with_the_worker(
    settings: Settings, tmp_path: Path, write: Write, world: Simulation
) -> None:
    write({"name": "job", "time": "* * * * * *", "command": "date"})
    (tmp_path / "credentials.json").write_text('{"mail": {"value": {"a": "b"}}}')
    (tmp_path / "credentials.json").chmod(0o600)
    with ExitStack() as stack:
        around = Surroundings(settings, world.node("n"), MemoryMetrics(), tmp_path, stack, lambda _: None)
        server = plugin.open(around)
        server.stream.connect(WORKER)
        server.stream.receive(10, 0.0)
        world.time += 1.0
        (offer,) = server.stream.receive(10, 0.0)
        assert isinstance(offer, Offer)
        claim = server.claims.claim(offer, "token", 10.0, 1.0)
        assert claim is not None
        assert server.read_back is not None
        assert server.read_back.fetch(offer.task.id) == claim.task
        assert server.credentials.credential("mail").value == {"a": "b"}
        assert (tmp_path / "history.sqlite-wal").exists()
    assert not (tmp_path / "history.sqlite-wal").exists()


def test_what_is_wrong_with_a_schedule_is_told_job_by_job_and_nothing_is_made(
    checked: Checked, tmp_path: Path, write: Write
) -> None:
    write(
        {"name": "right", "time": "* * * * *", "command": "date"},
        {"name": "odd", "time": "never", "command": "date"},
        {"name": "bad", "time": "* * * * *", "category": "broken"},
        {"name": "lacks", "time": "* * * * *", "category": "extra"},
    )
    found = list(plugin.inspect(checked))
    assert [key for key, _ in found] == ["schedule.file", "schedule.file"]
    assert "job 'odd': time 'never'" in found[0][1]
    assert found[1][1] == f"{tmp_path}/jobs.json: job 'bad': args are no list"
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.json"]


def test_a_category_without_a_runner_is_told(checked: Checked, write: Write) -> None:
    write({"name": "job", "time": "* * * * *", "category": "unknown"})
    whose = Identity("w", "w", tasks=("unknown",))
    ((key, text),) = plugin.inspect(Checked(checked.settings, whose, checked.runners))
    assert (key, "no runner is registered for category 'unknown'" in text) == ("schedule.file", True)


def test_a_schedule_that_cannot_be_read_is_one_problem(checked: Checked, tmp_path: Path) -> None:
    ((key, text),) = plugin.inspect(checked)
    assert (key, text) == ("schedule.file", f"{tmp_path}/jobs.json: cannot be read: No such file or directory")


def test_it_is_what_a_worker_without_a_server_has(settings: Settings, tmp_path: Path) -> None:
    assert plugin.is_configured(settings)
    assert plugin.where(settings) == f"{tmp_path}/jobs.json"
    assert plugin.variables == {"WORKER_SCHEDULE_FILE": "schedule.file"}
