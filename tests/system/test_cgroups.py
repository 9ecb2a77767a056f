"""Control groups, where the system lets us make them: nothing of a run hides (G23)."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.process import cgroups, tree
from adapters.process.cgroups import PREFIX, Cgroups, find_parent
from adapters.process.ports import Command, Exit
from adapters.process.supervisor import Supervisor
from adapters.testkit.apiserver import SimulatedServer
from domain.errors import ConfigError
from domain.result import EndReason
from domain.runner import CancelRequest, CancelToken, Urgency
from tests.support import trees
from tests.support.program import Program, wait_until

# What a killed worker leaves half open in the server is closed by the garbage collector of its event loop.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def parent() -> Iterator[Path]:
    """A group below which groups can be made, removed afterwards."""
    own = cgroups._own_group()
    if own is None or not cgroups._works(own):
        pytest.skip("no cgroup2 file system that may be written: run as root, or in a unit with Delegate=yes")
    made = own / f"cronjob-test-{uuid.uuid4().hex}"
    made.mkdir()
    yield made
    assert [path.name for path in made.iterdir() if path.is_dir()] == []
    made.rmdir()


@pytest.fixture
def processes(parent: Path) -> Iterator[Supervisor]:
    made = Supervisor(groups=Cgroups(parent, "test"))
    yield made
    made.close()


class Running:
    """A shell command on a thread of its own."""

    def __init__(self, processes: Supervisor, text: str) -> None:
        self.token = CancelToken()
        self.ready = threading.Event()
        self.ended: list[Exit] = []
        command = Command(["bash", "-c", text], None, dict(os.environ), log=self._log, grace=0.3)
        self._thread = threading.Thread(target=lambda: self.ended.append(processes.run(command, self.token)))
        self._thread.start()
        assert self.ready.wait(10)

    def _log(self, data: bytes) -> None:
        if b"READY" in data:
            self.ready.set()

    def stop(self, request: CancelRequest) -> Exit:
        self.token.cancel(request)
        return self.wait()

    def wait(self) -> Exit:
        self._thread.join(15)
        return self.ended[0]


@pytest.mark.parametrize("urgency", list(Urgency))
@pytest.mark.parametrize("shape", trees.SHAPES)
def test_no_tree_survives_and_no_group_is_left(processes: Supervisor, shape: str, urgency: Urgency) -> None:  # G23
    mark = str(uuid.uuid4().int)[:12]
    ended = Running(processes, trees.program(shape, mark)).stop(CancelRequest(EndReason.STOPPED, urgency))
    assert trees.alive(mark) == []
    assert ended.reason is EndReason.STOPPED


def test_a_daemon_that_hides_in_every_way_ends_with_its_own_task(processes: Supervisor) -> None:
    """Without groups it could belong to the other task too, and would live as long as that."""
    mark, other = str(uuid.uuid4().int)[:12], Running(processes, "echo READY; exec sleep 1000")
    hides = f"( env -i setsid sleep 1000.{mark} >/dev/null 2>&1 & ); until grep -qz 1000.{mark} $(echo /proc/[0-9]*/cmdline); do :; done"
    hidden = Running(processes, f"{hides}; echo READY; exit 4")
    assert hidden.wait().exit_code == 4
    assert trees.alive(mark) == []
    assert other.ended == []
    other.stop(CancelRequest(EndReason.KILLED, Urgency.NOW))


def test_a_command_that_cannot_start_leaves_no_group(processes: Supervisor) -> None:
    assert processes.run(Command(["/no/such/program"], None, {}), CancelToken()).reason is EndReason.NOT_FOUND


def test_what_hid_in_a_previous_run_is_ended_at_the_next_start(tmp_path: Path, parent: Path) -> None:  # G5
    mark = str(uuid.uuid4().int)[:12]
    with SimulatedServer() as server:
        program = Program(server, tmp_path, execution={"grace": 0.3, "drain": 1, "cgroup": str(parent)})
        task = server.add_task(command=f"( env -i setsid sleep 1000.{mark} & ); echo READY; sleep 1000.{mark}")
        server.offer(task)
        wait_until(lambda: "READY" in server.log(task), "it runs")
        worker = program.worker()
        for pid in (program.guardian(), worker):
            os.kill(pid, signal.SIGKILL)
        program.process.wait()
        wait_until(lambda: (left := tree.look(worker)) is None or left.dead, "the worker is gone")
        assert trees.alive(mark) != []
        program.start()
        wait_until(lambda: not trees.alive(mark), "the next start ends it")
        assert f"control groups in {parent}" in program.log.read_text()
        assert program.end() == 0


def test_a_directory_without_control_groups_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"execution\.cgroup: no control groups can be made in"):
        find_parent(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_groups_that_nobody_delegated_are_left_alone(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, and would take groups from the service manager."""
    monkeypatch.setattr(cgroups, "_own_group", lambda: parent)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert find_parent("auto") is None
    os.setxattr(parent, "trusted.delegate", b"1")
    assert find_parent("auto") == parent
    assert find_parent("off") is None
    assert [path.name for path in parent.glob(f"{PREFIX}*")] == []
