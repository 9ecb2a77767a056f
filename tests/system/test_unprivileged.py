"""The real program as an unprivileged user, whose tasks try to read it, and whose trees it still ends (G23, G34,
G67)."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import random
import shutil
import site
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.testkit.apiserver import SimulatedServer
from tests.support import trees
from tests.support.program import ROOT, Program, Start

# What a killed worker leaves half open in the server is closed by the garbage collector of its event loop.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PATH = os.pathsep.join([str(ROOT), *site.getsitepackages()])
# A user that nobody else is: limits on processes count all of a user's, also those of what else runs on this machine.
NOBODY = random.choice(sorted(set(range(20_000, 60_000)) - {entry.pw_uid for entry in pwd.getpwall()}))
OVER = ("success", "failed", "error", "timeout", "stopped", "canceled")
NASTY = ("setsid", "double fork", "nohup and trap", "daemon", "daemon without environment")

PROBE = """
import ctypes, errno, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)

class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]

def parent(pid):
    return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])

def call(*arguments):
    if libc.syscall(*map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), "")

def peek(pid):
    into = ctypes.create_string_buffer(8)
    local, remote = Piece(ctypes.addressof(into), 8), Piece(id(None), 8)
    denied = libc.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) < 0
    if denied and ctypes.get_errno() != errno.EFAULT:  # allowed, but nothing is at that address
        raise OSError(ctypes.get_errno(), "")

TRIES = {
    "environ": lambda pid: open(f"/proc/{pid}/environ", "rb").read(),
    "mem": lambda pid: open(f"/proc/{pid}/mem", "rb"),
    "maps": lambda pid: open(f"/proc/{pid}/maps", "rb").read(),
    "fd": lambda pid: os.listdir(f"/proc/{pid}/fd"),
    "first fd": lambda pid: os.open(f"/proc/{pid}/fd/2", os.O_RDONLY),
    "cwd": lambda pid: os.readlink(f"/proc/{pid}/cwd"),
    "process_vm_readv": peek,
    "pidfd_getfd": lambda pid: call(438, os.pidfd_open(pid), 2, 0),
    "ptrace": lambda pid: call(101, 0x4206, pid, 0, 0),  # SEIZE, numbered as on x86-64: it stops nothing
}
found = {}
shell = parent(os.getpid())
for who, pid in (("own", shell), ("worker", parent(shell)), ("guardian", parent(parent(shell)))):
    for name, do in TRIES.items():
        try:
            do(pid)
            found[f"{who} {name}"] = ""
        except OSError as error:
            found[f"{who} {name}"] = errno.errorcode[error.errno]
print(json.dumps(found))
"""


def runnable(python: str) -> bool:
    """Whether NOBODY can run the program with this interpreter."""
    try:
        done = subprocess.run(
            [python, "-c", "import click, dependency_injector, pydantic, websocket, sys; sys.exit(sys.version_info < (3, 11))"],
            env={"PYTHONPATH": PATH}, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", capture_output=True, check=False,
        )  # fmt: skip
    except OSError:
        return False
    return done.returncode == 0


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where NOBODY can work: pytest's own directories are closed to it."""
    if os.geteuid() != 0:
        pytest.skip("only root can start the program as another user: run the tests as root")
    made = Path(tempfile.mkdtemp(prefix="unprivileged-"))
    os.chown(made, NOBODY, NOBODY)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def how(directory: Path) -> Start:
    """How the program is started as NOBODY."""
    python = next(filter(runnable, (sys.executable, "/usr/bin/python3")), None)
    if python is None:
        pytest.skip(
            f"uid {NOBODY} can run no Python 3.11 with these packages: put the repository where all may read it"
        )
    return Start((), {"PYTHONPATH": PATH, "HOME": str(directory)}, python, NOBODY)


@pytest.fixture
def program(directory: Path, how: Start) -> Iterator[Program]:
    with SimulatedServer() as server, Program(server, directory, how) as made:
        yield made


def until(what: Callable[[], object], of: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, of
        threading.Event().wait(0.02)


def test_a_task_of_the_same_user_reads_nothing_of_the_worker_and_its_guardian(program: Program) -> None:  # G67
    (program.directory / "probe.py").write_text(PROBE)
    task = program.server.add_task(command=f"/usr/bin/python3 {program.directory}/probe.py; true")
    program.server.offer(task)
    row = program.server.wait_for(task, "success", "failed", "error")
    found = json.loads(row["output"])
    assert found.pop("exit_code") == 0
    refused = {errno.errorcode[errno.EACCES], errno.errorcode[errno.EPERM]}
    assert {name for name, outcome in found.items() if outcome not in refused and not name.startswith("own")} == set()
    # What the tries can read of a process that is open shows that they are worth something.
    assert {name: outcome for name, outcome in found.items() if name.startswith("own") and outcome} == {}
    assert len(found) == 27
    for pid in (program.process.pid, program.worker()):
        assert f"\nUid:\t{NOBODY}\t" in Path(f"/proc/{pid}/status").read_text()


@pytest.mark.parametrize("ending", ["stop", "kill", "worker SIGKILL"])
def test_the_trees_of_tasks_are_ended_all_the_same(program: Program, ending: str) -> None:  # G23
    server, mark = program.server, str(uuid.uuid4().int)[:12]
    tasks = {shape: server.add_task(command=trees.program(shape, mark)) for shape in NASTY}
    server.offer(*tasks.values())
    for shape, task in tasks.items():
        until(lambda: "READY" in server.log(task), shape)  # noqa: B023
    if ending == "worker SIGKILL":
        program.crash_worker()
    else:
        for task in tasks.values():
            server.stop_task(task, force=ending == "kill")
    until(lambda: not trees.alive(mark), "the trees are gone")
    for task in tasks.values():
        assert server.wait_for(task, "stopped", "error")["status"] == ("error" if "worker" in ending else "stopped")


def processes_of_nobody() -> list[int]:
    """What the program and its tasks are."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{name}").st_uid == NOBODY:
                found.append(int(name))
    return found


def test_a_fork_bomb_ends_with_its_task_and_takes_no_other_with_it(directory: Path, how: Start) -> None:  # G34
    """It takes all processes that the user may have, those that the worker would need among them."""
    bound = replace(how, prefix=("prlimit", "--nproc=200"))
    os.mkfifo(directory / "on")
    with (
        open(directory / "on", "r+b", buffering=0) as on,
        SimulatedServer() as server,
        Program(server, directory, bound) as program,
    ):
        before = len(processes_of_nobody())
        neighbour = server.add_task(command=f"read < {directory}/on; echo done", timeout=60)  # it starts no process
        server.offer(neighbour)
        server.wait_for(neighbour, "running")
        bomb = server.add_task(command="bomb() { bomb | bomb & }; bomb; sleep 1000", timeout=60)
        server.offer(bomb)
        until(lambda: len(processes_of_nobody()) > 150, "it takes all")
        server.stop_task(bomb)
        assert server.wait_for(bomb, *OVER)["status"] == "stopped"
        on.write(b"\n")
        later = server.add_task(command="echo done", timeout=60)
        server.offer(later)
        for task in (neighbour, later):
            assert server.wait_for(task, *OVER)["status"] == "success", program.log.read_text()
            assert server.log(task) == "done\n"
        assert len(processes_of_nobody()) == before
        assert program.end() == 0
