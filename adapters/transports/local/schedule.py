"""The schedule file: what runs when. A broken job is refused by name and reason; the others run."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from adapters.transports.local.cron import Cron
from adapters.wire.messages import decode_metadata
from application.ports import Identity
from domain.errors import ConfigError
from domain.task import Metadata

KEYS = {
    "name": str, "time": str, "category": str, "command": str, "args": (str, list, dict), "timeout": int,
    "max_retry": int, "retry_delay": (int, float), "metadata": dict, "timezone": str, "overlap": str, "catch_up": str,
    "enabled": bool, "save_log": bool,
}  # fmt: skip
CHOICES = {"overlap": ("skip", "queue", "replace"), "catch_up": ("skip", "once")}


@dataclass(frozen=True, slots=True)
class Job:
    """One entry of the schedule. ``timeout`` and ``retry_delay`` in seconds; ``overlap`` tells what happens when a run
    is due while the former one is not over; ``catch_up`` what happens to runs that were missed."""

    name: str
    cron: Cron
    category: str = "command"
    command: str = ""
    args: str = ""
    timeout: int = 0
    max_retry: int = 0
    retry_delay: float = 10.0
    metadata: Metadata = field(default_factory=Metadata)
    overlap: Literal["skip", "queue", "replace"] = "skip"
    catch_up: Literal["skip", "once"] = "skip"
    save_log: bool = True
    when: str = ""  # its time and zone as they stand in the file: with others, its moments are others


@dataclass(frozen=True, slots=True)
class Schedule:
    jobs: Mapping[str, Job]
    problems: tuple[str, ...]


def read(path: Path, who: Identity | None = None) -> Schedule:
    """Read the file. Raises ConfigError where it cannot be read as a whole; ``problems`` tells of single jobs.

    With ``who`` given, jobs that select other workers are left out, and a category that it does not take is a problem.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (UnicodeDecodeError, RecursionError):
        raise ConfigError(f"{path}: is not JSON in UTF-8") from None
    entries = document.get("jobs") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ConfigError(f'{path}: must hold {{"jobs": [...]}}')
    jobs: dict[str, Job] = {}
    problems = []
    for number, entry in enumerate(entries, 1):
        name = entry.get("name") if isinstance(entry, dict) else None
        try:
            job = parse(entry)
            if job is not None and job.name in jobs:
                raise ConfigError("another job has the same name")
            if job is not None and _is_for(job, who):
                jobs[job.name] = job
        except ConfigError as error:
            problems.append(f"{path}: job {name or number!r}: {error}")
    return Schedule(jobs, tuple(problems))


def parse(entry: Any) -> Job | None:
    """One entry; None where it is switched off. Raises ConfigError."""
    if not isinstance(entry, dict):
        raise ConfigError("is not a JSON object")
    if not _storable(entry):
        raise ConfigError("holds half of a character (a \\ud800 to \\udfff without its other half)")
    for key, value in entry.items():
        kind = KEYS.get(key)
        if kind is None:
            near = difflib.get_close_matches(key, KEYS, 1)
            raise ConfigError(f"unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        if not isinstance(value, kind) or (kind in (int, (int, float)) and isinstance(value, bool)):  # type: ignore[arg-type]
            raise ConfigError(f"{key} has the wrong type ({type(value).__name__})")
        if key in CHOICES and value not in CHOICES[key]:
            raise ConfigError(f"{key} must be one of {', '.join(CHOICES[key])}, not {value!r}")
        if key in ("timeout", "max_retry", "retry_delay") and value < 0:
            raise ConfigError(f"{key} must not be negative")
    for key in ("name", "time"):
        if not entry.get(key):
            raise ConfigError(f"{key} is missing")
    if entry.get("enabled") is False:
        return None
    metadata = decode_metadata(entry.get("metadata"))
    if metadata.problem:
        raise ConfigError(metadata.problem)
    if entry.get("category", "command") in ("command", "default") and not entry.get("command", "").strip():
        raise ConfigError("command is missing")
    args = entry.get("args", "")
    plain = ("name", "category", "command", "timeout", "max_retry", "retry_delay", "overlap", "catch_up", "save_log")
    return Job(
        cron=Cron(entry["time"], _zone(entry.get("timezone", ""))),
        args=args if isinstance(args, str) else json.dumps(args, ensure_ascii=False),
        metadata=metadata,
        when=f"{entry['time']} {entry.get('timezone', '')}",
        **{key: entry[key] for key in plain if key in entry},
    )


def _storable(entry: Any) -> bool:
    try:
        json.dumps(entry, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_for(job: Job, who: Identity | None) -> bool:
    if who is None:
        return True
    if job.category not in who.tasks:
        near = difflib.get_close_matches(job.category, who.tasks, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"category {job.category!r} is not in worker.tasks{hint}")
    chosen = job.metadata.worker_select
    return not chosen or who.id in chosen or who.name in chosen


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name or _local_zone())
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(f"timezone {name!r} is unknown; write it like Europe/Berlin") from None


def _local_zone() -> str:
    """The name of the machine's zone, as far as it tells (TZ first, as for any program); UTC otherwise."""
    named = os.environ.get("TZ", "").removeprefix(":")
    if named and named in available_timezones():
        return named
    try:
        target = str(Path("/etc/localtime").resolve())
    except OSError:
        return "UTC"
    _, found, name = target.partition("/zoneinfo/")
    return name if found else "UTC"
