"""The program in a pid namespace of its own, whose /proc tells who survives (G5, G15, G23, G24, G32)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.testkit.apiserver import SimulatedServer
from tests.support import jail, trees
from tests.support.program import Program, Start, wait_until

ROOT = Path(__file__).parent.parent.parent
OVER = ("success", "failed", "error", "timeout", "stopped", "canceled")
LEASE = 10
pytestmark = [
    pytest.mark.skipif(bool(jail.missing()), reason=jail.missing() or "there are jails"),
    # What a killed worker leaves half open in the server is closed by the garbage collector of its event loop.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Jailed(Program):
    """The program as process 1 of its own pid namespace, with one task of each nasty shape at a time."""

    def tasks(self, **fields: object) -> list[str]:
        """Start one task per shape and wait until each of their trees stands."""
        made = {shape: self.add(trees.program(shape, "7"), **fields) for shape in trees.SHAPES}
        self.server.offer(*made.values())
        for shape, task in made.items():
            wait_until(lambda task=task: "READY" in self.server.log(task), f"{shape} stands")
        return list(made.values())

    def add(self, command: str, **fields: object) -> str:
        return self.server.add_task(command=command, **fields)

    def survivors(self) -> list[jail.Inmate]:
        return jail.survivors(self.guardian())


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer(token="t0ken") as made:
        yield made


@pytest.fixture
def program(server: SimulatedServer, tmp_path: Path) -> Iterator[Jailed]:
    execution = {"grace": 0.3, "drain": 1, "lease_ttl": LEASE, "on_lost_lease": "stop"}
    made = Jailed(
        server, tmp_path, Start(jail.prefix()), execution=execution, worker={"name": "jailed", "concurrency": 60}
    )
    yield made
    made.crash()


def end_by_itself(program: Jailed) -> list[str]:
    made = [program.add(f"( {trees.program(shape, '7')} ) & sleep 0.5; exit 5") for shape in trees.SHAPES]
    program.server.offer(*made)
    return made


def stop(program: Jailed, force: bool = False) -> list[str]:
    made = program.tasks()
    for task in made:
        program.server.stop_task(task, force)
    return made


def lose_the_lease(program: Jailed) -> list[str]:
    made = program.tasks()
    for task in made:
        with program.server.guard:
            program.server.model.locks.steal(f"task:lock:{task}")
            program.server.model.locks.acquire(f"task:lock:{task}", 5.0)
    return made


ENDINGS = {
    "end": end_by_itself,
    "stop": stop,
    "kill": lambda program: stop(program, force=True),
    "time-out": lambda program: program.tasks(timeout=2),
    "lease lost": lose_the_lease,
}


def is_ended(program: Jailed, ending: str) -> None:
    made = ENDINGS[ending](program)
    if ending == "lease lost":  # nobody speaks for them (G16), so there is no moment from which on nothing may live
        wait_until(lambda: not program.survivors(), f"{ending}: {program.survivors()}")
        return
    for task in made:
        program.server.wait_for(task, *OVER, timeout=40)
    assert program.survivors() == [], ending


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_survives_its_task(program: Jailed, ending: str) -> None:  # G23, G24
    is_ended(program, ending)
    wait_until(lambda: not jail.zombies(program.guardian()), "no zombies", 1.0)


def test_nothing_survives_a_killed_worker(program: Jailed) -> None:  # G15, G23
    made = program.tasks()
    victim = program.worker()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not program.survivors(), "all are gone", LEASE)
    for task in made:
        assert program.server.wait_for(task, *OVER, timeout=30)["status"] == "error"
    assert program.survivors() == []


@pytest.mark.torture("G15 nothing outlives the lease of a frozen worker")
def test_nothing_outlives_the_lease_of_a_frozen_worker(program: Jailed) -> None:  # G15
    program.tasks()
    victim = program.worker()
    os.kill(victim, signal.SIGSTOP)
    try:
        wait_until(lambda: not program.survivors(), "all are gone", LEASE)
    finally:
        os.kill(victim, signal.SIGCONT)


def test_after_a_crash_of_everything_the_next_run_settles_all(program: Jailed) -> None:  # G5, G6
    crash_and_settle(program, 0.3)


def crash_and_settle(program: Jailed, moment: float) -> None:
    """SIGKILL for the whole namespace ``moment`` seconds after twenty tasks were offered, and a new life."""
    made = [program.add(f"sleep 0.{number % 7}; exit {number % 3}") for number in range(15)]
    made += [program.add("setsid sleep 1000 & sleep 1000") for _ in range(5)]
    program.server.offer(*made)
    threading.Event().wait(moment)
    program.crash()
    program.start()
    for task in made:
        # One that was handed back before its process started runs again, some for their thousand seconds.
        program.server.wait_for(task, "running", *OVER, timeout=30)
        program.server.stop_task(task)
        program.server.wait_for(task, *OVER, timeout=30)
    ends = [record.task for record in program.server.model.history.of("terminal") if record.task in made]
    assert sorted(ends) == sorted(made)
    assert program.survivors() == []


@pytest.mark.torture("G5 a crash of everything leaves no task running")
@pytest.mark.parametrize("part", range(4))
def test_after_a_crash_of_everything_the_next_run_settles_all_at_any_moment(program: Jailed, part: int) -> None:  # G5
    for _ in range(5):
        crash_and_settle(program, random.uniform(0, 0.6) + part * 0.2)


@pytest.mark.torture("G23 G24 nothing survives its task, however it ends")
@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_survives_its_task_again_and_again(program: Jailed, ending: str) -> None:  # G23
    for _ in range(6):
        is_ended(program, ending)
    wait_until(lambda: not jail.zombies(program.guardian()), "no zombies", 1.0)


def leave_orphans(program: Jailed, count: int) -> None:
    made = [program.add("for i in 1 2 3 4 5; do ( sleep 0.0$i & ); done") for _ in range(count)]
    for at in range(0, count, 50):  # the server's send queue holds a hundred
        program.server.offer(*made[at : at + 50])
        for task in made[at : at + 50]:
            program.server.wait_for(task, *OVER, timeout=60)
    wait_until(lambda: not jail.zombies(program.guardian()), "no zombies", 1.0)
    assert program.survivors() == []


def test_orphans_leave_no_zombies(program: Jailed) -> None:  # G24
    leave_orphans(program, 40)


@pytest.mark.torture("G24 no zombies")
def test_five_thousand_orphans_leave_no_zombies(program: Jailed) -> None:  # G24
    leave_orphans(program, 1000)


# Runs in a jail. Each way to kill is handed a process that is gone and whose pid an innocent one has by now.
REUSE = """
import os, signal, subprocess, sys, threading, time
sys.path.insert(0, sys.argv[1])
from adapters.guardian import guardian
from adapters.process import killing, orphans as remains, tree
from tests.support import jail
from application.ports import Entry

