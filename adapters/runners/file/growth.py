"""What grows on this machine until it is complete: in a private directory, and by descriptors from there on.

Whoever may write where the target goes can swap each name there for a link at any moment. So no name is trusted twice:
the private directory is opened once and looked at, everything below is made, given its mode and moved by descriptor.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from typing import IO

from adapters.runners.file.ports import FileTrouble, kept_mode
from adapters.runners.file.walk import DIRECTORY

CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
NEW = "new"  # what grows, in the private directory


@contextlib.contextmanager
def private(parent: int, name: str) -> Iterator[int]:
    """A new directory that only this user may enter, open; what is left in it at the end goes with it."""
    os.mkdir(name, 0o700, dir_fd=parent)
    descriptor = os.open(name, DIRECTORY, dir_fd=parent)
    try:
        if os.listdir(descriptor) or not _ours(descriptor):
            raise FileTrouble(f"{name}: something else meanwhile")
        try:
            yield descriptor
        finally:
            for left in os.listdir(descriptor):
                _remove(left, descriptor)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=parent)


def _ours(descriptor: int) -> bool:
    """Whether a directory belongs to whom a new file in it does: on a network drive that need not be this user."""
    probe = os.open(NEW, CREATE, 0o600, dir_fd=descriptor)
    try:
        return os.fstat(probe).st_uid == os.fstat(descriptor).st_uid
    finally:
        os.close(probe)
        os.unlink(NEW, dir_fd=descriptor)


def _remove(name: str, parent: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            shutil.rmtree(name, dir_fd=parent, ignore_errors=True)
        else:
            os.unlink(name, dir_fd=parent)


class LocalGrowth:
    """See the port. ``room`` is the open private directory; ``close`` frees what is held beside it."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._at, self._descriptor = "", -1  # the directory that was worked in last
        self._top: os.stat_result | None = None

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._at, self._descriptor = "", -1

    def directory(self, name: str) -> None:
        parent, last = self._place(name)
        os.mkdir(last, 0o700, dir_fd=parent)

    def link(self, name: str, text: str) -> None:
        parent, last = self._place(name)
        os.symlink(text, last, dir_fd=parent)

    @contextlib.contextmanager
    def file(self, name: str, info: os.stat_result) -> Iterator[IO[bytes]]:
        parent, last = self._place(name)
        with open(os.open(last, CREATE, 0o600, dir_fd=parent), "wb") as out:
            yield out
            out.flush()
            _settle(out.fileno(), info)

    def settle(self, name: str, info: os.stat_result) -> None:
        parent, last = self._place(name)
        descriptor = os.open(last, DIRECTORY, dir_fd=parent)
        try:
            _settle(descriptor, info)
            if not name:
                self._top = info
                os.fchmod(descriptor, kept_mode(info) | stat.S_IWUSR)  # else it could not be moved
        finally:
            os.close(descriptor)

    def finish(self, parent: int, name: str) -> None:
        """Give what has grown its name."""
        descriptor = os.open(NEW, DIRECTORY, dir_fd=self._room) if self._top is not None else -1
        try:
            os.rename(NEW, name, src_dir_fd=self._room, dst_dir_fd=parent)
            if self._top is not None:
                _settle(descriptor, self._top)
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _place(self, name: str) -> tuple[int, str]:
        """The open directory of an entry, and its name there. No name on the way may be a link."""
        if not name:
            return self._room, NEW
        directory, _, last = f"{NEW}/{name}".rpartition("/")
        if directory != self._at:
            self.close()
            self._descriptor, self._at = _below(self._room, directory), directory
        return self._descriptor, last


def _below(directory: int, way: str) -> int:
    descriptor = os.dup(directory)
    for part in way.split("/"):
        try:
            following = os.open(part, DIRECTORY, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = following
    return descriptor


def _settle(descriptor: int, info: os.stat_result) -> None:
    os.fchmod(descriptor, kept_mode(info))
    os.utime(descriptor, ns=(info.st_atime_ns, info.st_mtime_ns))
