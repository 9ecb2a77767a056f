"""Temporary files of tasks: which are whose, so that a start removes what a crash has left (G79)."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile

ANYBODY = "cronjob-"


def prefix_of(owner: str) -> str:
    """What the names of all temporary files of one worker's lives begin with."""
    return f"{ANYBODY}{owner}-"


def sweep(prefix: str) -> None:
    """Remove what this user has there under such a name; nobody may be at work with it. Never raises."""
    place = tempfile.gettempdir()
    with contextlib.suppress(OSError):
        for name in os.listdir(place):
            if name.startswith(prefix):
                _remove(os.path.join(place, name))


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        info = os.lstat(path)
        if info.st_uid != os.getuid():
            return  # planted
        if stat.S_ISDIR(info.st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
