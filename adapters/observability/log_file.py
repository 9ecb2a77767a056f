"""The file that the log also goes to: the worker's alone, rotated, and never a reason to fail."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import stat
import sys
import time
from io import TextIOWrapper
from pathlib import Path

QUIET = 60.0  # seconds between two complaints about the same file


class PrivateFile(logging.handlers.RotatingFileHandler):
    """Every file it opens, also after a rotation, is the worker's alone (G66).

    It follows its name: where somebody else has moved or removed the file, a new one is begun. What cannot be opened or
    rotated is told, and the lines go on into the file that is open.
    """

    _quiet_until = 0.0
    _rotate_from = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._follow()
        except OSError:
            self.handleError(record)
        super().emit(record)

    def _follow(self) -> None:
        if self.stream is None:
            return
        try:
            named = os.stat(self.baseFilename)
            if os.path.samestat(named, os.fstat(self.stream.fileno())):
                return
        except FileNotFoundError:
            Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        former, self.stream = self.stream, self._open()
        with contextlib.suppress(OSError):  # its disk is full
            former.close()

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 - the library's name
        return time.monotonic() >= self._rotate_from and bool(super().shouldRollover(record))

    def doRollover(self) -> None:  # noqa: N802 - the library's name
        try:
            super().doRollover()
        except OSError:
            self._rotate_from = time.monotonic() + QUIET
            self.handleError(logging.makeLogRecord({}))
            if self.stream is None:
                self.stream = self._open()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Once a minute. The library would print each line that it cannot write, with the secrets in its arguments."""
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + QUIET
            logging.getLogger("worker").error(
                "log.file: %s cannot be written: %s", self.baseFilename, sys.exc_info()[1]
            )

    def _open(self) -> TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.fchmod(descriptor, 0o600)
            return descriptor

        return open(self.baseFilename, self.mode, encoding=self.encoding, errors="backslashreplace", opener=opener)  # type: ignore[return-value]
