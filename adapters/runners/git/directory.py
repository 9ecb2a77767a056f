"""The directory of a working copy: kept to one task at a time, emptied, replaced as a whole."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from domain.errors import WorkerError
from domain.result import EndReason


class GitFailed(WorkerError):
    """A git command ended with something other than success, or was not tried (then ``command`` is empty)."""

    def __init__(self, text: str, reason: EndReason = EndReason.FAILED, exit_code: int = 1, command: str = "") -> None:
        super().__init__(text)
        self.text, self.reason, self.exit_code, self.command = text, reason, exit_code, command


@contextmanager
def alone(directory: Path) -> Iterator[bool]:
    """Keep other tasks out of a directory. False where its file system knows no such locks."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GitFailed(f"{directory}: another task works there") from None
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def empty(directory: Path) -> None:
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


@contextmanager
def replaced(directory: Path) -> Iterator[Path]:
    """Give an empty directory beside, and put it in the place of ``directory`` when all went well (GIT3)."""
    with alone(directory) as known:
        if known:
            _forget(directory, "new")  # of a run that was killed
        beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.new-", dir=directory.parent))
        old = beside.with_name(beside.name.replace(".new-", ".old-"))
        try:
            beside.chmod(0o755)
            yield beside
            os.rename(directory, old)
            try:
                os.rename(beside, directory)
            except OSError:
                os.rename(old, directory)
                raise
            if known:
                _forget(directory, "old")
        except OSError as error:
            raise GitFailed(f"the new clone could not be put in place: {error.strerror}") from None
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def _forget(directory: Path, kind: str) -> None:
    for beside in directory.parent.glob(f".{glob.escape(directory.name)}.{kind}-????????"):
        if not beside.is_symlink():
            shutil.rmtree(beside, ignore_errors=True)
