"""Which backup of a series holds which file, so that an incremental one packs whatever none of them holds.

The time of a file tells nothing of when it came: ``mv``, ``cp -p``, ``tar -x`` and ``rsync -a`` bring old times, and
clocks are set. So each file that was packed is written down with all that its file system says of it, in a manifest
beside the backups. What is not in there, differs, or lies in a backup that is gone is packed, and so is everything
where there is no manifest or it cannot be read: more than needed, never less.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import IO, cast

from adapters.runners.file.ports import Files, FileTrouble, Found, PeerLost

LONGEST = 1 << 20  # bytes of a line
# Seconds within which a second change need not show: of a clock that ticks, of a file system without fractions.
TICK, WHOLE_SECONDS = 0.1, 2.0


class Everything:
    """Packs all there is and remembers nothing."""

    def wanted(self, name: str, found: Found) -> bool:
        return True

    def packed(self, name: str, info: os.stat_result) -> None: ...


class Manifest:
    """What one backup goes by, and the next one: each file that some backup holds is written to ``out``.

    ``known`` maps a file to its backup, ``backup`` is the name of the one that is being made, ``began`` the time (in
    seconds since 1970, by the clock of the file system) before which nothing of it was read.
    """

    def __init__(self, known: dict[bytes, str], out: IO[bytes], backup: str, began: float) -> None:
        self._known, self._out, self._backup, self._began = known, out, backup, began

    def wanted(self, name: str, found: Found) -> bool:
        state = _state(found.info)
        earlier = self._known.get(_key(name, state))
        if earlier is not None:
            self._write(name, state, earlier)
        return earlier is None

    def packed(self, name: str, info: os.stat_result) -> None:
        """Note a file that was read. ``info`` is from before that: a change since then shows in the next one.

        Not where it had just changed: a second change within the same tick of the clock would not show.
        """
        blind = WHOLE_SECONDS if info.st_ctime == int(info.st_ctime) else TICK
        if info.st_ctime < self._began - blind:
            self._write(name, _state(info), self._backup)

    def _write(self, name: str, state: str, backup: str) -> None:
        self._out.write(json.dumps([name, state, backup]).encode() + b"\n")


@contextlib.contextmanager
def kept(
    files: Files, path: Path, source: Path, backup: str, standing: Collection[str], say: Callable[[str], None]
) -> Iterator[Manifest]:
    """The manifest at ``path``, of ``source``; replaced when the block, which makes ``backup``, ends well.

    Only what lies in the backups named in ``standing`` counts. Raises FileTrouble where it cannot be written.
    """
    with files.replacing(path) as file:
        own = files.look(files.beside(path))
        known: dict[bytes, str] = {}
        try:
            known = _read(files, path, source, own.st_uid, standing) if standing else {}
        except PeerLost:
            raise
        except (FileTrouble, OSError, EOFError, ValueError, zlib.error) as error:
            say(f"everything is packed: {path} cannot be used: {error}")
        with gzip.GzipFile(filename="", fileobj=cast(IO[bytes], file), mode="wb", mtime=0) as out:
            out.write(json.dumps({"source": str(source)}).encode() + b"\n")
            yield Manifest(known, cast(IO[bytes], out), backup, own.st_mtime)


def _read(files: Files, path: Path, source: Path, owner: int, standing: Collection[str]) -> dict[bytes, str]:
    names = {name: name for name in standing}
    known: dict[bytes, str] = {}
    with files.entry(path) as found, files.read(found) as (content, info):
        if info.st_uid != owner:
            raise FileTrouble("it belongs to another user")
        with gzip.GzipFile(fileobj=cast(IO[bytes], content), mode="rb") as lines:
            if json.loads(lines.readline(LONGEST)) != {"source": str(source)}:
                raise FileTrouble("it is of another source")
            while line := lines.readline(LONGEST):
                name, state, backup = json.loads(line)
                if backup in names:
                    known[_key(name, state)] = names[backup]
    return known


def _key(name: str, state: str) -> bytes:
    """A file in a fixed number of bytes: there can be millions."""
    return hashlib.blake2b(f"{name}\0{state}".encode("utf-8", "surrogateescape"), digest_size=16).digest()


def _state(info: os.stat_result) -> str:
    """All that shows a change. Of another machine that is no inode and no change time, and times in whole seconds."""
    return (
        f"{info.st_size} {info.st_mtime_ns or info.st_mtime} {info.st_ctime_ns or 0} {info.st_ino}"
        f" {info.st_mode:o} {info.st_uid} {info.st_gid}"
    )
