"""Contents on their way over SFTP: several requests at once, a bounded number, and each answer looked at.

The library's own file objects are not used. Their writes lose the errors that come late, two of them at work at the
same time wait for each other's answers for ever, and their reading ahead takes a thread and all the memory there is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

BLOCK = 32_768  # bytes of one request; what every server takes
READS, WRITES = 16, 32  # requests under way
Telling = Callable[[], AbstractContextManager[None]]  # makes the library's errors ours, with the path of this file


class Upload:
    """Writes a file from its start. ``size`` counts what was given."""

    def __init__(self, sftp: Any, handle: bytes, telling: Telling) -> None:
        self._sftp, self._handle, self._telling = sftp, handle, telling
        self._waiting = 0
        self._failed: Exception | None = None
        self.size = 0

    def write(self, data: bytes) -> int:
        """Raises FileTrouble for what the server said to this or an earlier part."""
        from paramiko.sftp import CMD_WRITE, int64

        for at in range(0, len(data), BLOCK):
            part = bytes(data[at : at + BLOCK])
            self._settle(WRITES - 1)
            with self._telling():
                self._sftp._async_request(self, CMD_WRITE, self._handle, int64(self.size), part)
            self._waiting += 1
            self.size += len(part)
        return len(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        """Nothing is kept back; ``finish`` waits for the answers."""

    def finish(self) -> None:
        self._settle(0)

    def _settle(self, allowed: int) -> None:
        with self._telling():
            while self._waiting > allowed:
                self._sftp._read_response()
            if self._failed is not None:
                raise self._failed

    def _async_response(self, kind: int, message: Any, number: int) -> None:
        self._waiting -= 1
        try:
            self._sftp._convert_status(message)
        except (OSError, EOFError, ValueError) as error:
            self._failed = self._failed or error


class Download:
    """Reads the ``size`` bytes that a file had when it was opened; fewer if it has shrunk."""

    def __init__(self, sftp: Any, handle: bytes, telling: Telling, size: int) -> None:
        self._sftp, self._handle, self._telling, self._size = sftp, handle, telling, size
        self._asked: dict[int, tuple[int, int]] = {}
        self._got: dict[int, bytes] = {}
        self._next = self._at = 0
        self._failed: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """Returns fewer than ``size`` bytes at the end only."""
        wanted = self._size - self._at if size < 0 else min(size, self._size - self._at)
        parts = []
        while wanted > 0:
            with self._telling():
                data = self._block()
            if not data:
                self._size = self._at  # it has become shorter
                break
            if len(data) > wanted:
                self._got[self._at + wanted] = data[wanted:]
                data = data[:wanted]
            parts.append(data)
            self._at += len(data)
            wanted -= len(data)
        return b"".join(parts)

    def _block(self) -> bytes:
        while len(self._asked) + len(self._got) < READS and self._next < self._size:
            length = min(BLOCK, self._size - self._next)
            self._ask(self._next, length)
            self._next += length
        while self._at not in self._got:
            if self._failed is not None:
                raise self._failed
            self._sftp._read_response()
        return self._got.pop(self._at)

    def _ask(self, offset: int, length: int) -> None:
        from paramiko.sftp import CMD_READ, int64

        number = self._sftp._async_request(self, CMD_READ, self._handle, int64(offset), length)
        self._asked[number] = offset, length

    def _async_response(self, kind: int, message: Any, number: int) -> None:
        from paramiko.sftp import CMD_DATA

        offset, length = self._asked.pop(number)
        try:
            if kind == CMD_DATA:
                data = message.get_binary()
                if len(data) < length:
                    self._ask(offset + len(data), length - len(data))
            else:
                self._sftp._convert_status(message)
                raise OSError("neither data nor an error")
        except EOFError:
            data = b""
        except (OSError, ValueError) as error:
            self._failed = self._failed or error
            return
        self._got[offset] = data
