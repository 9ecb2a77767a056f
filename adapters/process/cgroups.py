"""Control groups (version 2), where this worker may make them: nothing of a run can leave its group unseen.

Without them a run's processes are found by their tree, their group and their mark; a daemon that hid all three is found
last. ``systemd`` delegates a group to a service with ``Delegate=yes``; another parent can be named in the settings.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from domain.errors import ConfigError

log = logging.getLogger("worker.process")

PREFIX = "cronjob-worker-"
GONE = 2.0  # seconds until a killed group is empty


class Cgroup:
    """The group of one run. Any thread; a group that is gone is empty."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, pid: int) -> None:
        """Put a process into the group; what it starts from now on is born in it."""
        with contextlib.suppress(OSError):  # gone already, or forbidden: the other ways find it
            (self._path / "cgroup.procs").write_text(str(pid))

    def pids(self) -> list[int]:
        """The processes in the group and in groups that these made below it, dead ones not counted."""
        found: list[int] = []
        for directory in self._tree():
            with contextlib.suppress(OSError):
                found += [int(line) for line in (directory / "cgroup.procs").read_text().split()]
        return found

    def kill(self) -> None:
        """KILL all of it at once; nothing can be born meanwhile."""
        with contextlib.suppress(OSError):
            (self._path / "cgroup.kill").write_text("1")

    def remove(self) -> bool:
        """Remove the empty group; False if it is not empty yet."""
        try:
            for directory in reversed(list(self._tree())):
                directory.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def _tree(self) -> Iterator[Path]:
        yield self._path
        for directory, names, _ in os.walk(self._path):
            yield from (Path(directory, name) for name in names)


class Cgroups:
    """Groups below one parent, those of one owner. ``sweep`` before the first ``make``."""

    def __init__(self, parent: Path, owner: str) -> None:
        self._parent = parent
        self._prefix = f"{PREFIX}{owner}."

    def make(self, name: str) -> Cgroup | None:
        """A new group; None where the system has no room for it."""
        path = self._parent / f"{self._prefix}{name}"
        try:
            path.mkdir()
        except OSError as error:
            log.warning("no control group for a task: %s", error.strerror)
            return None
        return Cgroup(path)

    def sweep(self) -> int:
        """End what former lives of the owner left; returns how many groups there were. Blocks up to GONE seconds."""
        left = [Cgroup(path) for path in self._parent.glob(f"{self._prefix}*")]
        for group in left:
            group.kill()
        deadline, rest = time.monotonic() + GONE, left
        while (rest := [group for group in rest if not group.remove()]) and time.monotonic() < deadline:
            time.sleep(0.005)
        return len(left)


def find_parent(setting: str) -> Path | None:
    """Where groups can be made: ``off``, ``auto`` (a group delegated to this process), or a directory.

    Raises ConfigError for a directory in which none can be made.
    """
    if setting == "off":
        return None
    if setting == "auto":
        own = _own_group()
        return own if own is not None and _is_delegated(own) and _works(own) else None
    parent = Path(setting)
    if not _works(parent):
        raise ConfigError(
            f"execution.cgroup: no control groups can be made in {parent}: name a writable directory of a cgroup2 file "
            "system, or leave it at auto"
        )
    return parent


def _own_group() -> Path | None:
    """The directory of this process's group in the unified hierarchy."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    except OSError:
        return None
    own = next((line[3:] for line in lines if line.startswith("0::")), None)
    mount = next((words[4] for words in mounts if words[words.index("-") + 1] == "cgroup2"), None)
    return Path(mount, own.lstrip("/")) if own is not None and mount is not None else None


def _is_delegated(group: Path) -> bool:
    """Root may write to any group, but only a delegated one is its to use."""
    for attribute in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            return os.getxattr(group, attribute) == b"1"
    return os.geteuid() != 0


def _works(parent: Path) -> bool:
    probe = parent / f"{PREFIX}probe.{os.getpid()}"
    try:
        probe.mkdir()
    except OSError:
        return False
    works = (probe / "cgroup.kill").exists() and os.access(parent / "cgroup.procs", os.W_OK)
    probe.rmdir()
    return works
