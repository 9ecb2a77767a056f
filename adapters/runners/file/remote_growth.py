"""What grows on another machine until it is complete: in a directory of its own, which others may not enter.

There, unlike here, that directory has only its name. Who may write where it stands can swap it for a link between the
question where it leads and the step that follows; the files themselves are held open, and need no name a second time.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from adapters.runners.file.ports import kept_mode
from adapters.runners.file.sftp import Sftp
from adapters.runners.file.transfer import Upload

NEW = "new"  # what grows, in that directory


class RemoteGrowth:
    """See the port. Before each step the server is asked whether a path still leads where it says."""

    def __init__(self, sftp: Sftp, room: Path) -> None:
        self._sftp, self._room = sftp, room
        self._top: os.stat_result | None = None

    def directory(self, name: str) -> None:
        self._sftp.make_directory(self._place(name), 0o700)

    def link(self, name: str, text: str) -> None:
        self._sftp.make_link(self._place(name), text)

    def file(self, name: str, info: os.stat_result) -> contextlib.AbstractContextManager[Upload]:
        return self._sftp.writing(self._place(name), 0o600, info)

    def settle(self, name: str, info: os.stat_result) -> None:
        mode = kept_mode(info)
        if not name and not mode & stat.S_IWUSR:
            self._top, mode = info, mode | stat.S_IWUSR  # else it could not be moved
        self._sftp.settle(self._place(name, itself=True), mode, info)

    def finish(self, target: Path) -> None:
        if self._top is not None:
            self._sftp.at(target)
            self._sftp.settle(target, kept_mode(self._top), self._top)

    def _place(self, name: str, itself: bool = False) -> Path:
        path = self._room / NEW / name
        self._sftp.at(path if itself else path.parent)
        return path
