"""Cleans up, backs up, compresses and measures files of this machine (category ``file``)."""

from __future__ import annotations

import fnmatch
import heapq
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from adapters.runners.arguments import decode, need
from adapters.runners.base import BaseRunner
from adapters.runners.file.archive import copy_tree, write_archive
from adapters.runners.file.walk import FileTrouble, Found, Policy, look, walk
from domain.errors import InvalidTask
from domain.result import EndReason, Result
from domain.runner import ExecutionContext

ROOTS = (
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
)
AGE, SIZE = re.compile(r"(\d+)([dhm])"), re.compile(r"(\d+)([KMG])", re.IGNORECASE)
SECONDS = {"d": 86_400, "h": 3_600, "m": 60}
POWER = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
FORMATS = ("tar.gz", "tar", "zip")
SHOWN = 1_000


@dataclass(frozen=True, slots=True)
class FileArgs:
    action: str = ""
    host: str = ""
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


class FileRunner(BaseRunner):
    default_timeout = 24 * 3600.0

    def __init__(self, roots: Sequence[str] = ROOTS) -> None:
        super().__init__()
        self._policy = Policy(tuple(roots))
        self._args = FileArgs()
        self._log: Callable[[bytes], None] = lambda _: None

    def parse_args(self, command: str, args: str) -> None:
        found = decode(args, FileArgs)
        if found.host:
            raise InvalidTask("host: files of other machines are not handled by this version")
        if found.action not in ("cleanup", "backup", "compress", "stat"):
            raise InvalidTask(f"action must be cleanup, backup, compress or stat, not {found.action!r}")
        for key in {
            "cleanup": ("path", "pattern"),
            "backup": ("source", "target"),
            "compress": ("source",),
            "stat": ("path",),
        }[found.action]:
            need(getattr(found, key), key)
        if found.action == "cleanup" and (found.pattern.strip(".") == "" or "/" in found.pattern):
            raise InvalidTask(f"pattern {found.pattern!r} is not a name pattern")
        age_of(found.older_than)
        size_of(found.larger_than)
        if found.format and found.format not in FORMATS:
            raise InvalidTask(f"format must be one of {', '.join(FORMATS)}, not {found.format!r}")
        if not 0 <= found.level <= 9 or found.limit < 0 or found.keep_days < 0:
            raise InvalidTask("level must be 0 to 9; limit and keep_days must not be negative")
        if found.sort_by not in ("size", "modified", "name"):
            raise InvalidTask(f"sort_by must be size, modified or name, not {found.sort_by!r}")
        for key in ("path", "source", "target"):
            if value := getattr(found, key):
                self._policy.check(value, key)
        self._args = found

    def run(self, context: ExecutionContext) -> Result:
        self._log = context.log
        action = {"cleanup": self._cleanup, "backup": self._backup, "compress": self._compress, "stat": self._stat}
        began = time.monotonic()
        self._say(f"[File] {self._args.action} {self._args.path or self._args.source}")
        try:
            document = action[self._args.action]()
        except FileTrouble:
            if self._ended():
                return self.cancelled()
            raise
        except OSError as error:
            raise FileTrouble(f"{error.filename}: {error.strerror}") from None
        document["duration_ms"] = int((time.monotonic() - began) * 1000)
        text = json.dumps(document, ensure_ascii=False)
        if self._ended():
            return self.cancelled(output=text)
        return self.end(EndReason.COMPLETED, output=text, log=f"{self._args.action} done")

    def _say(self, text: str) -> None:
        self._log(f"{text}\n".encode("utf-8", "replace"))

    def _ended(self) -> bool:
        return self.cancel.requested

    # -- the four actions

    def _cleanup(self) -> dict[str, Any]:
        """Decide for each entry while the walk stands at it, with its parent open; a dry run decides the same."""
        args = self._args
        path = self._policy.check(args.path, "path")
        oldest = time.time() - age_of(args.older_than) if args.older_than else None
        least = size_of(args.larger_than) if args.larger_than else 0
        deleted: list[str] = []
        count = total = 0
        for found in walk(path, args.recursive, self._ended, self._say):
            if found.is_dir or not fnmatch.fnmatchcase(found.name, args.pattern):
                continue
            if any(part and part in str(found.path) for part in args.exclude):
                continue
            if (oldest is not None and found.info.st_mtime > oldest) or found.info.st_size < least:
                continue
            if not args.dry_run and not self._delete(found):
                continue
            count, total = count + 1, total + found.info.st_size
            if len(deleted) < SHOWN:
                deleted.append(f"{found.path} ({human(found.info.st_size)})")
            self._say(f"{'would delete' if args.dry_run else 'deleted'} {found.path}")
        document: dict[str, Any] = {
            "action": "cleanup", "path": args.path, "pattern": args.pattern, "dry_run": args.dry_run,
            "deleted_count": count, "deleted_size": human(total), "deleted_files": deleted or None,
        }  # fmt: skip
        return document | ({"message": "dry run: nothing was deleted"} if args.dry_run else {})

    def _delete(self, found: Found) -> bool:
        try:
            now = os.stat(found.name, dir_fd=found.parent, follow_symlinks=False)
            if (now.st_dev, now.st_ino) != (found.info.st_dev, found.info.st_ino):
                return False  # swapped since it was looked at
            os.unlink(found.name, dir_fd=found.parent)
        except OSError as error:
            self._say(f"{found.path}: {error.strerror}")
            return False
        return True

    def _backup(self) -> dict[str, Any]:
        args = self._args
        source, wanted_target = self._policy.check(args.source, "source"), args.target
        look(source)
        kind = args.format or "tar.gz"
        target = self._policy.check(stamped(wanted_target, kind if args.compress else ""), "target")
        target = free(target)
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        since = self._last_backup(target) if args.incremental else 0.0
        fresh: Callable[[Found], bool] = lambda found: found.info.st_mtime > since  # noqa: E731
        if args.compress:
            tally = write_archive(source, target, kind, args.level, fresh, self._ended, self._say)
        else:
            tally = copy_tree(source, target, fresh, self._ended, self._say)
        if args.keep_days:
            self._expire(target, args.keep_days)
        return {
            "action": "backup", "source": args.source, "target": args.target, "copied_count": tally.files,
            "copied_size": human(tally.size), "compressed": args.compress, "backup_file": str(target),
        }  # fmt: skip

    def _series(self, target: Path) -> list[os.DirEntry[str]]:
        """Earlier backups of the same name."""
        front = re.sub(r"_\d{12}(-\d+)?(\..*)?$", "_", target.name)
        with os.scandir(target.parent) as entries:
            known = re.compile(re.escape(front) + r"\d{12}(-\d+)?(\.tar\.gz|\.tar|\.zip)?")
            return [entry for entry in entries if known.fullmatch(entry.name) and entry.name != target.name]

    def _last_backup(self, target: Path) -> float:
        return max((entry.stat(follow_symlinks=False).st_mtime for entry in self._series(target)), default=0.0)

    def _expire(self, target: Path, days: int) -> None:
        for entry in self._series(target):
            if entry.stat(follow_symlinks=False).st_mtime < time.time() - days * 86_400:
                self._say(f"expired: {entry.path}")
                shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)

    def _compress(self) -> dict[str, Any]:
        args = self._args
        source = self._policy.check(args.source, "source")
        info = look(source)
        text = args.target or f"{args.source.rstrip('/')}.{args.format or 'tar.gz'}"
        kind = args.format or next((one for one in FORMATS if text.endswith(f".{one}")), "")
        if not kind:
            text, kind = f"{text}.tar.gz", "tar.gz"
        target = self._policy.check(text, "target")
        tally = write_archive(source, target, kind, args.level, lambda _: True, self._ended, self._say)
        packed = look(target).st_size
        if args.remove_source and not tally.left_out:
            self._remove(source, stat.S_ISDIR(info.st_mode), target)
        ratio = 100.0 * packed / tally.size if tally.size else 0.0
        return {
            "action": "compress", "source": args.source, "target": str(target), "original_size": human(tally.size),
            "compressed_size": human(packed), "compression_ratio": f"{ratio:.1f}%", "file_count": tally.files,
        }  # fmt: skip

    def _remove(self, source: Path, directory: bool, target: Path) -> None:
        if target.is_relative_to(source):
            self._say("the source is kept: the archive lies in it")
        elif directory:
            shutil.rmtree(source)  # follows no link (rmtree works by descriptors here)
        else:
            source.unlink()

    def _stat(self) -> dict[str, Any]:
        args = self._args
        path = self._policy.check(args.path, "path")
        limit = args.limit or 10
        files = size = 0
        directories = 1
        top: list[tuple[Any, str, int, float]] = []
        for found in walk(path, True, self._ended, self._say):
            if found.is_dir:
                directories += 1
            elif found.is_file:
                files, size = files + 1, size + found.info.st_size
                rank: Any = {"size": found.info.st_size, "modified": found.info.st_mtime}.get(args.sort_by, 0)
                entry = (rank, str(found.path), found.info.st_size, found.info.st_mtime)
                heapq.heappush(top, entry) if len(top) < limit else heapq.heappushpop(top, entry)
        order = sorted(top, key=lambda it: it[1]) if args.sort_by == "name" else sorted(top, reverse=True)
        return {
            "action": "stat", "path": args.path, "total_size": human(size), "total_files": files,
            "total_dirs": directories,
            "top_files": [
                {"path": name, "size": human(bytes_), "modified": local_time(when)}
                for _, name, bytes_, when in order
            ],
        }  # fmt: skip


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


