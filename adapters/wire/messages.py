"""JSON of the wire to domain words and back. No I/O.

The DTOs are lenient where the server is (unknown keys, null, missing values) and the mapper is strict where a wrong
type could run the wrong thing: dataclasses-json alone turns ``"false"`` into True.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from dataclasses_json import DataClassJsonMixin

from application.ports import Identity, Offer, Report, Stop, Verb
from domain.errors import TransportError
from domain.status import Status
from domain.task import Action, Metadata, Task

OFFERS = (Action.RUN, Action.RETRY)


class BadMessage(TransportError):
    """A message cannot be understood. Holds no part of its content: that may be secret."""


@dataclass
class EventDto(DataClassJsonMixin):
    """Worker to server (protocol 5.1)."""

    action: str
    worker_id: str
    task_id: str
    data: dict[str, Any]
    api_key: str = field(repr=False)
    team_id: str = ""


def decode_event(payload: bytes) -> tuple[list[Offer | Stop], int]:
    """What one message says, and how many of its tasks were unreadable and left out. Raises BadMessage."""
    document = _load(payload)
    if not isinstance(document, Mapping):
        raise BadMessage("the message is not a JSON object")
    action = str(document.get("action"))
    try:
        wanted = Action(action)
    except ValueError:
        raise BadMessage(f"unknown action {action[:40]!r}") from None
    found: list[Offer | Stop] = []
    bad = 0
    items = document.get("tasks")
    if items is not None and not isinstance(items, list):
        raise BadMessage("tasks is not a list")
    for item in items or ():
        try:
            task = decode_task(item)
        except BadMessage:
            bad += 1
            continue
        found.append(Offer(task) if wanted in OFFERS else Stop(task.id, wanted))
    return found, bad


def decode_task(document: object) -> Task:
    """Map one task object of the server (protocol 4.2). Raises BadMessage where a needed value has a wrong type."""
    if not isinstance(document, Mapping):
        raise BadMessage("a task is not a JSON object")
    read = _Reader(document)
    try:
        task_id = str(uuid.UUID(read.text("id")))  # one spelling: it names the lock, the log and the run
    except ValueError:
        raise BadMessage("a task's id is not a uuid") from None
    return Task(
        id=task_id,
        category=read.text("category"),
        command=read.text("command"),
        args=read.text("args"),
        name=read.text("name"),
        timeout=read.number("timeout"),
        status=read.status("status"),
        save_log=read.flag("save_log"),
        cronjob=read.text("cronjob") or None,
        metadata=decode_metadata(document.get("metadata")),
        timeout_at=read.time("timeout_at"),
        ended=read.time("time_end") is not None,
        worker_id=read.text("worker_id"),
        output=read.text("output"),
        workflow_exec_id=read.text("workflow_exec_id") or None,
    )


def decode_metadata(value: object) -> Metadata:
    """Read the keys the worker knows. What is wrong is told in ``problem`` and never guessed (C12, G21)."""
    if value is None:
        return Metadata()
    if not isinstance(value, Mapping):
        return Metadata(worker_select=None, problem="metadata is not a JSON object")
    working_dir, select, environment = (value.get(key) for key in ("working_dir", "worker_select", "environment"))
    problems = []
    if working_dir is not None and not isinstance(working_dir, str):
        problems.append("metadata.working_dir is not a string")
    if environment is not None and not _is_environment(environment):
        problems.append("metadata.environment is not an object of strings")
    if select is not None and not (isinstance(select, list) and all(isinstance(item, str) for item in select)):
        return Metadata(worker_select=None, problem="metadata.worker_select is not a list of strings")
    chosen = tuple(select or ())
    if problems:
        return Metadata(worker_select=chosen, problem="; ".join(problems))
    return Metadata(working_dir or "", chosen, dict(environment or {}))


def _is_environment(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(k, str) and isinstance(v, str) and k and "=" not in k and "\0" not in k + v for k, v in value.items()
    )


class _Reader:
    """Typed access to one JSON object: null and missing are the zero value, another type is a bad message."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def text(self, key: str) -> str:
        value: str = self._of(key, str, "")
        # A lone surrogate cannot be encoded again; the server replaces them too.
        return value.encode("utf-8", "replace").decode("utf-8") if not value.isascii() else value

    def number(self, key: str) -> int:
        value: int = self._of(key, int, 0)
        return value

    def flag(self, key: str) -> bool:
        value: bool = self._of(key, bool, False)
        return value

    def status(self, key: str) -> Status:
        try:
            return Status(self.text(key) or "pending")
        except ValueError:
            raise BadMessage(f"a task's {key} is unknown") from None

    def time(self, key: str) -> datetime | None:
        return parse_time(self.text(key))

    def _of(self, key: str, kind: type, zero: Any) -> Any:
        value = self._document.get(key)
        if value is None:
            return zero
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise BadMessage(f"a task's {key} is not a {kind.__name__}")
        return value


def parse_time(text: str) -> datetime | None:
    """Read an RFC 3339 time; None for an empty, unreadable or zero one (the server writes years 1 and 1970)."""
    if not text:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return None
    if value.year <= 1970:
        return None
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    offset = value.utcoffset()
    return value if offset is not None and abs(offset) < timedelta(days=1) else None


def encode_running(task_id: str, identity: Identity, api_key: str) -> bytes:
    """The ``task_update`` that says who runs the task from now on."""
    data = {"status": Status.RUNNING.value, "worker_id": identity.id, "worker_name": identity.name}
    return _dump(EventDto("task_update", identity.id, task_id, data, api_key))


def encode_report(report: Report, identity: Identity, api_key: str) -> bytes:
    """One ``task_update`` event as ASCII JSON. The same report gives the same bytes."""
    data: dict[str, Any] = {}
    if report.verb is Verb.HANDED_BACK:
        data["status"] = Status.PENDING.value
    elif report.status is not None:
        data["status"] = report.status.value
    if report.output is not None:
        data["output"] = report.output
    if report.ended_at:
        data["time_end"] = datetime.fromisoformat(report.ended_at).strftime("%Y-%m-%d %H:%M:%S")
    for key in ("execute_log", "error", "duration", "exit_code"):
        if value := getattr(report, key):
            data[key] = value
    return _dump(EventDto("task_update", identity.id, report.task_id, data, api_key))


def encode_registration(identity: Identity, api_key: str) -> bytes:
    """The ``regist_worker`` event (protocol 5.2)."""
    data = {
        "name": identity.name,
        "id": identity.id,
        "description": identity.description,
        "working_dir": identity.working_dir,
        "metadata": {"tasks": list(identity.tasks)},
    }
    return _dump(EventDto("regist_worker", identity.id, "", data, api_key))


def _dump(event: EventDto) -> bytes:
    return event.to_json(ensure_ascii=True, separators=(",", ":")).encode("ascii")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _whole(text: str) -> int:
    return int(text) if len(text) < 400 else 0  # a number of a million digits must not cost a minute


def _load(payload: bytes) -> Any:
    try:
        return json.loads(payload.decode("utf-8", "replace"), parse_constant=_no_constant, parse_int=_whole)
    except (ValueError, RecursionError):
        raise BadMessage("the message is not JSON") from None
