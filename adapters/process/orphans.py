"""Ends what a previous run of the worker left running."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import time
from pathlib import Path

from adapters.process import temporary_files as private
from adapters.process import tree
from adapters.process.spawn import RUN_TAG
from application.ports import Entry

log = logging.getLogger("worker.recovery")

WAIT = 3.0


def boot_id() -> str:
    """Which boot this is: a pid of another boot means nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def owner_of(state_dir: Path) -> str:
    """What the processes of all runs of the worker in ``state_dir`` have in their run tag."""
    return hashlib.sha256(os.fsencode(state_dir.resolve())).hexdigest()[:16]


class NoOrphans:
    """For a worker whose previous run can have left nothing."""

    def end(self, entry: Entry) -> None:
        """Nothing to end."""

    def sweep(self) -> None:
        """Nothing to end."""


class ProcessOrphans:
    """``owner`` is that of the previous runs, the same as of this one.

    One object serves one start, and all its calls together wait for WAIT seconds: a start that took that long for each
    process that cannot be killed (a dead network disk) would be taken for a hang by the guardian, again and again.
    """

    def __init__(self, owner: str) -> None:
        self._prefix = f"{RUN_TAG}={owner}.".encode()
        self._temporary = private.prefix_of(owner)
        self._patience = WAIT

    def end(self, entry: Entry) -> None:
        """KILL the tree of the entry's process if that is still the one that was started; waits until it is gone."""
        if not entry.pid or entry.boot_id != boot_id():
            return
        leader = tree.look(entry.pid)
        if leader is None or leader.start != entry.pid_start or leader.dead:
            return
        log.warning("a process of a previous run is still running and is killed", extra={"task": entry.task_id})
        self._kill([leader, *tree.below(entry.pid)])

    def sweep(self) -> None:
        """Where the guardian was killed with its worker, orphans became children of the system: their run tag tells.

        What the tasks of previous runs had in the directory for temporary files goes after them.
        """
        while left := self._marked():
            log.warning("%d processes of a previous run are still running and are killed", len(left))
            self._kill([member for proc in left for member in (*tree.below(proc.pid), proc)])
            if self._patience <= 0:
                break
        private.sweep(self._temporary)  # keys and scripts among it

    def _marked(self) -> list[tree.Proc]:
        found = [tree.look(int(name)) for name in os.listdir("/proc") if name.isdigit()]
        ours = tree.above(os.getpid())  # somebody may have started this worker from within a task
        return [
            proc
            for proc in found
            if proc and not proc.dead and proc.pid not in ours and tree.has_tag(proc.pid, self._prefix)
        ]

    def _kill(self, members: list[tree.Proc]) -> None:
        """KILL at least once, then until all are gone or the patience is."""
        deadline = time.monotonic() + self._patience
        while members:
            for proc in members:
                tree.send(proc, signal.SIGKILL)
            if time.monotonic() >= deadline:
                break
            time.sleep(0.01)
            members = [
                now for proc in members if (now := tree.look(proc.pid)) and now.start == proc.start and not now.dead
            ]
        self._patience = max(0.0, deadline - time.monotonic())


def orphans_of(state_dir: Path) -> ProcessOrphans:
    """What previous runs of the worker in ``state_dir`` have left."""
    return ProcessOrphans(owner_of(state_dir))
