"""Writing archives and copies of a tree: links stay links, special files are left out, nothing is half written."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

from adapters.runners.file.ports import Files, FileTrouble, Found, Growth, Sink, Source, kept_mode

CHUNK = 1 << 20
ZIP_TIMES = 315_619_200.0, 4_354_732_800.0  # what a zip can say: the 2nd of January 1980 to the end of 2107
Add = Callable[[str, Found, os.stat_result, Source | None], None]


class Choice(Protocol):
    """Which regular files of a tree are packed, by their names in it; it is told of each one that was."""

    def wanted(self, name: str, found: Found) -> bool: ...

    def packed(self, name: str, info: os.stat_result) -> None: ...


@dataclass(slots=True)
class Tally:
    """What went into a copy or an archive."""

    files: int = 0
    size: int = 0
    left_out: int = 0


class Content:
    """What a file holds, until the run is to end: a single file can take hours (F8)."""

    def __init__(self, file: Source, ended: Callable[[], bool]) -> None:
        self._file, self._ended = file, ended

    def read(self, size: int = -1) -> bytes:
        if self._ended():
            raise FileTrouble("ended in the middle of a file")
        return self._file.read(size)


class Packer:
    """Copies and packs what ``choice`` says, within one run. What lies below ``apart`` is no part of any tree."""

    def __init__(
        self,
        files: Files,
        ended: Callable[[], bool],
        note: Callable[[str], None],
        choice: Choice,
        apart: Iterable[Path],
    ) -> None:
        self._files, self._ended, self._note, self._choice = files, ended, note, choice
        self._apart = [place for path in apart for place in (path, files.beside(path))]
        self._tally = Tally()

    def archive(self, source: Path, target: Path, kind: str, level: int) -> Tally:
        """Write ``kind`` (tar.gz, tar, zip) at ``target``. Raises FileTrouble; then ``target`` is as it was before."""
        with self._files.replacing(target) as file:
            with _writer(self._files, kind, file, level) as add:
                for name, found in self._members(source):
                    if not found.is_file:
                        add(name, found, found.info, None)
                    elif self._choice.wanted(name, found):
                        with self._content(name, found) as (content, info):
                            add(name, found, info, content)
            if self._ended():
                raise FileTrouble("ended before the archive was complete")
        return self._tally

    def copy(self, source: Path, target: Path) -> Tally:
        """Copy a file or a tree, links as links, modes and times kept; ``target`` must be free.

        Raises FileTrouble at the first error; then nothing is left at ``target`` or beside it.
        """
        top = self._files.look(source)
        directories = [("", top)]
        with self._files.growing(target) as growth:
            if stat.S_ISDIR(top.st_mode):
                growth.directory("")
                for name, found in self._members(source):
                    if found.is_dir:
                        growth.directory(name)
                        directories.append((name, found.info))
                    elif found.is_link or self._choice.wanted(name, found):
                        self._copy(growth, name, found)
                for name, info in reversed(directories):
                    growth.settle(name, info)
            else:
                for _, found in self._members(source):
                    self._copy(growth, "", found)
            if self._ended():
                raise FileTrouble("ended before the copy was complete")
        return self._tally

    def _copy(self, growth: Growth, name: str, found: Found) -> None:
        if found.is_link:
            growth.link(name, self._files.read_link(found))
            return
        with self._content(name, found) as (content, info), growth.file(name, info) as out:
            shutil.copyfileobj(content, cast(IO[bytes], out), CHUNK)

    def _members(self, source: Path) -> Iterator[tuple[str, Found]]:
        """(name in the archive, entry) for a single file or a whole tree, without the archive itself (F9)."""
        if not stat.S_ISDIR(self._files.look(source).st_mode):
            with self._files.entry(source) as found:
                if self._packable(found):
                    yield source.name, found
            return
        for found in self._files.walk(source, True):
            if not any(found.path.is_relative_to(one) for one in self._apart) and self._packable(found):
                yield str(found.path.relative_to(source)), found

    def _packable(self, found: Found) -> bool:
        if found.is_file or found.is_dir or found.is_link:
            return True
        self._note(f"{found.path}: a special file is left out")
        self._tally.left_out += 1
        return False

    @contextlib.contextmanager
    def _content(self, name: str, found: Found) -> Iterator[tuple[Content, os.stat_result]]:
        with self._files.read(found) as (content, info):
            yield Content(content, self._ended), info
        self._tally.files += 1
        self._tally.size += info.st_size
        self._choice.packed(name, info)


@contextlib.contextmanager
def _writer(files: Files, kind: str, file: Sink, level: int) -> Iterator[Add]:
    out = cast(IO[bytes], file)
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:

            def add_zip(name: str, found: Found, about: os.stat_result, content: Source | None) -> None:
                # A zip names its files in UTF-8: other bytes have no place in it.
                plain = os.fsencode(name).decode("utf-8", "replace")
                when = min(max(about.st_mtime, ZIP_TIMES[0]), ZIP_TIMES[1])
                info = zipfile.ZipInfo(plain + ("/" if found.is_dir else ""), time.localtime(when)[:6])
                info.external_attr = (stat.S_IFMT(about.st_mode) | kept_mode(about)) << 16
                info.compress_type = zipfile.ZIP_DEFLATED
                if found.is_link:
                    archive.writestr(info, os.fsencode(files.read_link(found)))
                elif content is None:
                    archive.writestr(info, b"")
                else:
                    with archive.open(info, "w", force_zip64=True) as member:
                        shutil.copyfileobj(cast(IO[bytes], content), member, CHUNK)

            yield add_zip
        return
    more: dict[str, Any] = {"compresslevel": level} if kind == "tar.gz" else {}
    with tarfile.open(fileobj=out, mode="w:gz" if kind == "tar.gz" else "w", **more) as tar:

        def add_tar(name: str, found: Found, about: os.stat_result, content: Source | None) -> None:
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = kept_mode(about), about.st_mtime
            info.uid, info.gid = about.st_uid, about.st_gid
            if found.is_link:
                info.type, info.linkname = tarfile.SYMTYPE, files.read_link(found)
            elif found.is_dir:
                info.type = tarfile.DIRTYPE
            else:
                info.size = about.st_size
            tar.addfile(info, cast(IO[bytes], content))

        yield add_tar
