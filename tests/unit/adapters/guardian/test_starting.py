"""Which failures of a start may pass by themselves."""

from __future__ import annotations

import errno
import sqlite3

import pytest

from adapters.guardian.starting import is_passing
from domain.errors import ConfigError, JournalError, NoRoom


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("no")
    error.sqlite_errorcode = code
    return error


DISK_IO_FSYNC = sqlite3.SQLITE_IOERR | 4 << 8


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (OSError(errno.ENOSPC, "full"), True),
        (OSError(errno.EMFILE, "descriptors"), True),
        (PermissionError(errno.EACCES, "closed"), False),
        (OSError(errno.EROFS, "read only"), False),
        (MemoryError(), True),
        (NoRoom("threads"), True),
        (JournalError("no"), False),
        (caused(JournalError("no"), sqlite_error(sqlite3.SQLITE_FULL)), True),
        (caused(JournalError("no"), sqlite_error(DISK_IO_FSYNC)), True),
        (caused(JournalError("no"), sqlite_error(sqlite3.SQLITE_CANTOPEN)), False),
        (caused(ConfigError("no"), OSError(errno.EDQUOT, "quota")), True),
        (caused(ConfigError("no"), OSError(errno.EISDIR, "directory")), False),
        (ImportError("no"), False),
    ],
)
def test_what_the_machine_lacks_now_it_may_have_later(error: Exception, passing: bool) -> None:
    assert is_passing(error) is passing
