"""Looking at processes through /proc, and signalling them without ever hitting a reused pid (G32).

Looking raises OSError where nothing can be seen at the moment, as when no descriptor is left: that is not "gone" (G60).
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass

GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


@dataclass(frozen=True, slots=True)
class Proc:
    """One process at one moment; ``start`` (clock ticks since boot) tells it from a later one with the same pid."""

    pid: int
    state: str
    parent: int
    group: int
    start: int
    session: int

    @property
    def dead(self) -> bool:
        return self.state in "ZX"


def look(pid: int) -> Proc | None:
    """None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except GONE:
        return None
    return Proc(pid, fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[19]), int(fields[3]))


def children(pid: int) -> list[int]:
    """The children of all threads of a process, those it adopted too; empty if it is gone."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except GONE:
        return found
    for thread in threads:
        with contextlib.suppress(*GONE), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
            found += [int(word) for word in file.read().split()]
    return found


def below(pid: int) -> list[Proc]:
    """All processes below ``pid`` that are not dead, parents first."""
    found: list[Proc] = []
    stack, seen = children(pid), {pid}
    while stack:
        child = stack.pop()
        if child in seen:
            continue
        seen.add(child)
        proc = look(child)
        if proc is not None:
            if not proc.dead:
                found.append(proc)
            stack += children(child)
    return found


def above(pid: int) -> set[int]:
    """The process and all its ancestors."""
    found: set[int] = set()
    while pid > 0 and pid not in found:
        found.add(pid)
        proc = look(pid)
        pid = proc.parent if proc else 0
    return found


def send(proc: Proc, *signals: signal.Signals) -> bool:
    """Signal exactly this process; False if it is gone, or if that cannot be done now."""
    try:
        descriptor = os.pidfd_open(proc.pid)
    except OSError:
        return False
    try:
        now = look(proc.pid)
        if now is None or now.start != proc.start or now.dead:
            return False
        for number in signals:
            signal.pidfd_send_signal(descriptor, number)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def has_tag(pid: int, tag: bytes) -> bool:
    """True if the process was started with ``tag`` (``NAME=value``, or the beginning of that) in its environment."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return any(word.startswith(tag) for word in file.read(1 << 20).split(b"\0"))
    except GONE:
        return False
