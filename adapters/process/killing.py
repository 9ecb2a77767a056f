"""How the guardian finds and kills what tasks have left.

Unlike tree.py, which is the worker's, nothing here ever raises, and what cannot be seen counts as gone: the guardian
has nobody above it who could try again, so it goes on with the rest.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from typing import NamedTuple

RUN_TAG = b"CRONJOB_WORKER_RUN="


def can_see() -> bool:
    """Whether this system tells who descends from whom, on which everything here rests."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def children_of(pid: int) -> list[int]:
    """The children of all threads of a process; empty if it is gone."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as file:
            found += [int(word) for word in file.read().split()]
    return found


class Stat(NamedTuple):
    """``start`` (clock ticks since boot) tells a process from a later one with the same pid."""

    pid: int
    state: str
    start: int

    @property
    def dead(self) -> bool:
        return self.state in "ZX"


def stat_of(pid: int) -> Stat | None:
    """None if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return Stat(pid, fields[0].decode(), int(fields[19]))


def identity_of(pid: int) -> str:
    """What tells this process from all others of this boot, also when it is gone; empty if it is gone already."""
    found = stat_of(pid)
    return f"{pid} {found.start}" if found is not None else ""


def is_alive(identity: str) -> bool:
    """Whether the process with this identity still lives. Never raises."""
    pid, _, _ = identity.partition(" ")
    found = stat_of(int(pid)) if pid.isdecimal() else None
    return found is not None and not found.dead and f"{pid} {found.start}" == identity


def descendants(pid: int) -> list[Stat]:
    """All processes below ``pid``, the deepest first."""
    found: list[Stat] = []
    for child in children_of(pid):
        found += descendants(child)
        if (stat := stat_of(child)) is not None:
            found.append(stat)
    return found


def kill_tree(pid: int, start: int) -> None:
    """KILL a process and everything below it, if it still is the one that was started at ``start``."""
    found = stat_of(pid)
    if found is not None and found.start == start:
        kill([*descendants(pid), found])


def kill(processes: Sequence[Stat]) -> None:
    """KILL exactly these, and never one that has got the pid of one of them meanwhile (G32)."""
    for known in processes:
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(known.pid)
            try:
                now = stat_of(known.pid)
                if now is not None and now.start == known.start:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            finally:
                os.close(descriptor)


def tag_of(pid: int) -> bytes:
    """What every process of a run has in its environment; empty where it has hidden it."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return next((word for word in file.read().split(b"\0") if word.startswith(RUN_TAG)), b"")
    except OSError:
        return b""
