"""A server that is away, or that has lost its locks, ends no running task: the program with real processes (G15)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.testkit.apiserver import SimulatedServer
from tests.support.program import Program, wait_until

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TASKS = 20
# Each notes its start and its end on a disk that no server reaches, and prints a line each second between.
COMMAND = "echo start $$ >> {notes}/{number}; for i in $(seq {seconds}); do echo line $i; sleep 1; done; echo end >> {notes}/{number}"
LEASE = 10  # seconds, the least that can be set: without renewals a lock is over after less

Trouble = tuple[Callable[[SimulatedServer], None], ...]
KINDS: dict[str, Trouble] = {
    "away": (SimulatedServer.pause,),
    "emptied": (SimulatedServer.empty_locks,),
    "both": (SimulatedServer.empty_locks, SimulatedServer.pause),
    "silent": (lambda server: server.pause(black_hole=True), SimulatedServer.empty_locks),
}


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer() as made:
        yield made


def live_through(server: SimulatedServer, directory: Path, trouble: Trouble, seconds: int) -> None:
    """Twenty tasks of ``seconds`` seconds run; the trouble comes when all do, and ends when they have."""
    notes = directory / "notes"
    notes.mkdir()

    def noted(word: str) -> int:
        return sum(word in path.read_text() for path in notes.iterdir())

    with Program(server, directory, execution={"lease_ttl": LEASE, "grace": 0.5, "drain": 3}) as program:
        tasks = [
            server.add_task(command=COMMAND.format(notes=notes, number=number, seconds=seconds))
            for number in range(TASKS)
        ]
        server.offer(*tasks)
        wait_until(lambda: noted("start") == TASKS, "all run")
        for deed in trouble:
            deed(server)
        wait_until(lambda: noted("end") == TASKS, lambda: program.log.read_text()[-3000:], seconds + 30.0)
        server.resume()
        for task in tasks:
            assert server.wait_for(task, "success", "failed", "error", "stopped", timeout=60)["status"] == "success"
        lines = "".join(f"line {number}\n" for number in range(1, seconds + 1))
        for task in tasks:
            wait_until(lambda task=task: len(server.log(task)) >= len(lines), "the log is there")  # type: ignore[misc]
            assert server.log(task) == lines
    assert [path.read_text().count("start") for path in notes.iterdir()] == [1] * TASKS
    assert Counter(record.task for record in server.model.history.of("terminal")) == Counter(tasks)
    assert "lease_lost" not in program.log.read_text()


@pytest.mark.parametrize("kind", ["emptied", "both"])
def test_what_runs_goes_on_while_the_server_is_in_trouble(server: SimulatedServer, tmp_path: Path, kind: str) -> None:
    live_through(server, tmp_path, KINDS[kind], LEASE + 1)


@pytest.mark.timeout(600)
@pytest.mark.torture("G15 an outage of five minutes ends no running task")
@pytest.mark.parametrize("kind", KINDS)
def test_what_runs_goes_on_through_five_minutes_of_it(server: SimulatedServer, tmp_path: Path, kind: str) -> None:
    live_through(server, tmp_path, KINDS[kind], 300)
