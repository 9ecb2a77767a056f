"""What is asked of an SFTP server: whole paths as bytes, so that every name of a file is possible."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.runners.file.ports import FileTrouble, PeerLost, kept_mode
from adapters.runners.file.sftp_words import attributes_of, info_of, telling
from adapters.runners.file.transfer import Download, Upload

if TYPE_CHECKING:
    from paramiko import SFTPClient


class Sftp:
    """For the thread of the run. Raises FileTrouble, and PeerLost where the connection is the reason."""

    def __init__(self, client: SFTPClient, host: str) -> None:
        self._client: Any = client  # names are answered as bytes by no public method of it
        self._host = host
        self._tells_devices = True

    def look(self, path: Path) -> os.stat_result:
        with self._telling(path):
            return info_of(self._client.lstat(os.fsencode(path)))

    def real(self, path: Path) -> Path:
        """Where a path leads when every link on it is followed."""
        from paramiko.sftp import CMD_REALPATH

        with self._telling(path):
            _, message = self._client._request(CMD_REALPATH, os.fsencode(path))
            message.get_int()
            return Path(os.fsdecode(message.get_binary()))

    def at(self, path: Path) -> None:
        """Raises FileTrouble where a path leads elsewhere than it says."""
        if (real := self.real(path)) != path:
            raise FileTrouble(f"{path}: leads to {real} (links are not followed)")

    def device(self, path: Path) -> int | None:
        """The file system that a directory lies on; None where the server does not tell."""
        from paramiko.sftp import CMD_EXTENDED, CMD_EXTENDED_REPLY

        if not self._tells_devices:
            return None
        try:
            with self._telling(path):
                kind, message = self._client._request(CMD_EXTENDED, "statvfs@openssh.com", os.fsencode(path))
                numbers = [message.get_int64() for _ in range(11)] if kind == CMD_EXTENDED_REPLY else []
        except PeerLost:
            raise
        except FileTrouble:
            numbers = []
        self._tells_devices = bool(numbers)
        return numbers[8] if numbers else None

    def entries(self, directory: Path) -> Iterator[tuple[str, os.stat_result]]:
        """The entries of a directory in the server's order, never more of them in memory than one answer holds."""
        from paramiko.sftp import CMD_CLOSE, CMD_OPENDIR

        with self._telling(directory):
            handle = self._client._request(CMD_OPENDIR, os.fsencode(directory))[1].get_binary()
        try:
            while page := self._page(directory, handle):
                for name, info in page:
                    if name not in (".", "..", "") and "/" not in name:
                        yield name, info
        finally:
            with contextlib.suppress(FileTrouble), self._telling(directory):
                self._client._request(CMD_CLOSE, handle)

    def _page(self, directory: Path, handle: bytes) -> list[tuple[str, os.stat_result]]:
        from paramiko import SFTPAttributes
        from paramiko.sftp import CMD_READDIR

        page = []
        with self._telling(directory):
            try:
                _, message = self._client._request(CMD_READDIR, handle)
            except EOFError:
                return []
            for _ in range(message.get_int()):
                name, _ = os.fsdecode(message.get_binary()), message.get_binary()
                attributes: Any = SFTPAttributes
                page.append((name, info_of(attributes._from_msg(message))))
        return page

    def read_link(self, path: Path) -> str:
        with self._telling(path):
            text: Any = self._client.readlink(os.fsencode(path))
            return os.fsdecode(text or b"")

    def delete(self, path: Path) -> None:
        with self._telling(path):
            self._client.remove(os.fsencode(path))

    def delete_directory(self, path: Path) -> None:
        with self._telling(path):
            self._client.rmdir(os.fsencode(path))

    def make_directory(self, path: Path, mode: int) -> None:
        with self._telling(path):
            self._client.mkdir(os.fsencode(path), mode)

    def make_link(self, path: Path, text: str) -> None:
        with self._telling(path):
            self._client.symlink(os.fsencode(text), os.fsencode(path))

    def settle(self, path: Path, mode: int, info: os.stat_result) -> None:
        """Set the permissions, and the times of ``info``."""
        from paramiko.sftp import CMD_SETSTAT

        with self._telling(path):
            self._client._request(CMD_SETSTAT, os.fsencode(path), attributes_of(mode, info))

    def rename(self, path: Path, target: Path) -> None:
        """Take the place of ``target``: at once where the server can."""
        old, new = os.fsencode(path), os.fsencode(target)
        with self._telling(target):
            try:
                self._client.posix_rename(old, new)
            except OSError as error:
                if "unsupported" not in str(error).lower():
                    raise
                with contextlib.suppress(FileNotFoundError):
                    self._client.remove(new)
                self._client.rename(old, new)

    @contextlib.contextmanager
    def reading(self, path: Path) -> Iterator[tuple[Download, os.stat_result]]:
        from paramiko import SFTPAttributes
        from paramiko.sftp import CMD_FSTAT, SFTP_FLAG_READ

        attributes: Any = SFTPAttributes
        with self._handle(path, SFTP_FLAG_READ, SFTPAttributes()) as handle:
            with self._telling(path):
                info = info_of(attributes._from_msg(self._client._request(CMD_FSTAT, handle)[1]))
            yield Download(self._client, handle, lambda: self._telling(path), info.st_size), info

    @contextlib.contextmanager
    def writing(self, path: Path, mode: int, like: os.stat_result | None = None) -> Iterator[Upload]:
        """A new file, whole on the server when the block has ended well, with permissions and times of ``like``."""
        from paramiko import SFTPAttributes
        from paramiko.sftp import SFTP_FLAG_CREATE, SFTP_FLAG_EXCL, SFTP_FLAG_WRITE

        attributes = SFTPAttributes()
        attributes.st_mode = mode
        with self._handle(path, SFTP_FLAG_WRITE | SFTP_FLAG_CREATE | SFTP_FLAG_EXCL, attributes) as handle:
            upload = Upload(self._client, handle, lambda: self._telling(path))
            yield upload
            upload.finish()
            settled = like is None or self._settled(path, handle, like)
        if like is not None and not settled:
            self.settle(path, kept_mode(like), like)
        if (size := self.look(path).st_size) != upload.size:
            raise FileTrouble(f"{self._host}: {path}: the server holds {size} of {upload.size} bytes")

    def _settled(self, path: Path, handle: bytes, info: os.stat_result) -> bool:
        """Set the permissions and times of the open file itself; False where the server cannot."""
        from paramiko.sftp import CMD_FSETSTAT

        try:
            with self._telling(path):
                self._client._request(CMD_FSETSTAT, handle, attributes_of(kept_mode(info), info))
        except PeerLost:
            raise
        except FileTrouble:
            return False
        return True

    @contextlib.contextmanager
    def _handle(self, path: Path, flags: int, attributes: Any) -> Iterator[bytes]:
        from paramiko.sftp import CMD_CLOSE, CMD_OPEN

        with self._telling(path):
            handle = self._client._request(CMD_OPEN, os.fsencode(path), flags, attributes)[1].get_binary()
        try:
            yield handle
        except BaseException:
            with contextlib.suppress(FileTrouble), self._telling(path):
                self._client._request(CMD_CLOSE, handle)
            raise
        with self._telling(path):
            self._client._request(CMD_CLOSE, handle)

    def _telling(self, path: Path) -> contextlib.AbstractContextManager[None]:
        return telling(self._client, self._host, path)
