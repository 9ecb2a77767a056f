"""Control groups (version 2), where this worker may make them: nothing of a run can leave its group unseen.

Without them a run's processes are found by their tree, group and run tag; a daemon that hid all three is found
last. ``systemd`` delegates a group to a service with ``Delegate=yes``; another parent can be named in the settings.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from domain.errors import ConfigError

log = logging.getLogger("worker.process")

PREFIX = "cronjob-worker-"
GONE = 2.0  # seconds until a killed group is empty


class Cgroup:
    """The group of one run. Any thread; a group that is gone is empty."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pids(self) -> list[int]:
        """The processes in the group and in groups that these made below it, dead ones not counted.

        Raises OSError where they cannot be seen now.
        """
        found: list[int] = []
        for directory in self._tree():
            try:
                found += [int(line) for line in (directory / "cgroup.procs").read_text().split()]
            except OSError as error:
                _unless_gone(error)
        return found

    def kill(self) -> None:
        """KILL all of it at once; nothing can be born meanwhile."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1")

    def remove(self) -> bool:
        """Remove the empty group; False if something is in it. Threads that are just dying get some milliseconds."""
        for _ in range(20):
            try:
                for directory in reversed(list(self._tree())):
                    directory.rmdir()
            except FileNotFoundError:
                return True
            except OSError:
                time.sleep(0.001)
            else:
                return True
        return False

    def _tree(self) -> Iterator[Path]:
        yield self.path
        for directory, names, _ in os.walk(self.path, onerror=_unless_gone):
            yield from (Path(directory, name) for name in names)


def _unless_gone(error: OSError) -> None:
    if error.errno not in (errno.ENOENT, errno.ENODEV):
        raise error


class Cgroups:
    """Groups below one parent, those of one owner. ``sweep`` before the first ``birth``."""

    def __init__(self, parent: Path, owner: str) -> None:
        """Raises OSError where this process's own group cannot be told."""
        self._parent = parent
        self._prefix = f"{PREFIX}{owner}."
        self._home = _own_group()
        self._one_at_a_time = threading.Lock()

    @contextlib.contextmanager
    def birth(self) -> Iterator[Cgroup | None]:
        """What this process starts within the block is born in a new group; None where there is no room for one.

        A child that is put into its group after its start may have started others before. So this process itself steps
        into the group and back; two births at a time would mix. Any thread; blocks for a start.
        """
        with self._one_at_a_time:
            group = self._make()
            inside = group is not None and _enter(group.path)
            try:
                yield group if inside else None
            finally:
                if group is not None and inside and not (self._home and _enter(self._home)):
                    # Staying would be the end of the worker with that of the task.
                    raise RuntimeError(f"this process cannot leave the control group {group.path}")
                if group is not None and not group.pids():
                    group.remove()  # nothing was started

    def _make(self) -> Cgroup | None:
        path = self._parent / f"{self._prefix}{uuid.uuid4().hex}"
        try:
            path.mkdir()
        except OSError as error:
            log.warning("no control group for a task: %s", error.strerror)
            return None
        return Cgroup(path)

    def sweep(self) -> int:
        """End what previous runs of the owner left; returns how many groups there were. Blocks up to GONE seconds."""
        left = [Cgroup(path) for path in self._parent.glob(f"{self._prefix}*")]
        for group in left:
            group.kill()
        deadline, rest = time.monotonic() + GONE, left
        while (rest := [group for group in rest if not group.remove()]) and time.monotonic() < deadline:
            time.sleep(0.005)
        return len(left)


def open_cgroups(setting: str, owner: str) -> Cgroups | None:
    """Control groups where they can be had, those of previous runs ended; says which way processes are tracked.

    Raises ConfigError.
    """
    parent = find_parent(setting)
    if parent is None:
        log.info("process tracking: /proc and run tag (no control groups)")
        return None
    log.info("process tracking: control groups in %s, /proc and run tag", parent)
    groups = Cgroups(parent, owner)
    groups.sweep()
    return groups


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


def _enter(group: Path) -> bool:
    try:
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        log.warning("the control group %s cannot be entered: %s", group, error.strerror)
        return False
    return True


def _works(parent: Path) -> bool:
    probe = parent / f"{PREFIX}probe.{os.getpid()}"
    try:
        probe.mkdir()
    except OSError:
        return False
    works = (probe / "cgroup.kill").exists() and os.access(parent / "cgroup.procs", os.W_OK)
    probe.rmdir()
    return works
