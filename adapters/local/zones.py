"""The zone of a job: by its name, or the machine's."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from domain.errors import ConfigError


def zone(name: str) -> ZoneInfo:
    """The zone of that name; the machine's for an empty one. Raises ConfigError."""
    wanted = name or _local_zone()
    try:
        return ZoneInfo(wanted)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a directory of zones, or a name too long for a file
        hint = ""
        if near := _nearest(wanted):
            hint = f" (did you mean {near!r}?)"
        whose = "timezone" if name else "the machine's zone"
        raise ConfigError(f"{whose} {wanted!r} is unknown; write it like Europe/Berlin{hint}") from None


def _nearest(name: str) -> str | None:
    names = {known.lower(): known for known in available_timezones()}
    near = difflib.get_close_matches(name[:80].lower(), names, 1)
    return names[near[0]] if near else None


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
