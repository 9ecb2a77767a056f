"""What a file task says, and what it may say."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from adapters.runners.arguments import decode, need
from adapters.runners.file.pattern import compiled
from domain.errors import InvalidTask

# At most nine digits: two thousand years, or an exabyte.
AGE, SIZE = re.compile(r"([0-9]{1,9})([dhm])"), re.compile(r"([0-9]{1,9})([KMG])", re.IGNORECASE)
SECONDS = {"d": 86_400, "h": 3_600, "m": 60}
POWER = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
FORMATS = ("tar.gz", "tar", "zip")
REQUIRED = {
    "cleanup": ("path", "pattern"), "backup": ("source", "target"), "compress": ("source",), "stat": ("path",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileArgs:
    action: str = ""
    host: str = ""
    port: int = 22
    username: str = ""
    credential: str = ""
    known_hosts: str = ""
    host_key_check: str = "yes"
    path: str = ""
    pattern: str = ""
    recursive: bool = False
    older_than: str = ""
    larger_than: str = ""
    dry_run: bool = False
    exclude: list[str] = field(default_factory=list)
    source: str = ""
    target: str = ""
    compress: bool = False
    incremental: bool = False
    keep_days: int = 0
    format: str = ""
    level: int = 6
    remove_source: bool = False
    limit: int = 0
    sort_by: str = "size"


def parse(text: str) -> FileArgs:
    """Raises InvalidTask. The paths are not judged here: that depends on the machine."""
    found = decode(text, FileArgs)
    if found.action not in REQUIRED:
        raise InvalidTask(f"action must be cleanup, backup, compress or stat, not {found.action!r}")
    for key in REQUIRED[found.action]:
        need(getattr(found, key), key)
    if found.action == "cleanup" and (found.pattern.strip(".") == "" or "/" in found.pattern):
        raise InvalidTask(f"pattern {found.pattern!r} is not a name pattern")
    compiled(found.pattern)
    age_of(found.older_than)
    size_of(found.larger_than)
    if found.format and found.format not in FORMATS:
        raise InvalidTask(f"format must be one of {', '.join(FORMATS)}, not {found.format!r}")
    if not 0 <= found.level <= 9 or found.limit < 0 or found.keep_days < 0:
        raise InvalidTask("level must be 0 to 9; limit and keep_days must not be negative")
    if found.sort_by not in ("size", "modified", "name"):
        raise InvalidTask(f"sort_by must be size, modified or name, not {found.sort_by!r}")
    if found.host:
        _check_host(found)
    return found


def _check_host(found: FileArgs) -> None:
    if any(letter.isspace() or letter in "\0," for letter in found.host):
        raise InvalidTask(f"host {found.host!r} is not a host name")
    if not 0 <= found.port < 1 << 16:
        raise InvalidTask(f"port must be 1 to 65535, not {found.port}")
    if found.host_key_check not in ("yes", "accept-new"):
        raise InvalidTask("host_key_check must be yes or accept-new")
    need(found.credential, "credential")


def age_of(text: str) -> float:
    """Seconds. Raises InvalidTask: an age that is not understood must never mean "any age" (F1)."""
    if not text:
        return 0.0
    match = AGE.fullmatch(text.strip())
    if match is None:
        raise InvalidTask(f"older_than must be a number with d, h or m, such as 7d, not {text!r}")
    return int(match.group(1)) * SECONDS[match.group(2)]


def size_of(text: str) -> int:
    """Bytes. Raises InvalidTask."""
    if not text:
        return 0
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidTask(f"larger_than must be a number with K, M or G, such as 10M, not {text!r}")
    return int(match.group(1)) * POWER[match.group(2).upper()]
