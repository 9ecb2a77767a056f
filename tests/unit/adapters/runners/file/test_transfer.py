"""Contents on their way: a bounded number of requests, each answer looked at."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from paramiko.sftp import CMD_DATA, CMD_STATUS, CMD_WRITE

from adapters.runners.file.transfer import BLOCK, READS, WRITES, Download, Upload


class Message:
    def __init__(self, data: bytes = b"", error: Exception | None = None) -> None:
        self.data, self.error = data, error

    def get_binary(self) -> bytes:
        return self.data


class Server:
    """Answers requests when it is read from, in order or the last one first. At most ``shortest`` bytes of a read."""

    def __init__(self, content: bytes = b"", shortest: int = BLOCK, backwards: bool = False) -> None:
        self.content, self._shortest, self._backwards = bytearray(content), shortest, backwards
        self._waiting: list[tuple[int, Any, int, tuple[Any, ...]]] = []
        self._numbers = itertools.count()
        self.most = 0
        self.errors: dict[int, Exception] = {}

    def _async_request(self, owner: Any, kind: int, handle: bytes, offset: Any, what: Any) -> int:
        number = next(self._numbers)
        self._waiting.append((number, owner, kind, (int(offset), what)))
        self.most = max(self.most, len(self._waiting))
        return number

    def _read_response(self) -> None:
        number, owner, kind, (offset, what) = self._waiting.pop(-1 if self._backwards else 0)
        error = self.errors.get(offset)
        if error is not None:
            owner._async_response(CMD_STATUS, Message(error=error), number)
        elif kind == CMD_WRITE:
            self.content[offset : offset + len(what)] = what
            owner._async_response(CMD_STATUS, Message(), number)
        elif offset >= len(self.content):
            owner._async_response(CMD_STATUS, Message(error=EOFError()), number)
        else:
            data = bytes(self.content[offset : offset + min(what, self._shortest)])
            owner._async_response(CMD_DATA, Message(data), number)

    def _convert_status(self, message: Message) -> None:
        if message.error is not None:
            raise message.error


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    yield


CONTENT = bytes(range(256)) * (BLOCK * 40 // 256) + b"the end"


def test_what_was_written_is_there_and_only_so_much_is_under_way() -> None:
    server = Server()
    upload = Upload(server, b"h", plainly)
    for at in range(0, len(CONTENT), 100_000):
        upload.write(CONTENT[at : at + 100_000])
    assert upload.tell() == upload.size == len(CONTENT)
    upload.finish()
    assert server.content == CONTENT
    assert server.most == WRITES


def test_a_write_that_the_server_refused_is_raised_however_late_it_says_so() -> None:
    server = Server()
    server.errors[BLOCK] = OSError("no space")
    upload = Upload(server, b"h", plainly)
    upload.write(CONTENT[: 3 * BLOCK])
    with pytest.raises(OSError, match="no space"):
        upload.finish()


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("shortest", [BLOCK, 10_000])
def test_a_file_is_read_whole_in_whatever_order_and_size_its_parts_come(shortest: int, backwards: bool) -> None:
    server = Server(CONTENT, shortest, backwards)
    download = Download(server, b"h", plainly, len(CONTENT))
    assert b"".join(iter(lambda: download.read(100_001), b"")) == CONTENT
    assert server.most <= READS
    assert download.read() == b""


def test_a_file_that_has_grown_is_read_to_where_it_ended_and_one_that_shrank_to_where_it_ends() -> None:
    assert Download(Server(CONTENT), b"h", plainly, 5).read() == CONTENT[:5]
    download = Download(Server(CONTENT[: BLOCK + 5]), b"h", plainly, 3 * BLOCK)
    assert download.read() == CONTENT[: BLOCK + 5]
    assert download.read(10) == b""


def test_a_part_that_cannot_be_read_fails_the_reading() -> None:
    server = Server(CONTENT)
    server.errors[BLOCK] = OSError("bad sector")
    download = Download(server, b"h", plainly, len(CONTENT))
    with pytest.raises(OSError, match="bad sector"):
        download.read()
