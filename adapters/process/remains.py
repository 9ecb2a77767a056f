"""Ends what a former life of the worker left running."""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path

from adapters.process import tree
from application.ports import Entry

log = logging.getLogger("worker.recovery")

WAIT = 3.0


def boot_id() -> str:
    """Which boot this is: a pid of another boot means nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class ProcessRemains:
    def end(self, entry: Entry) -> None:
        """KILL the tree of the entry's process if that is still the one that was started; waits until it is gone."""
        if not entry.pid or entry.boot_id != boot_id():
            return
        leader = tree.look(entry.pid)
        if leader is None or leader.start != entry.pid_start or leader.dead:
            return
        log.warning("a process of a former life is still running and is killed", extra={"task": entry.task_id})
        deadline = time.monotonic() + WAIT
        members = [leader, *tree.below(entry.pid)]
        while members and time.monotonic() < deadline:
            for proc in members:
                tree.send(proc, signal.SIGKILL)
            time.sleep(0.01)
            members = [
                now for proc in members if (now := tree.look(proc.pid)) and now.start == proc.start and not now.dead
            ]
