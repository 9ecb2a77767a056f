"""Writing archives and copies of a tree: links stay links, special files are left out, nothing is half written."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from adapters.runners.file.walk import FileTrouble, Found, look, opened, walk

CHUNK = 1 << 20


@dataclass(slots=True)
class Tally:
    """What went into a copy or an archive; ``paths`` for checking before a source is removed."""

    files: int = 0
    size: int = 0
    left_out: int = 0


class Content:
    """What a file holds, until the run is to end: a single file can take hours (F8)."""

    def __init__(self, file: IO[bytes], ended: Callable[[], bool]) -> None:
        self._file, self._ended = file, ended

    def read(self, size: int = -1) -> bytes:
        if self._ended():
            raise FileTrouble("ended in the middle of a file")
        return self._file.read(size)


Add = Callable[[str, Found, Content | None], None]


def beside(target: Path) -> Path:
    """Where something grows until it is complete and takes its name."""
    return target.with_name(f".{target.name}.{os.getpid()}.part")


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A file beside ``target`` that takes its place, synced, when the block ends well, and vanishes otherwise."""
    fresh = beside(target)
    with opened(target.parent) as parent:
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh.name, dir_fd=parent)
        descriptor = os.open(fresh.name, flags, 0o640, dir_fd=parent)
        try:
            with open(descriptor, "wb") as file:
                yield file, fresh
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh.name, target.name, src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fresh.name, dir_fd=parent)
            raise


def members(
    source: Path, target: Path, ended: Callable[[], bool], note: Callable[[str], None]
) -> Iterator[tuple[str, Found]]:
    """(name in the archive, entry) for a single file or a whole tree, without the archive itself."""
    info = look(source)
    if not stat.S_ISDIR(info.st_mode):
        with opened(source.parent) as parent:
            yield source.name, Found(source, source.name, parent, info)
        return
    own = (target, beside(target))
    for found in walk(source, True, ended, note):
        if any(found.path.is_relative_to(one) for one in own):
            continue
        yield str(found.path.relative_to(source)), found


def write_archive(
    source: Path, target: Path, kind: str, level: int, wanted: Callable[[Found], bool], ended: Callable[[], bool],
    note: Callable[[str], None],
) -> Tally:  # fmt: skip
    """Write ``kind`` (tar.gz, tar, zip) at ``target``. Raises FileTrouble; then ``target`` is as it was before."""
    tally = Tally()
    with replacing(target) as (file, _):
        with _writer(kind, file, level) as add:
            for name, found in members(source, target, ended, note):
                if not (found.is_file or found.is_dir or found.is_link):
                    note(f"{found.path}: a special file is left out")
                    tally.left_out += 1
                    continue
                if found.is_file and not wanted(found):
                    continue
                _add(add, name, found, tally, ended)
        if ended():
            raise FileTrouble("ended before the archive was complete")
    return tally


def _add(add: Add, name: str, found: Found, tally: Tally, ended: Callable[[], bool]) -> None:
    if not found.is_file:
        add(name, found, None)
        return
    try:
        descriptor = os.open(
            found.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=found.parent
        )
    except OSError as error:
        raise FileTrouble(f"{found.path}: {error.strerror}") from None
    with open(descriptor, "rb") as content:
        add(name, Found(found.path, found.name, found.parent, os.fstat(descriptor)), Content(content, ended))
    tally.files += 1
    tally.size += found.info.st_size


@contextlib.contextmanager
def _writer(kind: str, file: IO[bytes], level: int) -> Iterator[Add]:
    if kind == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:

            def add_zip(name: str, found: Found, content: Content | None) -> None:
                info = zipfile.ZipInfo(name + ("/" if found.is_dir else ""))
                info.external_attr = (found.info.st_mode & 0xFFFF) << 16
                info.compress_type = zipfile.ZIP_DEFLATED
                if found.is_link:
                    archive.writestr(info, os.readlink(found.name, dir_fd=found.parent))
                elif content is None:
                    archive.writestr(info, b"")
                else:
                    with archive.open(info, "w", force_zip64=True) as out:
                        shutil.copyfileobj(content, out, CHUNK)

            yield add_zip
        return
    with tarfile.open(
        fileobj=file, mode="w:gz" if kind == "tar.gz" else "w", **({"compresslevel": level} if kind == "tar.gz" else {})
    ) as tar:  # type: ignore[call-overload]

        def add_tar(name: str, found: Found, content: Content | None) -> None:
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = stat.S_IMODE(found.info.st_mode), found.info.st_mtime
            info.uid, info.gid = found.info.st_uid, found.info.st_gid
            if found.is_link:
                info.type, info.linkname = tarfile.SYMTYPE, os.readlink(found.name, dir_fd=found.parent)
            elif found.is_dir:
                info.type = tarfile.DIRTYPE
            else:
                info.size = found.info.st_size
            tar.addfile(info, content)

        yield add_tar


def copy_tree(
    source: Path, target: Path, wanted: Callable[[Found], bool], ended: Callable[[], bool], note: Callable[[str], None]
) -> Tally:
    """Copy a file or a tree, links as links, modes and times kept; ``target`` must be free.

    Raises FileTrouble at the first error; then nothing is left at ``target`` or beside it.
    """
    fresh, tally = beside(target), Tally()
    single = not stat.S_ISDIR(look(source).st_mode)
    try:
        if not single:
            fresh.mkdir(mode=0o755)
        for name, found in members(source, target, ended, note):
            _copy(found, fresh if single else fresh / name, wanted, ended, tally, note)
        if ended():
            raise FileTrouble("ended before the copy was complete")
        os.rename(fresh, target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True) if not single else fresh.unlink(missing_ok=True)
        raise
    return tally


def _copy(
    found: Found, place: Path, wanted: Callable[[Found], bool], ended: Callable[[], bool], tally: Tally,
    note: Callable[[str], None],
) -> None:  # fmt: skip
    if found.is_dir:
        place.mkdir(mode=0o755)
    elif found.is_link:
        os.symlink(os.readlink(found.name, dir_fd=found.parent), place)
    elif not found.is_file:
        note(f"{found.path}: a special file is left out")
        tally.left_out += 1
    elif wanted(found):
        _copy_file(found, place, ended)
        tally.files += 1
        tally.size += found.info.st_size


def _copy_file(found: Found, place: Path, ended: Callable[[], bool]) -> None:
    try:
        descriptor = os.open(
            found.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=found.parent
        )
        with open(descriptor, "rb") as content, open(place, "xb") as out:
            shutil.copyfileobj(Content(content, ended), out, CHUNK)
            os.fchmod(out.fileno(), stat.S_IMODE(found.info.st_mode))
        os.utime(place, ns=(found.info.st_atime_ns, found.info.st_mtime_ns))
    except OSError as error:
        raise FileTrouble(f"{found.path}: {error.strerror}") from None
