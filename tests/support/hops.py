"""How often control changes from one file of application/ to another on a task's thread, for one ``echo``.

    python -m tests.support.hops

Counted are calls: each one into another file than the call before it, as a reader follows them. docs/architecture.md holds
what it prints.
"""

from __future__ import annotations

import sys
import threading
from itertools import pairwise
from pathlib import Path
from types import FrameType

from adapters.runners.command import CommandRunner
from adapters.testkit.workers import WorkerKit, memory_server
from domain.runner import RunnerRegistry

APPLICATION = str(Path(__file__).resolve().parent.parent.parent / "application") + "/"


def calls_of_one_task() -> list[tuple[str, str]]:
    """(file, function) of each call into application/ on the task's thread, in order."""
    calls: list[tuple[str, str]] = []

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and threading.current_thread().name.startswith("task-"):
            file = frame.f_code.co_filename
            if file.startswith(APPLICATION):
                calls.append((file.removeprefix(APPLICATION), frame.f_code.co_name))

    server, registry = memory_server(), RunnerRegistry()
    registry.register("command", CommandRunner)
    threading.setprofile(profile)
    try:
        kit = WorkerKit(server.network(), registry)
        kit.worker.start()
        task = server.add_task(category="command", command="echo hi", save_log=True)
        server.offer(task)
        server.wait_for(task, "success")
        kit.stop()
    finally:
        threading.setprofile(None)
        server.close()
    return calls


def changes(calls: list[tuple[str, str]], without: str = "") -> list[tuple[str, str]]:
    """The calls that led into another file than the one before."""
    seen = [call for call in calls if call[0] != without]
    return [seen[0], *(after for before, after in pairwise(seen) if after[0] != before[0])]


if __name__ == "__main__":
    found = calls_of_one_task()
    for file, function in changes(found):
        print(f"  {file:20} {function}")
    print(f"{len(changes(found)) - 1} changes, {len(changes(found, 'border.py')) - 1} without the border")
    sys.exit(0)
