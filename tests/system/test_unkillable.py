"""A process that survives SIGKILL: SIGKILL is kept from it, as the kernel does in state D (G18, G31)."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.apiserver.claims import lock_key
from adapters.process import child, tree
from adapters.process import orphans as remains
from adapters.process.ports import Command, Exit
from adapters.process.spawn import RUN_TAG
from adapters.process.supervisor import Supervisor
from adapters.runners.command import CommandRunner
from adapters.testkit.workers import WorkerKit, memory_server
from application.ports import Entry, Limits
from domain.result import EndReason
from domain.runner import CancelRequest, CancelToken, RunnerRegistry, Urgency
from tests.support import trees
from tests.support.program import wait_until

KILL = CancelRequest(EndReason.KILLED, Urgency.NOW)


class Immune:
    """Keeps the signals of ``adapters.process`` from processes that carry ``mark``, until ``mortal``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, mark: str) -> None:
        self.mark = mark
        self._send, self._killpg = tree.send, os.killpg
        monkeypatch.setattr(tree, "send", self._send_unless_immune)
        monkeypatch.setattr(os, "killpg", self._killpg_unless_immune)
        monkeypatch.setattr(child, "UNKILLABLE", 0.1)
        monkeypatch.setattr(child, "LONG_ROUND", 0.02)

    def mortal(self) -> None:
        self.mark = "nobody"

    def _send_unless_immune(self, proc: tree.Proc, *signals: signal.Signals) -> bool:
        return proc.pid not in trees.alive(self.mark) and self._send(proc, *signals)

    def _killpg_unless_immune(self, group: int, number: int) -> None:
        immune = [pid for pid in trees.alive(self.mark) if os.getpgid(pid) == group]
        if not immune:
            self._killpg(group, number)
        elif group not in immune:
            os.kill(group, number)


@pytest.fixture
def immune(monkeypatch: pytest.MonkeyPatch) -> Iterator[Immune]:
    mark = str(uuid.uuid4().int)[:12]
    yield Immune(monkeypatch, mark)
    for pid in trees.alive(mark):
        os.kill(pid, signal.SIGKILL)


class Running:
    """One command on a thread, with its log."""

    def __init__(self, processes: Supervisor, text: str) -> None:
        self.log = b""
        self.token = CancelToken()
        self.exits: list[Exit] = []
        command = Command(["bash", "-c", text], None, dict(os.environ), log=self._write, grace=0.1)
        self.thread = threading.Thread(target=lambda: self.exits.append(processes.run(command, self.token)))
        self.thread.start()

    def _write(self, data: bytes) -> None:
        self.log += data


SHAPES = {
    "leader": "echo READY; exec sleep 1000.RUN_TAG",
    "child": "m=1000.; sleep ${m}RUN_TAG & echo READY; wait",
    "orphan": "m=1000.; ( setsid sleep ${m}RUN_TAG & ); echo READY; wait; sleep 300",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_command_does_not_end_before_its_last_process(
    processes: Supervisor, immune: Immune, shape: str, caplog: pytest.LogCaptureFixture
) -> None:  # G31
    one = Running(processes, SHAPES[shape].replace("RUN_TAG", immune.mark))
    wait_until(lambda: b"READY" in one.log and trees.alive(immune.mark), "the start")
    (pid,) = trees.alive(immune.mark)
    one.token.cancel(KILL)
    wait_until(lambda: b"cannot be killed: " in one.log, "the task's log tells of it")
    assert str(pid).encode() in one.log
    assert [str(pid) in it.getMessage() for it in caplog.records if "cannot be killed" in it.getMessage()] == [True]
    other = processes.run(Command(["true"], None, dict(os.environ)), CancelToken())
    assert other.reason is EndReason.COMPLETED
    assert one.exits == []
    immune.mortal()
    one.thread.join(10)
    assert (one.exits[0].reason, one.exits[0].unkillable) == (EndReason.KILLED, ())


def test_closing_does_not_wait_for_it_without_end(processes: Supervisor, immune: Immune) -> None:  # G35
    one = Running(processes, SHAPES["child"].replace("RUN_TAG", immune.mark))
    wait_until(lambda: b"READY" in one.log, "the start")
    wait_until(lambda: trees.alive(immune.mark), "its child")
    (pid,) = trees.alive(immune.mark)
    processes.close()
    one.thread.join(10)
    assert one.exits[0].unkillable == (pid,)
    assert str(pid) in one.exits[0].error


@pytest.mark.parametrize("lock", ["stop", "keep"])
def test_its_task_keeps_its_slot_and_what_protects_it_and_the_worker_goes_on(
    processes: Supervisor, immune: Immune, tmp_path: Path, lock: str
) -> None:  # G18, G31
    registry = RunnerRegistry()
    registry.register("command", lambda: CommandRunner(processes))
    server = memory_server()
    limits = Limits(concurrency=1, grace=0.1, lease_ttl=4.0, on_lost_lease=lock)
    kit = WorkerKit(server.network(), registry, root=tmp_path, limits=limits)
    kit.worker.start()
    try:
        mark = immune.mark
        stuck = server.add_task(command=SHAPES["child"].replace("RUN_TAG", immune.mark))
        server.offer(stuck)
        server.wait_for(stuck, "running")
        wait_until(lambda: trees.alive(immune.mark), "the start")
        server.stop_task(stuck, force=True)
        wait_until(lambda: "cannot be killed" in server.log(stuck), "the server's log tells of it")
        renewed = len(server.model.history.of("refresh", stuck))
        other = server.add_task(command="true")
        server.offer(other)
        wait_until(lambda: kit.metrics.snapshot().get("events_received", 0) >= 2, "the other was offered")
        assert server.task(other)["status"] == "pending", "the slot is taken"
        if lock == "stop":
            wait_until(lambda: len(server.model.history.of("refresh", stuck)) > renewed, "the lock is renewed")
            assert not server.model.locks.acquire(lock_key(stuck), 1.0)
        assert server.task(stuck)["status"] == "running"
        immune.mortal()
        assert server.wait_for(stuck, "stopped")["status"] == "stopped"
        assert trees.alive(mark) == []
        server.offer(other)
        assert server.wait_for(other, "success")["status"] == "success"
    finally:
        immune.mortal()
        kit.stop()
        server.close()


def test_many_of_a_previous_run_that_cannot_be_killed_hold_up_the_next_start_once(
    immune: Immune, monkeypatch: pytest.MonkeyPatch
) -> None:  # G5, G31
    """Twenty on a dead network disk, three seconds for each: the guardian would take every start for a hang."""
    monkeypatch.setattr(remains, "WAIT", 0.5)
    owner = uuid.uuid4().hex[:16]
    entries = []
    for number in range(6):
        marked = {RUN_TAG: f"{owner}.{number}", "PATH": os.environ["PATH"]}
        process = subprocess.Popen(["sleep", f"1000.{immune.mark}"], env=marked, process_group=0)
        proc = tree.look(process.pid)
        assert proc is not None
        entry = Entry(str(number), "running", pid=proc.pid, pid_start=proc.start, boot_id=remains.boot_id())
        entries.append((process, entry))
    former = remains.ProcessOrphans(owner)
    began = time.monotonic()
    for _, entry in entries:
        former.end(entry)
    former.sweep()
    assert time.monotonic() - began < 1.5
    immune.mortal()
    remains.ProcessOrphans(owner).sweep()
    assert {process.wait(5) for process, _ in entries} == {-signal.SIGKILL}
