"""The files of this machine, by descriptors: what a name is swapped for on the way is never used (G70)."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from adapters.runners.file.ports import FileTrouble, Found
from adapters.runners.file.walk import DIRECTORY, Policy, look, opened, walk

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class LocalFiles:
    """Files on this machine; see the port for the contract."""

    def __init__(self, policy: Policy, ended: Callable[[], bool], note: Callable[[str], None]) -> None:
        self._policy, self._ended, self._note = policy, ended, note

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
        return os.path.lexists(path)

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
            yield content, os.fstat(descriptor)

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
        return target.with_name(f".{target.name}.{os.getpid()}.part")

    @contextlib.contextmanager
    def replacing(self, target: Path) -> Iterator[IO[bytes]]:
        fresh = self.beside(target)
        with opened(target.parent) as parent:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fresh.name, dir_fd=parent)
            descriptor = os.open(fresh.name, CREATE, 0o640, dir_fd=parent)
            try:
                with open(descriptor, "wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(fresh.name, target.name, src_dir_fd=parent, dst_dir_fd=parent)
                os.fsync(parent)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(fresh.name, dir_fd=parent)
                raise

    @contextlib.contextmanager
    def growing(self, target: Path) -> Iterator[LocalGrowth]:
        fresh = self.beside(target).name
        with opened(target.parent) as parent:
            _clear(fresh, parent)
            try:
                # By the open directory, not by its name; below it nobody else may enter before the end.
                yield LocalGrowth(Path(f"/proc/self/fd/{parent}") / fresh, target)
                os.rename(fresh, target.name, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError as error:
                _clear(fresh, parent)
                raise FileTrouble(f"{target}: {error.strerror}") from None
            except BaseException:
                _clear(fresh, parent)
                raise


def _clear(name: str, parent: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            shutil.rmtree(name, dir_fd=parent, ignore_errors=True)
        else:
            os.unlink(name, dir_fd=parent)


class LocalGrowth:
    def __init__(self, base: Path, target: Path) -> None:
        self._base, self._target = base, target

    def directory(self, name: str) -> None:
        (self._base / name).mkdir(mode=0o700)

    def link(self, name: str, text: str) -> None:
        os.symlink(text, self._base / name)

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[IO[bytes]]:
        with open(os.open(self._base / name, CREATE, 0o600), "wb") as out:
            yield out

    def settle(self, name: str, info: os.stat_result) -> None:
        os.chmod(self._base / name, stat.S_IMODE(info.st_mode))
        os.utime(self._base / name, ns=(info.st_atime_ns, info.st_mtime_ns))
