"""A small SFTP server on loopback for tests, as unlike OpenSSH's as it may be.

It takes a password, knows no extension (no posix-rename, no statvfs), and its realpath resolves no link.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path
from typing import Any

import paramiko
from paramiko import SFTPAttributes
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED
from paramiko.sftp import SFTP_FAILURE, SFTP_OK, SFTP_PERMISSION_DENIED


class PasswordPeer:
    """For use as a context manager: one user, one password, one host key. It serves the files below ``root`` only.

    Directories named ``unreadable`` cannot be listed. The block that goes beyond ``room`` bytes of a file is refused,
    or, by a ``forgetful`` one, taken with all that follow and not kept.
    """

    def __init__(self, root: Path, user: str, password: str) -> None:
        self.root, self.user, self.password = root, user, password
        self.unreadable, self.room, self.forgetful = "", 1 << 40, False
        self._key = paramiko.ECDSAKey.generate()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.known_hosts = f"[127.0.0.1]:{self.port} {self._key.get_name()} {self._key.get_base64()}\n"
        self._lines: list[paramiko.Transport] = []
        self._thread = threading.Thread(target=self._accept, name="password-peer")

    def __enter__(self) -> PasswordPeer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for line in self._lines:
            line.close()
            line.join(5)
            line.sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            line = paramiko.Transport(sock)
            line.add_server_key(self._key)
            line.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files, self)
            line.start_server(threading.Event(), _Door(self))
            self._lines.append(line)


class _Door(paramiko.ServerInterface):
    def __init__(self, peer: PasswordPeer) -> None:
        self._peer = peer

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        right = (username, password) == (self._peer.user, self._peer.password)
        return int(AUTH_SUCCESSFUL if right else AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(OPEN_SUCCEEDED)


def _told(work: Any) -> Any:
    """Run it; SFTP's number for what the system says."""
    try:
        done = work()
    except OSError as error:
        return paramiko.SFTPServer.convert_errno(error.errno or errno.EIO)
    return SFTP_OK if done is None else done


class _Files(paramiko.SFTPServerInterface):
    def __init__(self, server: paramiko.ServerInterface, peer: PasswordPeer) -> None:
        super().__init__(server)
        self._peer = peer

    def list_folder(self, path: str) -> Any:
        if self._peer.unreadable and Path(path).name == self._peer.unreadable:
            return SFTP_PERMISSION_DENIED
        return _told(lambda: [SFTPAttributes.from_stat(entry.stat(follow_symlinks=False), entry.name)
                              for entry in os.scandir(path)])  # fmt: skip

    def stat(self, path: str) -> Any:
        return _told(lambda: SFTPAttributes.from_stat(os.stat(path)))

    def lstat(self, path: str) -> Any:
        return _told(lambda: SFTPAttributes.from_stat(os.lstat(path)))

    def remove(self, path: str) -> Any:
        return self._within(path, lambda: os.remove(path))

    def rename(self, oldpath: str, newpath: str) -> Any:
        if os.path.lexists(newpath):
            return SFTP_FAILURE
        return self._within(newpath, lambda: os.rename(oldpath, newpath))

    def mkdir(self, path: str, attr: SFTPAttributes) -> Any:
        return self._within(path, lambda: os.mkdir(path))

    def rmdir(self, path: str) -> Any:
        return self._within(path, lambda: os.rmdir(path))

    def chattr(self, path: str, attr: SFTPAttributes) -> Any:
        return self._within(path, lambda: paramiko.SFTPServer.set_file_attr(path, attr))

    def open(self, path: str, flags: int, attr: SFTPAttributes) -> Any:
        def opened() -> Any:
            mode = "r+b" if flags & os.O_RDWR else "wb" if flags & os.O_WRONLY else "rb"
            file = os.fdopen(os.open(path, flags, 0o600), mode)
            handle = _Handle(flags, self._peer)
            handle.readfile = handle.writefile = file  # type: ignore[attr-defined]
            return handle

        return self._within(path, opened)

    def _within(self, path: str, work: Any) -> Any:
        return _told(work) if Path(path).is_relative_to(self._peer.root) else SFTP_PERMISSION_DENIED


class _Handle(paramiko.SFTPHandle):
    def __init__(self, flags: int, peer: PasswordPeer) -> None:
        super().__init__(flags)
        self._peer = peer

    def stat(self) -> Any:
        return SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))  # type: ignore[attr-defined]

    def write(self, offset: int, data: Any) -> Any:
        room, end = self._peer.room, offset + len(data)
        if end > room and self._peer.forgetful:
            return SFTP_OK
        # Only one block is refused, as on a disk that is full for a moment: the size is right in the end.
        return SFTP_FAILURE if offset <= room < end else super().write(offset, data)
