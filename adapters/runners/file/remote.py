"""The files of another machine, over SFTP.

There are no descriptors of directories to hold on to: each path is looked at just before it is used. Who may swap
directories for links on that machine while a task runs can still lead it astray, as far as the task's user may go.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from adapters.runners.file.ports import FileTrouble, Found, PeerLost
from adapters.runners.file.remote_growth import NEW, RemoteGrowth
from adapters.runners.file.sftp import Sftp
from adapters.runners.file.sftp_words import Missing
from adapters.runners.file.transfer import Download, Upload
from adapters.runners.file.walk import Policy


class RemoteFiles:
    """Files of another machine; see the port for the contract."""

    def __init__(self, sftp: Sftp, policy: Policy, ended: Callable[[], bool], note: Callable[[str], None]) -> None:
        self._sftp, self._policy, self._ended, self._note = sftp, policy, ended, note
        self._token = secrets.token_hex(4)  # several workers may work there

    def check(self, text: str, key: str) -> Path:
        return self._policy.check(text, key)

    def look(self, path: Path) -> os.stat_result:
        self._way(path.parent)
        return self._sftp.look(path)

    @contextlib.contextmanager
    def entry(self, path: Path) -> Iterator[Found]:
        yield Found(path, path.name, -1, self.look(path))

    def exists(self, path: Path) -> bool:
        try:
            self._sftp.look(path)
        except Missing:
            return False
        return True

    def names(self, directory: Path) -> list[str]:
        self._way(directory)
        return [name for name, _ in self._sftp.entries(directory)]

    def walk(self, path: Path, recursive: bool) -> Iterator[Found]:
        self._way(path)
        for found in self._below(path, recursive):
            if self._ended():
                return
            yield found

    def _below(self, top: Path, recursive: bool) -> Iterator[Found]:
        """Directory by directory; of each, the names of its directories are all that is kept."""
        device, waiting = self._sftp.device(top), [top]
        while waiting:
            directory, inner = waiting.pop(), []
            try:
                self._sftp.at(directory)
                if self._sftp.device(directory) != device:
                    continue
                for name, info in self._sftp.entries(directory):
                    found = Found(directory / name, name, -1, info)
                    if not stat.S_IFMT(info.st_mode):
                        self._note(f"{found.path}: the server does not tell what it is")
                        continue
                    if recursive and found.is_dir:
                        inner.append(found.path)
                    yield found
            except PeerLost:
                raise
            except FileTrouble as error:
                if directory == top:
                    raise
                self._note(str(error))
            waiting += sorted(inner, reverse=True)

    @contextlib.contextmanager
    def read(self, found: Found) -> Iterator[tuple[Download, os.stat_result]]:
        with self._sftp.reading(found.path) as (content, info):
            # Opening follows links, so look whether a file of that kind is what stands there.
            for one in (info, self._sftp.look(found.path)):
                if (one.st_mode, one.st_uid, one.st_gid) != (found.info.st_mode, found.info.st_uid, found.info.st_gid):
                    raise FileTrouble(f"{found.path}: something else meanwhile")
            yield content, info

    def read_link(self, found: Found) -> str:
        return self._sftp.read_link(found.path)

    def delete(self, found: Found) -> None:
        now, then = self._sftp.look(found.path), found.info
        if (now.st_mode, now.st_size, now.st_mtime) != (then.st_mode, then.st_size, then.st_mtime):
            raise FileTrouble(f"{found.path}: something else meanwhile")
        self._sftp.delete(found.path)

    def remove(self, path: Path) -> None:
        if not stat.S_ISDIR(self.look(path).st_mode):
            self._sftp.delete(path)
            return
        directories = [path]
        for found in self._below(path, True):
            if found.is_dir:
                directories.append(found.path)
            else:
                self._sftp.delete(found.path)
        for directory in reversed(directories):
            self._sftp.delete_directory(directory)

    def make_directories(self, path: Path) -> None:
        for part in [*reversed(path.parents[:-1]), path]:
            try:
                self._directory(part)
            except Missing:
                self._sftp.make_directory(part, 0o755)

    def beside(self, target: Path) -> Path:
        return target.with_name(f".{target.name}.{self._token}.part")

    @contextlib.contextmanager
    def replacing(self, target: Path) -> Iterator[Upload]:
        with self._room(target) as room, self._sftp.writing(room / NEW, 0o640) as out:
            yield out

    @contextlib.contextmanager
    def growing(self, target: Path) -> Iterator[RemoteGrowth]:
        with self._room(target) as room:
            growth = RemoteGrowth(self._sftp, room)
            yield growth
        growth.finish(target)

    @contextlib.contextmanager
    def _room(self, target: Path) -> Iterator[Path]:
        """A new private directory; ``new`` in it takes its name when the block ends well."""
        self._way(target.parent)
        room = self.beside(target)
        self._sftp.make_directory(room, 0o700)
        try:
            yield room
            self._sftp.at(room)
            self._sftp.rename(room / NEW, target)
        except BaseException:
            self._forget(room)
            raise
        self._forget(room)

    def _forget(self, room: Path) -> None:
        try:
            self.remove(room)
        except Missing:
            pass
        except FileTrouble as error:
            self._note(f"{error}; {room} is left there")

    def _way(self, path: Path) -> None:
        """A directory without a link on the way to it. Raises FileTrouble."""
        for part in [*reversed(path.parents[:-1]), path]:
            self._directory(part)
        self._sftp.at(path)

    def _directory(self, path: Path) -> None:
        if not stat.S_ISDIR(self._sftp.look(path).st_mode):
            raise FileTrouble(f"{path}: not a directory (links are not followed)")
