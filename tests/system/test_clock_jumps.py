"""The program while its wall clock jumps (G27, G58)."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.apiserver.claims import lock_key
from adapters.testkit.apiserver import SimulatedServer
from tests.support import clockjump
from tests.support.clockjump import DAY, YEAR, ClockJump
from tests.support.program import Program, Start, wait_until

OVER = ("success", "failed", "error", "timeout", "stopped", "canceled")
LEASE = 10  # seconds; the least that the settings allow
pytestmark = pytest.mark.skipif(bool(clockjump.missing()), reason=clockjump.missing() or "clocks can jump")


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer(token="t0ken") as made:
        yield made


class Jumping:
    """Jumps to and fro by ``size`` seconds, ten times a second; a context manager that leaves the true time behind."""

    def __init__(self, clock: ClockJump, size: float) -> None:
        self._clock = clock
        self._size = size
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._jump)

    def __enter__(self) -> Jumping:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._clock.to(0.0)

    def _jump(self) -> None:
        size = self._size
        while not self._over.wait(0.1):
            self._clock.to(size)
            size = -size


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def duration(server: SimulatedServer, task: str, *statuses: str) -> float:
    """Seconds of true time until the task has one of ``statuses``."""
    began = boottime()
    assert server.wait_for(task, *OVER)["status"] in statuses
    return boottime() - began


def seen(program: Program) -> set[int]:
    """The years in which the program has logged."""
    return {int(json.loads(line)["time"][:4]) for line in program.log.read_text().splitlines()}


def jumps_change_nothing(server: SimulatedServer, directory: Path, size: float) -> Program:
    clock = ClockJump(directory)
    execution = {"grace": 0.5, "drain": 3, "lease_ttl": LEASE, "on_lost_lease": "stop"}
    program = Program(
        server, directory, Start(environment=clock.environment), log={"level": "DEBUG"}, execution=execution
    )
    try:
        late = server.add_task(command="exec env -u LD_PRELOAD sleep 1000", timeout=3)
        long = server.add_task(command="env -u LD_PRELOAD sleep 8; echo done")
        server.offer(late, long)
        for task in (late, long):
            server.wait_for(task, "running")
        with Jumping(clock, size):
            # The time-out fires by the monotonic clock; a day's jump would make it come at once or never (G27).
            assert 2.5 < duration(server, late, "timeout") < 3 + 0.5 + 4
            assert "timed out after 3 s" in server.task(late)["output"] + server.log(late)
            # A task that outlives its first, short lease keeps its lock by renewals that come in time.
            duration(server, long, "success")
            assert server.log(long) == "done\n"
            server.pause()  # the backoff of the link is counted in true seconds too
            wait_until(lambda: not any(it.open for it in list(server.model.connections)), "the link is down")
            server.resume()
            program.wait_connected()
        renewals = [record.at for record in server.model.history.of("refresh", long)]
        assert len(renewals) >= 2
        assert max(after - before for before, after in itertools.pairwise(renewals)) < LEASE
        wait_until(lambda: not server.model.locks.holder(lock_key(long)), "the lock is given back")
        assert program.end() == 0
    finally:
        program.crash()
    assert not any(json.loads(line)["level"] in ("ERROR", "FATAL") for line in program.log.read_text().splitlines())
    return program


def test_jumps_of_a_year_change_no_time_out_lease_or_backoff(server: SimulatedServer, tmp_path: Path) -> None:
    # G27, G58
    now = time.gmtime().tm_year
    program = jumps_change_nothing(server, tmp_path, YEAR)
    assert seen(program) & {now - 1, now + 1}, "the program has not seen the jumps"


@pytest.mark.torture("G27 G58 jumps of the wall clock change nothing")
@pytest.mark.parametrize("size", [1.0, 3600.0, DAY, 12 * YEAR, 40 * YEAR])
def test_jumps_of_any_size_change_no_time_out_lease_or_backoff(
    server: SimulatedServer, tmp_path: Path, size: float
) -> None:  # G27, G58
    jumps_change_nothing(server, tmp_path, size)
