"""What one thread that supervises all commands promises to who runs one."""

from __future__ import annotations

import errno
import os

from pytest_mock import MockerFixture

from adapters.process.ports import Command
from adapters.process.spawn import TRIES
from adapters.process.supervisor import Supervisor
from adapters.process.timers import Timers
from domain.result import EndReason
from domain.runner import CancelRequest, CancelToken, Urgency


class Notes:
    """An Observer."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.pids: list[int] = []

    def started(self, task_id: str, pid: int, start: int) -> None:
        self.seen.append(("started", task_id))
        self.pids.append(pid)

    def ended(self, task_id: str) -> None:
        self.seen.append(("ended", task_id))
        assert not os.path.exists(f"/proc/{self.pids[-1]}"), "told before it was reaped"


def sh(text: str, task_id: str = "") -> Command:
    return Command(["sh", "-c", text], None, os.environ, task_id=task_id)


def test_a_request_that_came_before_the_start_starts_nothing() -> None:
    cancel = CancelToken()
    cancel.cancel(CancelRequest(EndReason.LEASE_LOST, Urgency.NOW))
    notes = Notes()
    supervisor = Supervisor(notes)
    end = supervisor.run(sh("echo started", "t"), cancel)
    assert (end.reason, end.exit_code, end.error) == (EndReason.LEASE_LOST, -1, "lease lost before it started")
    assert notes.seen == []


def test_a_process_is_told_of_while_it_exists() -> None:
    notes = Notes()
    supervisor = Supervisor(notes)
    assert supervisor.run(sh("exit 0", "t"), CancelToken()).reason is EndReason.COMPLETED
    assert supervisor.run(sh("exit 0"), CancelToken()).reason is EndReason.COMPLETED
    supervisor.close()
    assert notes.seen == [("started", "t"), ("ended", "t")], "and of one of no task nobody is told"


def test_close_without_a_start_and_twice_does_nothing_and_a_later_run_begins_anew(processes: Supervisor) -> None:
    processes.close()
    assert processes.run(sh("exit 0"), CancelToken()).reason is EndReason.COMPLETED
    processes.close()
    processes.close()
    assert processes.run(sh("echo again"), CancelToken()).stdout == b"again\n"


def test_a_supervision_that_cannot_begin_is_tried_again_and_then_told(mocker: MockerFixture) -> None:
    pause = mocker.patch("time.sleep")
    mocker.patch("select.epoll", side_effect=OSError(errno.EMFILE, "Too many open files"))
    supervisor = Supervisor()
    end = supervisor.run(sh("exit 0"), CancelToken())
    assert end.reason is EndReason.SPAWN_FAILED
    assert "Too many open files" in end.error
    assert pause.call_count == TRIES - 1
    supervisor.close()


def test_nothing_is_run_by_a_supervision_that_has_died(mocker: MockerFixture) -> None:
    heard: list[BaseException] = []
    supervisor = Supervisor()
    supervisor.when_dead(heard.append)
    mocker.patch.object(Timers, "pause", side_effect=ValueError("a defect"))
    first = supervisor.run(sh("exec sleep 1000"), CancelToken())
    second = supervisor.run(sh("exit 0"), CancelToken())
    assert [end.reason for end in (first, second)] == [EndReason.INTERNAL] * 2
    assert second.error == "the supervision of processes has died (ValueError: a defect)"
    supervisor.close()
    assert [str(error) for error in heard] == ["a defect"]


def test_a_request_reaches_a_running_command(processes: Supervisor) -> None:
    cancel = CancelToken()
    command = Command(
        ["sh", "-c", "echo ready; exec sleep 1000"],
        None,
        os.environ,
        log=lambda _: cancel.cancel(CancelRequest(EndReason.STOPPED)),
    )
    end = processes.run(command, cancel)
    assert (end.reason, end.stdout) == (EndReason.STOPPED, b"ready\n")


def test_what_wakes_the_thread_is_closed_with_it(processes: Supervisor) -> None:
    processes.run(sh("exit 0"), CancelToken())
    processes.close()
    before = sorted(os.listdir("/proc/self/fd"))
    processes.run(sh("exit 0"), CancelToken())
    processes.close()
    assert sorted(os.listdir("/proc/self/fd")) == before
