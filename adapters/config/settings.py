"""Every setting: its key, type, default and meaning (the descriptions are checked against docs/configuration.md)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, StringConstraints

from adapters.wire.framing import SEPARATOR

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h|d)", re.ASCII)


def _duration(value: Any) -> Any:
    """``"90s"`` as people write it; anything else is left for the type to judge."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(match[1]) * UNITS[match[2]] if match else value


def _http(address: str) -> str:
    """The link is an upgraded HTTP connection: ws:// and http:// name the same server."""
    scheme, mark, rest = address.rstrip("/").partition("://")
    return {"ws": "http", "wss": "https"}.get(scheme.lower(), scheme) + mark + rest


Seconds = Annotated[float, BeforeValidator(_duration), Field(gt=0, le=86_400 * 30, allow_inf_nan=False)]
Text = Annotated[str, StringConstraints(strip_whitespace=True)]

CATEGORIES = [
    "default", "command", "script", "http", "database", "file", "git", "container", "docker", "message", "approval",
]  # fmt: skip


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Worker(Section):
    name: Text = Field("", max_length=80, description="how people know this worker; unique on the server")
    description: Text = Field("cronjob worker", description="shown on the server")
    id: Text = Field("", description="uuid; made at the first start and kept in the state directory")
    working_dir: Text = Field(".", description="root of the tasks' default directories")
    tasks: list[Text] = Field(CATEGORIES, description="the categories that this worker takes")
    concurrency: PositiveInt = Field(100, description="how many tasks run at once")


class Tls(Section):
    ca_file: Text = Field("", description="certificate authorities to trust instead of the system's")
    cert_file: Text = Field("", description="client certificate")
    key_file: Text = Field("", description="key of the client certificate, if it is not in the same file")


class Server(Section):
    api_url: Annotated[Text, AfterValidator(_http)] = Field(
        "", description="address of the API server, with or without /api/v1; empty: no server"
    )
    auth_token: Text = Field("", description="API key")
    auth_token_file: Text = Field("", description="file that holds the API key; read anew when it changes")
    allow_plain_http: bool = Field(False, description="send the key over http:// to another host than this one")
    proxy: Text = Field("", description="http://[user:password@]host:port of an HTTP proxy")
    tls: Tls = Tls()


class WebSocket(Section):
    ping_interval: Seconds = Field(20.0, le=55, description="seconds between heartbeats; the server wants one a minute")
    pong_timeout: Seconds = Field(60.0, description="seconds of silence after a missed heartbeat until reconnecting")
    connect_timeout: Seconds = Field(20.0, le=60, description="seconds that connecting may take")
    reconnect_cap: Seconds = Field(30.0, description="longest pause between two tries to connect, in seconds")
    message_separator: str = Field(SEPARATOR.decode(), description="what stands between two messages")


class Schedule(Section):
    file: Text = Field("schedule.json", description="the schedule that runs without a server")
    keep_runs: PositiveInt = Field(1000, description="how many ended runs the history keeps")


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
    default_timeout: Annotated[float, BeforeValidator(_duration)] = Field(
        0.0,
        ge=0,
        le=86_400 * 365,
        allow_inf_nan=False,
        description="seconds for tasks that name none; 0: the category's own",
    )
    drain: Seconds = Field(60.0, description="seconds that running tasks get when the worker is to end")
    lease_ttl: Seconds = Field(60.0, ge=10, le=3600, description="seconds a task's lock lasts without renewal")
    on_lost_lease: Literal["auto", "keep", "stop"] = Field(
        "auto", description="what a running task does without its lock: keep on, stop, or auto: as the server needs it"
    )
    output_limit: int = Field(60_000, ge=1_000, le=65_000, description="bytes of output reported for later tasks")
    memory_limit: int = Field(262_144, ge=4_096, description="bytes of each output stream kept while a task runs")
    log_limit: int = Field(10_485_760, ge=4_096, description="bytes of one task's log, head and end, that are kept")
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
    transport: Literal["auto", "websocket", "local", "memory"] = Field(
        "auto", description="auto: websocket when server.api_url is set, else local"
    )
    state_dir: Text = Field("state", description="private directory for identity, journal and undelivered logs")
    worker: Worker = Worker()
    server: Server = Server()
    websocket: WebSocket = WebSocket()
    schedule: Schedule = Schedule()
    log: Log = Log()
    execution: Execution = Execution()
    runners: Runners = Runners()

    @property
    def chosen_transport(self) -> str:
        if self.transport != "auto":
            return self.transport
        return "websocket" if self.server.api_url else "local"


def keys(model: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    """Every key in dotted form."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += keys(kind, f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


SECRETS = ("server.auth_token", "server.proxy")
