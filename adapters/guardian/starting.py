"""What becomes of a start that fails: is the same one worth another try, by whoever starts programs here?"""

from __future__ import annotations

import errno
import sqlite3

from domain.errors import NoRoom

TEMPORARY = 75  # exit status, EX_TEMPFAIL of sysexits.h
LACKS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ESTALE}
SQLITE_LACKS = {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
}  # fmt: skip


def is_passing(error: BaseException | None) -> bool:
    """Whether the machine lacks something that it may have later: room on a disk, memory, processes, descriptors.

    What caused the error counts too.
    """
    if error is None:
        return False
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest tells which kind of it
    lacks = isinstance(error, MemoryError | NoRoom) or (isinstance(error, OSError) and error.errno in LACKS)
    return lacks or code in SQLITE_LACKS or is_passing(error.__cause__)
