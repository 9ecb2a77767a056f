"""The four actions of file tasks, on any file system."""

from __future__ import annotations

import contextlib
import heapq
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from adapters.runners.file.archive import Choice, Packer
from adapters.runners.file.backup_names import free, front, human, local_time, series, stamped
from adapters.runners.file.manifest import Everything, kept
from adapters.runners.file.pattern import compiled
from adapters.runners.file.ports import Files, FileTrouble, Found, PeerLost
from adapters.runners.file.task import FORMATS, FileArgs, age_of, size_of
from adapters.runners.output import first

SHOWN = 1_000


class Actions:
    """``do`` runs the action of a task and returns its output. ``say`` takes lines for the log of the run."""

    def __init__(self, args: FileArgs, files: Files, ended: Callable[[], bool], say: Callable[[str], None]) -> None:
        self._args, self._files, self._ended, self._say = args, files, ended, say

    def do(self) -> dict[str, Any]:
        action = {"cleanup": self._cleanup, "backup": self._backup, "compress": self._compress, "stat": self._stat}
        return action[self._args.action]()

    def _cleanup(self) -> dict[str, Any]:
        """Decide for each entry while the walk stands at it; a dry run decides the same."""
        args = self._args
        path = self._files.check(args.path, "path")
        chosen = self._chooser()
        deleted: list[str] = []
        count = total = 0
        for found in self._entries(path, args.recursive):
            if not chosen(found) or not (args.dry_run or self._deleted(found)):
                continue
            count, total = count + 1, total + found.info.st_size
            if len(deleted) < SHOWN:
                deleted.append(f"{found.path} ({human(found.info.st_size)})")
            self._say(f"{'would delete' if args.dry_run else 'deleted'} {found.path}")
        document: dict[str, Any] = {
            "action": "cleanup", "path": args.path, "pattern": args.pattern, "dry_run": args.dry_run,
            "deleted_count": count, "deleted_size": human(total), "deleted_files": first(deleted) or None,
        }  # fmt: skip
        return document | ({"message": "dry run: nothing was deleted"} if args.dry_run else {})

    def _chooser(self) -> Callable[[Found], bool]:
        args = self._args
        pattern = compiled(args.pattern)
        oldest = time.time() - age_of(args.older_than) if args.older_than else None
        least = size_of(args.larger_than) if args.larger_than else 0

        def chosen(found: Found) -> bool:
            if found.is_dir or not pattern.fullmatch(found.name):
                return False
            if any(part and part in str(found.path) for part in args.exclude):
                return False
            return (oldest is None or found.info.st_mtime <= oldest) and found.info.st_size >= least

        return chosen

    def _deleted(self, found: Found) -> bool:
        try:
            self._files.delete(found)
        except PeerLost:
            raise
        except FileTrouble as error:
            self._say(str(error))
            return False
        return True

    def _backup(self) -> dict[str, Any]:
        args, files = self._args, self._files
        source = files.check(args.source, "source")
        tree = stat.S_ISDIR(self._no_link(source).st_mode)
        kind = args.format or "tar.gz"
        target = files.check(stamped(args.target, kind if args.compress else ""), "target")
        files.make_directories(target.parent)
        target = free(target, files.exists)
        earlier = series(target, files.names(target.parent)) if args.incremental or args.keep_days else {}
        oldest = time.time() - args.keep_days * 86_400 if args.keep_days else float("-inf")
        expired = [name for name, began in earlier.items() if began < oldest]
        with self._choice(source, target, earlier.keys() - expired, args.incremental and tree) as (choice, apart):
            packer = Packer(files, self._ended, self._say, choice, apart)
            tally = packer.archive(source, target, kind, args.level) if args.compress else packer.copy(source, target)
        for name in expired:
            self._say(f"expired: {target.with_name(name)}")
            files.remove(target.with_name(name))
        return {
            "action": "backup", "source": args.source, "target": args.target, "copied_count": tally.files,
            "copied_size": human(tally.size), "compressed": args.compress, "backup_file": str(target),
        }  # fmt: skip

    @contextlib.contextmanager
    def _choice(
        self, source: Path, target: Path, standing: Collection[str], incremental: bool
    ) -> Iterator[tuple[Choice, list[Path]]]:
        """What goes into a backup, and which paths are no part of its source."""
        if not incremental:
            yield Everything(), [target]
            return
        path = target.with_name(f".{front(target)}manifest.gz")
        with kept(self._files, path, source, target.name, standing, self._say) as manifest:
            yield manifest, [target, path]

    def _compress(self) -> dict[str, Any]:
        args, files = self._args, self._files
        source = files.check(args.source, "source")
        self._no_link(source)
        text = args.target or f"{args.source.rstrip('/')}.{args.format or 'tar.gz'}"
        kind = args.format or next((one for one in FORMATS if text.endswith(f".{one}")), "")
        if not kind:
            text, kind = f"{text}.tar.gz", "tar.gz"
        target = files.check(text, "target")
        tally = Packer(files, self._ended, self._say, Everything(), [target]).archive(source, target, kind, args.level)
        packed = files.look(target).st_size
        if args.remove_source and not tally.left_out and not self._ended():
            if target.is_relative_to(source):
                self._say("the source is kept: the archive lies in it")
            else:
                files.remove(source)
        saved = round(100.0 * (1 - packed / tally.size), 1) + 0.0 if tally.size else 0.0
        return {
            "action": "compress", "source": args.source, "target": str(target), "original_size": human(tally.size),
            "compressed_size": human(packed), "compression_ratio": f"{saved:.1f}%", "file_count": tally.files,
        }  # fmt: skip

    def _no_link(self, source: Path) -> os.stat_result:
        """A copy of the link alone would pass for a backup of what it leads to."""
        info = self._files.look(source)
        if stat.S_ISLNK(info.st_mode):
            raise FileTrouble(f"{source}: a link is not followed; name what it leads to")
        return info

    def _stat(self) -> dict[str, Any]:
        args = self._args
        path = self._files.check(args.path, "path")
        files = size = 0
        directories = 0 if stat.S_ISREG(self._files.look(path).st_mode) else 1

        def counted() -> Iterator[tuple[str, int, float]]:
            nonlocal files, size, directories
            for found in self._entries(path, True):
                directories += found.is_dir
                if found.is_file:
                    files, size = files + 1, size + found.info.st_size
                    yield str(found.path), found.info.st_size, found.info.st_mtime

        limit = args.limit or 10
        if args.sort_by == "name":
            top = heapq.nsmallest(limit, counted())
        else:
            rank = 1 if args.sort_by == "size" else 2
            top = heapq.nlargest(limit, counted(), key=lambda entry: (entry[rank], entry[0]))
        return {
            "action": "stat", "path": args.path, "total_size": human(size), "total_files": files,
            "total_dirs": directories,
            "top_files": first(
                {"path": name, "size": human(bytes_), "modified": local_time(when)} for name, bytes_, when in top
            ),
        }  # fmt: skip

    def _entries(self, path: Path, recursive: bool) -> Iterator[Found]:
        """What is below a directory, or the one file that the path names."""
        if not stat.S_ISREG(self._files.look(path).st_mode):
            yield from self._files.walk(path, recursive)
            return
        with self._files.entry(path) as found:
            yield found
