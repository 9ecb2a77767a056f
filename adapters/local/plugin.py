"""The embedded schedule as a transport: a server in the process, without a network."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pydantic import Field, PositiveInt

from adapters.local.claims import LocalClaims
from adapters.local.credentials import LocalCredentials
from adapters.local.logs import LocalLogs
from adapters.local.planner import Planner
from adapters.local.schedule import read
from adapters.local.server import LocalServer
from adapters.local.store import Store
from adapters.plugin import Checked, LoadedSettings, Section, Surroundings, Text, TransportPlugin
from application.ports import Server
from domain.errors import ConfigError, InvalidTask, MissingExtra, UnknownCategory


class ScheduleSection(Section):
    file: Text = Field("schedule.json", description="the schedule that runs without a server")
    keep_runs: PositiveInt = Field(1000, description="how many ended runs the history keeps")


def open_server(around: Surroundings) -> Server:
    settings = around.settings.section(ScheduleSection)
    store = Store(around.state_dir / "history.sqlite")
    around.stack.callback(store.close)
    planner = Planner(around.settings.path(settings.file), store, settings.keep_runs)
    logs = LocalLogs(store)
    server = LocalServer(around.runtime, planner, store, logs)
    return Server(
        name="local",
        stream=server,
        claims=LocalClaims(around.runtime, server),
        outcomes=server,
        read_back=server,
        logs=logs,
        credentials=LocalCredentials(around.state_dir / "credentials.json", os.environ),
    )


def inspect(checked: Checked) -> Iterator[tuple[str, str]]:
    """The schedule, and each job as its runner would read it."""
    path = checked.settings.path(checked.settings.section(ScheduleSection).file)
    try:
        schedule = read(path, checked.identity)
    except ConfigError as error:
        yield "schedule.file", str(error)
        return
    for problem in schedule.problems:
        yield "schedule.file", problem
    for job in schedule.jobs.values():
        try:
            checked.runners.create(job.category).parse_args(job.command, job.args)
        except MissingExtra:
            pass  # the installation's matter and not the file's
        except (InvalidTask, UnknownCategory) as error:
            yield "schedule.file", f"{path}: job {job.name!r}: {error}"


def where(settings: LoadedSettings) -> str:
    return str(settings.path(settings.section(ScheduleSection).file))


plugin = TransportPlugin(
    name="local",
    open=open_server,
    sections={"schedule": ScheduleSection},
    schemes=("local",),
    inspect=inspect,
    where=where,
    is_configured=lambda _: True,
    variables={"WORKER_SCHEDULE_FILE": "schedule.file"},
)
