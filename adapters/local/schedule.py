"""The schedule file: what runs when. A broken job is refused by name and reason; the others run."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from adapters.local.cron import Cron
from adapters.local.reading import check, document, unknown
from adapters.local.zones import zone
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
KINDS = {
    str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "an object",
    type(None): "null",
}  # fmt: skip
MOST = 10**12  # seconds or times: more is a slip, and more than a clock can count
EXAMPLE = '{"name": "hello", "time": "* * * * *", "command": "date"}'


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


def read(path: Path, who: Identity | None = None, now: datetime | None = None) -> Schedule:
    """Read the file. Raises ConfigError where it cannot be read as a whole; ``problems`` tells of single jobs.

    With ``who`` given, jobs that select other workers are left out, and a category that it does not take is a problem.
    A job whose times are all before ``now`` (the present) is a problem too, but stays: it may have a run to catch up.
    """
    entries, problems = document(path, KEYS)
    jobs: dict[str, Job] = {}
    for number, entry in enumerate(entries, 1):
        name = entry.get("name") if isinstance(entry, dict) else None
        label = f"{path}: job {name or number!r}"
        try:
            job = parse(entry)
            if job is None or not _is_for(job, who):
                continue
            if job.name in jobs:
                raise ConfigError("another job has the same name; the first one counts: give this one another")
        except ConfigError as error:
            problems.append(f"{label}: {error}")
            continue
        jobs[job.name] = job
        if job.cron.after(now or datetime.now(UTC)) is None:
            problems.append(
                f"{label}: time {entry['time']!r} is over and never comes again; change its year or set"
                " enabled to false"
            )
    return Schedule(jobs, tuple(problems))


def parse(entry: Any) -> Job | None:
    """One entry; None where it is switched off. Raises ConfigError."""
    if not isinstance(entry, dict):
        raise ConfigError(f"is {_kind(entry)} and not an object such as {EXAMPLE}")
    check(entry)
    for key, value in entry.items():
        _check_value(key, value)
    for key in ("name", "time"):
        if not entry.get(key, "").strip():
            raise ConfigError(f"{key} is missing; an entry looks like {EXAMPLE}")
    if entry.get("enabled") is False:
        return None
    metadata = decode_metadata(entry.get("metadata"))
    if metadata.problem:
        raise ConfigError(metadata.problem)
    if entry.get("category", "command") in ("command", "default") and not entry.get("command", "").strip():
        raise ConfigError("command is missing; write the shell text that is to run")
    args = entry.get("args", "")
    plain = ("name", "category", "command", "timeout", "max_retry", "retry_delay", "overlap", "catch_up", "save_log")
    return Job(
        cron=Cron(entry["time"], zone(entry.get("timezone", ""))),
        args=args if isinstance(args, str) else json.dumps(args, ensure_ascii=False),
        metadata=metadata,
        when=f"{entry['time']} {entry.get('timezone', '')}",
        **{key: entry[key] for key in plain if key in entry},
    )


def _check_value(key: str, value: Any) -> None:
    kind = KEYS.get(key)
    if kind is None:
        raise ConfigError(unknown(key, KEYS))
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        right = " or ".join(KINDS[kind] for kind in kinds)
        raise ConfigError(f"{key} has the wrong type: it is {_kind(value)}, and must be {right}")
    if key in CHOICES and value not in CHOICES[key]:
        near = difflib.get_close_matches(value.lower(), CHOICES[key], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{key} must be one of {', '.join(CHOICES[key])}, not {value!r}{hint}")
    if key in ("timeout", "max_retry", "retry_delay"):
        if value < 0:
            raise ConfigError(f"{key} must not be negative; write 0 or more")
        if value > MOST:
            raise ConfigError(f"{key} must not be more than {MOST}")


def _kind(value: Any) -> str:
    return KINDS.get(type(value), "an object")


def _is_for(job: Job, who: Identity | None) -> bool:
    if who is None:
        return True
    if job.category not in who.tasks:
        near = difflib.get_close_matches(job.category, who.tasks, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"category {job.category!r} is not in worker.tasks{hint}")
    chosen = job.metadata.worker_select
    return not chosen or who.id in chosen or who.name in chosen