def sleeper():
    return subprocess.Popen(["sleep", "1000"])

def pass_on(process, start):
    "Let the process die, and give its pid to an innocent one, one clock tick later at least."
    process.kill()
    process.wait()
    while guardian.boottime() * os.sysconf("SC_CLK_TCK") < start + 2:
        threading.Event().wait(0.005)
    jail.take_next_pid(process.pid)
    heir = sleeper()
    assert heir.pid == process.pid, "the pid was not reused"
    return heir

def lives(heir):
    try:
        heir.wait(0.05)
    except subprocess.TimeoutExpired:
        heir.kill()
        heir.wait()
        return True
    return False

def before(kill):
    victim = sleeper()
    proc = tree.look(victim.pid)
    heir = pass_on(victim, proc.start)
    kill(proc)
    return lives(heir)

def amid(module, name, kill, calls=1):
    "The pid changes hands right after the killer has called ``name`` so often."
    victim = sleeper()
    proc, heirs, original = tree.look(victim.pid), [], getattr(module, name)
    def passing(*given):
        nonlocal calls
        calls -= 1
        if calls:
            return original(*given)
        setattr(module, name, original)
        found = original(*given)
        heirs.append(pass_on(victim, proc.start))
        return found
    setattr(module, name, passing)
    kill(proc)
    return lives(heirs[0])

kills = {
    "supervisor": lambda proc: tree.send(proc, signal.SIGKILL),
    "guardian": lambda proc: killing.kill_tree(proc.pid, proc.start),
    "recovery": lambda proc: remains.ProcessOrphans("").end(
        Entry("t", "running", pid=proc.pid, pid_start=proc.start, boot_id=remains.boot_id())),
}
for _ in range(int(sys.argv[2])):
    for name, kill in kills.items():
        print("before", name, before(kill))
    print("amid supervisor", amid(tree, "look", kills["supervisor"]))
    print("amid guardian", amid(killing, "descendants", kills["guardian"]))
    print("late amid guardian", amid(killing, "stat_of", kills["guardian"], 2))
    print("amid recovery", amid(tree, "below", kills["recovery"]))
"""


def reuse(rounds: int) -> None:
    command = [*jail.prefix(), sys.executable, "-c", REUSE, str(ROOT), str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 7 * rounds
    assert [line for line in lines if not line.endswith(" True")] == []


def test_a_reused_pid_is_never_signalled() -> None:  # G32
    reuse(2)


@pytest.mark.torture("G32 a reused pid is never signalled")
def test_a_reused_pid_is_never_signalled_again_and_again() -> None:  # G32
    reuse(100)