def human(size: float) -> str:
    if size < 1024:
        return f"{int(size)} B"
    for unit in ("KB", "MB", "GB", "TB", "PB", "EB"):
        size /= 1024
        if size < 1024 or unit == "EB":
            return f"{size:.1f} {unit}"
    raise AssertionError("unreachable")


def local_time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}"


def stamped(target: str, kind: str) -> str:
    """The name of a backup: the last extension goes (or stays, without compression), a stamp of the minute comes."""
    stamp = f"_{datetime.now().astimezone():%Y%m%d%H%M}"
    directory, name = os.path.split(target)
    if not name:
        name = os.path.basename(directory)
        return os.path.join(directory, f"{name}{stamp}{'.' + kind if kind else ''}")
    stem, dot, extension = name.rpartition(".")
    if not dot:
        stem, extension = name, ""
    tail = f".{kind}" if kind else (f".{extension}" if extension else "")
    return os.path.join(directory, f"{stem}{stamp}{tail}")


def free(target: Path) -> Path:
    """The same name, or with a number where a backup of this minute stands already (F10)."""
    chosen, number = target, 1
    while os.path.lexists(chosen):
        number += 1
        chosen = target.with_name(re.sub(r"(_\d{12})", rf"\g<1>-{number}", target.name))
    return chosen
