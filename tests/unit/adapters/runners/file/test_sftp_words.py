"""What the SFTP library says, in our words."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import paramiko
import pytest
from pytest_mock import MockerFixture

from adapters.runners.file.ports import FileTrouble, PeerLost
from adapters.runners.file.sftp_words import Missing, attributes_of, info_of, telling

PATH = Path("/a/b")


def client(mocker: MockerFixture, alive: bool = True) -> Any:
    made = mocker.Mock()
    channel = made.get_channel.return_value
    channel.closed, channel.eof_received = False, False
    channel.get_transport.return_value.is_active.return_value = alive
    return made


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (FileNotFoundError(2, "x"), Missing, "h: /a/b: no such file"),
        (OSError(errno.EACCES, "Permission denied"), FileTrouble, "h: /a/b: Permission denied"),
        (OSError("Failure"), FileTrouble, "h: /a/b: Failure"),
        (EOFError(), PeerLost, "h: the connection was lost at /a/b"),
        (paramiko.SFTPError("Garbage packet"), FileTrouble, "h: /a/b: Garbage packet"),
    ],
    ids=lambda it: type(it).__name__,
)  # fmt: skip
def test_an_error_is_told_with_its_path(
    mocker: MockerFixture, error: Exception, kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind) as caught, telling(client(mocker), "h", PATH):
        raise error
    assert (type(caught.value), str(caught.value)) == (kind, told)


def test_any_error_on_a_connection_that_is_gone_is_its_loss(mocker: MockerFixture) -> None:
    with pytest.raises(PeerLost, match="lost at /a/b"), telling(client(mocker, alive=False), "h", PATH):
        raise OSError("Socket is closed")


def test_after_a_time_out_nothing_more_is_asked_because_its_answer_may_still_come(mocker: MockerFixture) -> None:
    slow = client(mocker)
    with pytest.raises(PeerLost, match="no answer in time"), telling(slow, "h", PATH):
        raise TimeoutError
    slow.get_channel.return_value.get_transport.return_value.close.assert_called_once_with()


def test_what_the_server_does_not_tell_is_nothing() -> None:
    told = paramiko.SFTPAttributes()
    found = info_of(told)
    assert (found.st_mode, found.st_size, found.st_uid, found.st_mtime) == (0, 0, 0, 0)
    told.st_mode, told.st_mtime = 0o100644, 77
    assert (info_of(told).st_mode, info_of(told).st_atime, info_of(told).st_ctime) == (0o100644, 77, 77)


def test_permissions_and_times_are_asked_for_together() -> None:
    told = paramiko.SFTPAttributes()
    told.st_mode, told.st_mtime, told.st_atime = 0o100644, 77, 66
    wanted = attributes_of(0o600, info_of(told))
    assert (wanted.st_mode, wanted.st_mtime, wanted.st_atime, wanted.st_size) == (0o600, 77, 66, None)
