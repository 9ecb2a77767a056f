"""The file system that a file task works on: this machine's or, over SFTP, that of another one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from domain.errors import WorkerError


class FileTrouble(WorkerError):
    """A file or directory could not be used."""


class PeerLost(FileTrouble):
    """The other machine cannot be asked any more: there is nothing to go on with."""


@dataclass(frozen=True, slots=True)
class Found:
    """One entry of a walk. ``parent`` is open only while the walk stands at it; -1 on another machine."""

    path: Path
    name: str
    parent: int
    info: os.stat_result

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.info.st_mode)

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.info.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.info.st_mode)


def kept_mode(info: os.stat_result) -> int:
    """The permissions that a copy takes over from a file or directory.

    Never setuid and setgid: the copy belongs to somebody else, as whom the program would then run. The sticky bit
    protects what is in a directory and means nothing for a file.
    """
    return stat.S_IMODE(info.st_mode) & (0o1777 if stat.S_ISDIR(info.st_mode) else 0o777)


class Source(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class Sink(Protocol):
    def write(self, data: bytes, /) -> int: ...


class Growth(Protocol):
    """A copy that grows under a temporary name. Names are relative to it, "" is the copy itself."""

    def directory(self, name: str) -> None:
        """Only its owner may enter it until ``settle``."""

    def link(self, name: str, text: str) -> None: ...

    def file(self, name: str, info: os.stat_result) -> AbstractContextManager[Sink]:
        """It gets the permissions and times of ``info`` when the block ends well."""

    def settle(self, name: str, info: os.stat_result) -> None:
        """Give a directory its permissions and times; children come before their directory."""


class Files(Protocol):
    """What the actions ask of a file system, on the thread of the run. No link on the way to a path is followed.

    Raises FileTrouble (or this machine's OSError); PeerLost where there is no use in asking on.
    """

    def check(self, text: str, key: str) -> Path:
        """The path, made absolute and plain. Raises InvalidTask where tasks may not go. Asks no file system."""

    def look(self, path: Path) -> os.stat_result: ...

    def entry(self, path: Path) -> AbstractContextManager[Found]:
        """What stands at a path, for what takes entries."""

    def exists(self, path: Path) -> bool:
        """Whether the name is taken, also by a link to nowhere."""

    def names(self, directory: Path) -> list[str]: ...

    def walk(self, path: Path, recursive: bool) -> Iterator[Found]:
        """Every entry below a directory, parents before their children.

        Other file systems and unreadable directories are left out, the latter with a note. Ends early when the run
        is to end.
        """

    def read(self, found: Found) -> AbstractContextManager[tuple[Source, os.stat_result]]:
        """The content of a regular file, and what the open file says of itself."""

    def read_link(self, found: Found) -> str: ...

    def delete(self, found: Found) -> None:
        """Delete a file or link, if it is still the one that was found; never what a link points to."""

    def remove(self, path: Path) -> None:
        """Delete a file or a whole tree."""

    def make_directories(self, path: Path) -> None:
        """A directory and its parents, where they are missing."""

    def beside(self, target: Path) -> Path:
        """The directory where something grows until it is complete and takes its name. The same for the whole run."""

    def replacing(self, target: Path) -> AbstractContextManager[Sink]:
        """A file that takes the place of ``target`` when the block ends well, and vanishes otherwise."""

    def growing(self, target: Path) -> AbstractContextManager[Growth]:
        """A file or tree that gets the free name ``target`` when the block ends well, and vanishes otherwise."""
