"""Walking a tree by directory descriptors: no link is followed, no other device entered, nothing raced (G70, G71)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from adapters.runners.file.ports import FileTrouble, Found
from domain.errors import InvalidTask

FORBIDDEN = ("/", "/etc", "/usr", "/bin", "/sbin", "/boot", "/lib", "/lib64", "/sys", "/proc", "/dev", "/root")
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Policy:
    """Where file tasks may work: never in a directory of the system, and below one of the roots.

    ``*`` in a root stands for one name. Decided on whole components. Without roots everything else is allowed.
    """

    def __init__(self, roots: tuple[str, ...] | None) -> None:
        self._roots = None if roots is None else [Path(root) for root in roots if root.strip()]

    def check(self, text: str, key: str) -> Path:
        """The path, made absolute and plain; raises InvalidTask where it is not allowed. Looks at no file."""
        if "\0" in text:
            raise InvalidTask(f"{key} holds a NUL character")
        if not text.startswith("/"):
            raise InvalidTask(f"{key} must be an absolute path, not {text!r}")
        path = Path(os.path.normpath(text).replace("//", "/", 1))
        if forbidden(path):
            raise InvalidTask(f"{key}: {path} is a directory of the system")
        if self._roots is not None and not any(_below(path, root) for root in self._roots):
            raise InvalidTask(f"{key}: {path} is below none of the allowed directories (FILE_RUNNER_ALLOWED_PATHS)")
        return path


def forbidden(path: Path) -> bool:
    return str(path) in FORBIDDEN or any(path.is_relative_to(one) for one in FORBIDDEN[1:])


def _below(path: Path, root: Path) -> bool:
    parts, wanted = path.parts, root.parts
    return len(parts) >= len(wanted) and all(w in ("*", p) for w, p in zip(wanted, parts, strict=False))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A directory, reached component by component without following any link. Raises FileTrouble."""
    descriptor = os.open("/", DIRECTORY)
    try:
        for part in path.parts[1:]:
            try:
                following = os.open(part, DIRECTORY, dir_fd=descriptor)
            except OSError as error:
                raise FileTrouble(f"{path}: {part}: {error.strerror} (links are not followed)") from None
            os.close(descriptor)
            descriptor = following
        yield descriptor
    finally:
        os.close(descriptor)


def look(path: Path) -> os.stat_result:
    """What stands at a path whose parents hold no link. Raises FileTrouble."""
    with opened(path.parent) as parent:
        try:
            return os.stat(path.name, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            raise FileTrouble(f"{path}: {error.strerror}") from None


def walk(
    path: Path, recursive: bool, ended: Callable[[], bool], skipped: Callable[[str], None] = lambda _: None
) -> Iterator[Found]:
    """Every entry below a directory, parents before their children; other devices and unreadable ones are skipped."""
    with opened(path) as descriptor:
        yield from _walk(path, descriptor, os.fstat(descriptor).st_dev, recursive, ended, skipped)


def _walk(
    path: Path, descriptor: int, device: int, recursive: bool, ended: Callable[[], bool], skipped: Callable[[str], None]
) -> Iterator[Found]:
    for name in sorted(os.listdir(descriptor)):
        if ended():
            return
        try:
            info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except OSError:
            continue  # gone meanwhile
        found = Found(path / name, name, descriptor, info)
        yield found
        if not (recursive and found.is_dir and info.st_dev == device):
            continue
        try:
            inner = os.open(name, DIRECTORY, dir_fd=descriptor)
        except OSError as error:
            skipped(f"{found.path}: {error.strerror}")
            continue
        try:
            state = os.fstat(inner)
            if (state.st_dev, state.st_ino) == (info.st_dev, info.st_ino):
                yield from _walk(found.path, inner, device, recursive, ended, skipped)
        finally:
            os.close(inner)
