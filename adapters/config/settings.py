"""Every setting: its key, type, default and meaning (the descriptions are checked against docs/configuration.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field, PositiveInt, ValidationError, create_model

from adapters.plugin import Duration, Seconds, Section, Text
from domain.errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
CATEGORIES = [
    "default", "command", "script", "http", "database", "file", "git", "container", "docker", "message", "approval",
]  # fmt: skip


class Worker(Section):
    name: Text = Field("", max_length=80, description="how people know this worker; unique on the server")
    description: Text = Field("cronjob worker", description="shown on the server")
    id: Text = Field("", description="uuid; made at the first start and kept in the state directory")
    working_dir: Text = Field(".", description="root of the tasks' default directories")
    tasks: list[Text] = Field(CATEGORIES, description="the categories that this worker takes")
    concurrency: PositiveInt = Field(100, description="how many tasks run at once")


class Log(Section):
    level: Literal["DEBUG", "INFO", "WARN", "ERROR", "FATAL"] = Field("INFO", description="least level that is shown")
    format: Literal["auto", "text", "json"] = Field(
        "auto", description="auto: text on a terminal, JSON lines elsewhere"
    )
    file: Text = Field("", description="also write to this file")
    max_size: PositiveInt = Field(100, description="megabytes until the log file is rotated")
    max_backups: PositiveInt = Field(5, description="how many rotated files are kept")


class Execution(Section):
    grace: Seconds = Field(10.0, description="seconds between TERM and KILL")
    cgroup: Text = Field(
        "auto",
        description="where tasks get control groups: auto (a group delegated to the worker), off, or a directory",
    )
    default_timeout: Duration = Field(
        0.0,
        ge=0,
        le=86_400 * 365,
        description="seconds for tasks that name none; 0: the category's own",
    )
    drain: Seconds = Field(60.0, description="seconds that running tasks get when the worker is to end")
    lease_ttl: Seconds = Field(60.0, ge=10, le=3600, description="seconds a task's lock lasts without renewal")
    on_lost_lease: Literal["auto", "keep", "stop"] = Field(
        "auto", description="what a running task does without its lock: keep on, stop, or auto: as the server needs it"
    )
    output_limit: int = Field(60_000, ge=1_000, le=65_000, description="bytes of output reported for later tasks")
    memory_limit: int = Field(262_144, ge=4_096, description="bytes of each output stream kept while a task runs")
    log_limit: int = Field(
        10_485_760,
        ge=4_096,
        description="bytes of one task's log that are kept from its beginning; its last 64 KiB are kept besides",
    )
    log_quota: int = Field(1_073_741_824, ge=65_536, description="bytes of undelivered logs on disk, all together")
    outbox: PositiveInt = Field(1000, description="results waiting for delivery until no more tasks are taken")


class Runners(Section):
    plugins: dict[str, str] = Field({}, description="category to module:class of runners of your own")
    http_public_only: bool = Field(False, description="http tasks may ask public addresses only")
    ca_file: Text = Field(
        "", description="certificate authorities that message and git tasks trust beside the system's"
    )
    known_hosts: Text = Field(
        "", description="ssh host keys for git tasks and remote files; empty: the user's own known_hosts"
    )
    script_dirs: list[Text] = Field(
        ["/var/scripts", "/opt/cronjob/scripts", "/data/scripts"], description="where script files may lie"
    )
    file_roots: list[Text] = Field(
        [
            "/var/log",
            "/opt/logs",
            "/data",
            "/opt/data",
            "/backup",
            "/data/backup",
            "/tmp",  # noqa: S108 - tasks rely on it
            "/var/www/uploads",
            "/opt/app",
            "/home/*/app",
        ],
        description="below which file tasks may work; * stands for one name",
    )


class Settings(Section):
    """The settings that do not depend on the server; ``with_sections`` adds those that do."""

    transport: Text = Field(
        "auto",
        description="the way to the server: an address, a transport's name, module:object; auto: the API server if its "
        "address is set, else the local schedule",
    )
    state_dir: Text = Field("state", description="private directory for identity, journal and undelivered logs")
    journal: Text = Field("sqlite", description="where tasks in hand are kept: sqlite, a plug-in's name, module:object")
    config_sources: list[Text] = Field(
        [], description="more sources of settings, between this file and the environment: names or module:object"
    )
    worker: Worker = Worker()
    log: Log = Log()
    execution: Execution = Execution()
    runners: Runners = Runners()


def with_sections(sections: Mapping[str, type[BaseModel]]) -> type[Settings]:
    """Settings with the sections of plug-ins, which ``refuse_section`` has let pass."""
    fields: dict[str, Any] = {name: (model, Field(default_factory=model)) for name, model in sections.items()}
    return create_model("Settings", __base__=Settings, **fields)


def refuse_section(name: str, model: type[BaseModel], taken: Mapping[str, object]) -> None:
    """Raises ConfigError where a plug-in's section cannot be one; ``taken`` are those of other plug-ins."""
    if name in taken or name in Settings.model_fields:
        raise ConfigError(f"it wants the section {name!r} of the settings, which is taken; it needs one of its own")
    if not _NAME.fullmatch(name) or hasattr(Settings, name):
        raise ConfigError(f"it wants the section {name!r} of the settings, which cannot be the name of one")
    try:
        model()
    except ValidationError as error:
        missing = ", ".join(".".join(map(str, problem["loc"])) or problem["msg"] for problem in error.errors())
        raise ConfigError(f"in its section {name!r} of the settings there must be defaults for {missing}") from None


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every key in dotted form."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += keys(kind, f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found
