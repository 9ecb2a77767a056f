"""How sizes and times are written, and how backups are named."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

STAMP = "%Y%m%d%H%M"


def human(size: float) -> str:
    if size < 1024:
        return f"{int(size)} B"
    for unit in ("KB", "MB", "GB", "TB", "PB", "EB"):
        size /= 1024
        if size < 1024 or unit == "EB":
            return f"{size:.1f} {unit}"
    raise AssertionError("unreachable")


def local_time(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return f"@{int(seconds)}"  # a file can be of a year that no calendar here knows


def stamped(target: str, kind: str) -> str:
    """The name of a backup: the last extension goes (or stays, without compression), a stamp of the minute comes."""
    stamp = f"_{datetime.now().astimezone():{STAMP}}"
    directory, name = os.path.split(target)
    if not name:
        name = os.path.basename(directory)
        return os.path.join(directory, f"{name}{stamp}{'.' + kind if kind else ''}")
    stem, dot, extension = name.rpartition(".")
    if not dot:
        stem, extension = name, ""
    tail = f".{kind}" if kind else (f".{extension}" if extension else "")
    return os.path.join(directory, f"{stem}{stamp}{tail}")


def free(target: Path, taken: Callable[[Path], bool] = os.path.lexists) -> Path:
    """The same name, or with a number where a backup of this minute stands already (F10)."""
    chosen, number = target, 1
    while taken(chosen):
        number += 1
        chosen = target.with_name(re.sub(r"(_\d{12})", rf"\g<1>-{number}", target.name))
    return chosen


def front(target: Path) -> str:
    """What the names of all backups of a series begin with."""
    return _split(target)[0]


def _split(target: Path) -> tuple[str, str]:
    """What comes before and after the stamp in the name of a backup."""
    match = re.fullmatch(r"(.*_)\d{12}(?:-\d+)?(\..*)?", target.name, re.DOTALL)
    assert match, target
    return match[1], match[2] or ""


def series(target: Path, names: Iterable[str]) -> dict[str, float]:
    """The earlier backups of the same name, and when (seconds since 1970) each was begun.

    Told from the name: the time of a backup's file may be that of its source, and starts where its writing ended.
    """
    before, after = map(re.escape, _split(target))
    known = re.compile(rf"{before}(\d{{12}})(-\d+)?(\.tar\.gz|\.tar|\.zip|{after})?")
    found = {}
    for name in names:
        if name != target.name and (match := known.fullmatch(name)):
            try:
                found[name] = datetime.strptime(match[1], STAMP).astimezone().timestamp()
            except (ValueError, OverflowError):
                continue  # twelve digits that are no time
    return found
