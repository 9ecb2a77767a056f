"""The files of this machine, by descriptors: what a name is swapped for on the way is never used (G70)."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from adapters.runners.file.growth import CREATE, NEW, LocalGrowth, private
from adapters.runners.file.ports import FileTrouble, Found
from adapters.runners.file.walk import DIRECTORY, Policy, look, opened, walk

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class LocalFiles:
    """Files on this machine; see the port for the contract."""

    def __init__(self, policy: Policy, ended: Callable[[], bool], note: Callable[[str], None]) -> None:
        self._policy, self._ended, self._note = policy, ended, note
        self._token = secrets.token_hex(4)  # several workers and tasks may work there

    def check(self, text: str, key: str) -> Path:
        return self._policy.check(text, key)

    def look(self, path: Path) -> os.stat_result:
        return look(path)

    @contextlib.contextmanager
    def entry(self, path: Path) -> Iterator[Found]:
        with opened(path.parent) as parent:
            try:
                info = os.stat(path.name, dir_fd=parent, follow_symlinks=False)
            except OSError as error:
                raise FileTrouble(f"{path}: {error.strerror}") from None
            yield Found(path, path.name, parent, info)

    def exists(self, path: Path) -> bool:
        with opened(path.parent) as parent:
            try:
                os.stat(path.name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                return False
        return True

    def names(self, directory: Path) -> list[str]:
        with opened(directory) as descriptor:
            return os.listdir(descriptor)

    def walk(self, path: Path, recursive: bool) -> Iterator[Found]:
        return walk(path, recursive, self._ended, self._note)

    @contextlib.contextmanager
    def read(self, found: Found) -> Iterator[tuple[IO[bytes], os.stat_result]]:
        try:
            descriptor = os.open(found.name, READ, dir_fd=found.parent)
        except OSError as error:
            raise FileTrouble(f"{found.path}: {error.strerror}") from None
        with open(descriptor, "rb") as content:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise FileTrouble(f"{found.path}: something else meanwhile")
            yield content, info

    def read_link(self, found: Found) -> str:
        return os.readlink(found.name, dir_fd=found.parent)

    def delete(self, found: Found) -> None:
        try:
            now = os.stat(found.name, dir_fd=found.parent, follow_symlinks=False)
            if (now.st_dev, now.st_ino) != (found.info.st_dev, found.info.st_ino):
                raise FileTrouble(f"{found.path}: something else meanwhile")
            os.unlink(found.name, dir_fd=found.parent)
        except OSError as error:
            raise FileTrouble(f"{found.path}: {error.strerror}") from None

    def remove(self, path: Path) -> None:
        with self.entry(path) as found:
            if found.is_dir:
                shutil.rmtree(path.name, dir_fd=found.parent)  # follows no link
            else:
                os.unlink(path.name, dir_fd=found.parent)

    def make_directories(self, path: Path) -> None:
        with contextlib.ExitStack() as stack:
            parent = os.open("/", DIRECTORY)
            stack.callback(os.close, parent)
            for part in path.parts[1:]:
                try:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=parent)
                    parent = os.open(part, DIRECTORY, dir_fd=parent)
                except OSError as error:
                    raise FileTrouble(f"{path}: {part}: {error.strerror} (links are not followed)") from None
                stack.callback(os.close, parent)

    def beside(self, target: Path) -> Path:
        return target.with_name(f".{target.name}.{self._token}.part")

    @contextlib.contextmanager
    def replacing(self, target: Path) -> Iterator[IO[bytes]]:
        with self._room(target) as (parent, room):
            with open(os.open(NEW, CREATE, 0o640, dir_fd=room), "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(NEW, target.name, src_dir_fd=room, dst_dir_fd=parent)
            os.fsync(parent)

    @contextlib.contextmanager
    def growing(self, target: Path) -> Iterator[LocalGrowth]:
        with self._room(target) as (parent, room), contextlib.closing(LocalGrowth(room)) as growth:
            yield growth
            growth.finish(parent, target.name)

    @contextlib.contextmanager
    def _room(self, target: Path) -> Iterator[tuple[int, int]]:
        """The open directory of a target, and an open one in it for what is to become the target."""
        try:
            with opened(target.parent) as parent, private(parent, self.beside(target).name) as room:
                yield parent, room
        except OSError as error:
            raise FileTrouble(f"{target}: {error.strerror or error}") from None
