"""Log delivery with the real spools against a server that loses answers, refuses, and is written to by others (G37..G44)."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from adapters.observability.metrics import MemoryMetrics
from adapters.spool import task_log
from adapters.spool.file import FileSpool
from adapters.spool.memory import MemorySpool
from adapters.spool.utf8 import cap_marker, cut_between_characters, repair
from adapters.testkit.simulation import SimNode, Simulation
from application.log_delivery import LogDelivery
from application.ports import LogSpool, Ports
from domain.errors import NotFound, Unavailable

TASKS = ["a", "b", "c", "d", "e"]
LIMIT = 100_000
BATCH_LIMIT = 64 * 1024
OUTPUT = st.one_of(
    st.binary(max_size=12),
    st.text(max_size=12).map(str.encode),
    st.builds(
        lambda piece, count: piece * count,
        st.sampled_from([b"line\n", "日本".encode(), b"\xc3"]),
        st.integers(1, 14_000),
    ),
)
OTHERS = (b"a former run\n", b"a note of the server\n")
# What becomes of a call: (it is applied, an answer comes, seconds that it takes)
FATES = {
    "good": (True, True, 0.0),
    "slow": (True, True, 3.0),
    "refused": (False, False, 0.0),
    "refused after": (True, False, 0.0),
    "reset": (False, False, 0.2),
    "lost": (True, False, 10.0),
    "black hole": (False, False, 10.0),
}
# The client leaves, and what it appended is all that the log holds: at once, or when it asks again already.
TORN = {"torn": 0.0, "torn late": 1.0}
SOME_FATE = st.sampled_from(sorted(FATES) + 2 * sorted(TORN))


class LogServer:
    """The TaskLogs port."""

    def __init__(self, own: SimNode) -> None:
        self.node: SimNode
        self.own = own
        self.logs: dict[str, bytes] = dict.fromkeys(TASKS, b"")
        self.torn: set[str] = set()
        self.gone: set[str] = set()
        self.fates: list[str] = []
        self.flying: Counter[str] = Counter()
        self.in_flight: dict[str, Callable[[], None]] = {}
        self.broken: list[str] = []

    def append(self, task_id: str, text: str) -> int:
        data = text.encode()
        if not data:
            self.broken.append("G44 an empty append")
        if len(data) > BATCH_LIMIT:
            self.broken.append(f"G44 an append of {len(data)} bytes")
        if self.flying[task_id]:
            self.broken.append("G38 two appends at a time")
        self.flying[task_id] += 1
        self._exchange(task_id, lambda: self.add(task_id, data), lambda: self.tear(task_id, data))
        self.flying[task_id] -= 1
        return len(self.logs[task_id])

    def read(self, task_id: str) -> bytes | None:
        self._exchange(task_id, lambda: None, lambda: None)
        return self.logs[task_id] or None

    def replace(self, task_id: str, text: str) -> None:
        if not self.logs[task_id]:
            raise NotFound(task_id)
        self._exchange(task_id, lambda: self.logs.update({task_id: text.encode()}), lambda: None)

    def add(self, task: str, data: bytes) -> None:
        self.logs[task] += data

    def tear(self, task: str, data: bytes) -> None:
        self.logs[task] = data
        self.torn.add(task)

    def of_worker(self, task: str) -> bytes:
        """The log without what others wrote."""
        held = self.logs[task]
        for text in OTHERS:
            held = held.replace(text, b"")
        return held

    def crash(self, arrives: bool) -> None:
        """The worker is gone; what it had sent ``arrives`` all the same, or not."""
        for apply in self.in_flight.values():
            if arrives:
                apply()
        self.in_flight.clear()
        self.flying.clear()

    def _exchange(self, task: str, apply: Callable[[], None], tear: Callable[[], None]) -> None:
        fate = self.fates.pop() if self.fates else "good"
        if fate in TORN:
            self.flying[task] = 0
            self.own.start("tear", lambda: (self.own.sleep(TORN[fate]), tear()))
            self.node.sleep(0.1)
            raise Unavailable("no answer")
        applied, answered, seconds = FATES[fate]
        if task in self.gone:
            self.flying[task] = 0
            raise NotFound(task)
        self.in_flight[task] = apply
        self.node.sleep(seconds / 2)
        del self.in_flight[task]
        if applied:
            apply()
        self.node.sleep(seconds / 2)
        if not answered:
            self.flying[task] = 0
            raise Unavailable("no answer")


class LogMachine(RuleBasedStateMachine):
    """``raw`` is what each task printed; ``left`` what a crash left of it, where there was one; ``strange`` what others
    wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.world = Simulation(1)
        self.server = LogServer(self.world.node("server"))
        self.strange: Counter[tuple[str, bytes]] = Counter()
        self.raw: dict[str, bytes] = {}
        self.left: dict[str, bytes] = {}
        self.finished: set[str] = set()
        self.spool = self.make()
        self.be_born()

    def make(self) -> LogSpool:
        raise NotImplementedError

    def be_born(self) -> None:
        self.node = self.server.node = self.world.node("worker")
        rest = cast(Any, None)
        ports = Ports(self.node, rest, cast(Any, self.server), rest, self.spool, MemoryMetrics(), rest, rest)
        delivery = LogDelivery(ports)
        for number in range(2):
            self.node.start(f"logs-{number}", lambda: delivery.run(lambda: False))

    def pass_time(self, seconds: float) -> None:
        self.world.run(lambda: False, seconds)

    def expected(self, task: str) -> bytes:
        """All of a log that is finished, with the rules of the cap (G37, G43)."""
        raise NotImplementedError

    @initialize(seed=st.integers(0, 1 << 16))
    def interleaving(self, seed: int) -> None:
        self.world.random.seed(seed)

    # -- what the worker does ------------------------------------------------------------------------------------------

    @rule(task=st.sampled_from(TASKS), former=st.sampled_from([b"", b"a former run\n"]))
    def open(self, task: str, former: bytes) -> None:
        if task in self.raw:
            return
        self.raw[task] = b""
        if former:
            self.server.logs[task] += former
            self.strange[task, former] += 1
        self.spool.open(task)

    @precondition(lambda self: self.raw)
    @rule(
        data=st.data(),
        output=OUTPUT,
        seconds=st.sampled_from([0.0, 0.0, 0.1, 1.1, 6.0]),
        fates=st.lists(SOME_FATE, max_size=3),
    )
    def write(self, data: st.DataObject, output: bytes, seconds: float, fates: list[str]) -> None:
        self.server.fates = fates or self.server.fates
        task = data.draw(st.sampled_from(sorted(self.raw)))
        if task in self.finished or task in self.server.gone:
            return
        self.raw[task] += output
        self.spool.write(task, output)
        self.pass_time(seconds)

    @precondition(lambda self: self.raw)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(sorted(self.raw)))
        self.spool.finish(task)
        self.finished.add(task)

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.6, 1.5, 6.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.pass_time(seconds)

    # -- what happens to it --------------------------------------------------------------------------------------------

    @rule(fates=st.lists(SOME_FATE, min_size=1, max_size=6))
    def trouble(self, fates: list[str]) -> None:
        self.server.fates = fates

    @precondition(lambda self: TASKS[0] in self.raw)
    @rule()
    def the_server_forgets_a_task(self) -> None:
        self.server.gone.add(TASKS[0])

    @precondition(lambda self: set(self.raw) - self.finished - self.server.gone)
    @rule(data=st.data())
    def somebody_else_writes(self, data: st.DataObject) -> None:
        """Between two confirmed appends: where an answer is missing too, sizes do not tell whose bytes are there."""
        task = data.draw(st.sampled_from(sorted(set(self.raw) - self.finished - self.server.gone)))
        self.server.fates = []
        self.pass_time(60.0)
        self.server.logs[task] += OTHERS[1]
        self.strange[task, OTHERS[1]] += 1
        self.raw[task] += b"after it\n"
        self.spool.write(task, b"after it\n")
        self.pass_time(10.0)

    # -- what holds ----------------------------------------------------------------------------------------------------

    @invariant()
    def the_server_holds_the_beginning_of_what_was_written(self) -> None:
        assert not self.server.broken, self.server.broken
        for task in self.raw:
            ours = self.server.of_worker(task)
            if task not in self.server.torn:
                assert self.expected(task).startswith(ours), f"G38 the log of {task} is not what was written"

    def teardown(self) -> None:
        try:
            self.server.fates = []
            for task in self.raw:
                self.spool.finish(task)
                self.finished.add(task)
            self.pass_time(120.0)
            assert not self.spool.pending()
            self.the_server_holds_the_beginning_of_what_was_written()
            for task in set(self.raw) - self.server.gone:
                assert self.server.of_worker(task) == self.expected(task), f"G38 the log of {task} is not whole"
                for text in OTHERS:
                    there, written = self.server.logs[task].count(text), self.strange[task, text]
                    assert there == written or (task in self.server.torn and there < written), "text of others"
                assert self.spool.drained(task)
        finally:
            self.world.close()


class MemoryLogMachine(LogMachine):
    def make(self) -> LogSpool:
        return MemorySpool(limit=LIMIT)

    def expected(self, task: str) -> bytes:
        text = repair(self.raw[task], final=task in self.finished)[0]
        head = text[: cut_between_characters(text, LIMIT)]
        return head + cap_marker(len(text) - len(head)) if len(head) < len(text) and task in self.finished else head


class FileLogMachine(LogMachine):
    def make(self) -> LogSpool:
        self.top = Path(tempfile.mkdtemp(prefix="log-machine-"))
        return FileSpool(self.top / "logs", limit=LIMIT, quota=10 * LIMIT)

    def teardown(self) -> None:
        try:
            super().teardown()
            assert list((self.top / "logs").iterdir()) == [] or self.server.gone
        finally:
            cast(FileSpool, self.spool).close()
            shutil.rmtree(self.top)

    def expected(self, task: str) -> bytes:
        if task in self.left:
            return self.left[task]
        text = repair(self.raw[task], final=task in self.finished)[0]
        head, rest = self.parts(text)
        if task not in self.finished:
            return head
        start = max(0, len(rest) - task_log.TAIL)
        while start < len(rest) and rest[start] & 0xC0 == 0x80:
            start += 1
        return head + (cap_marker(start) if start else b"") + rest[start:]

    def parts(self, text: bytes) -> tuple[bytes, bytes]:
        cut = cut_between_characters(text, LIMIT)
        return text[:cut], text[cut:]

    @rule(arrives=st.booleans())
    def crash(self, arrives: bool) -> None:
        """G42: what is on disk is delivered in the next run, which knows of no more output."""
        self.node.crash()
        self.server.crash(arrives)
        cast(FileSpool, self.spool).close()
        self.spool = FileSpool(self.top / "logs", limit=LIMIT, quota=10 * LIMIT)
        for task in sorted(self.raw):
            self.left.setdefault(task, self.expected(task))
            if not (task in self.finished and self.is_delivered(task)) and task not in self.server.gone:
                self.spool.open(task)
                self.spool.finish(task)
            self.finished.add(task)
        self.be_born()

    def is_delivered(self, task: str) -> bool:
        return not (self.top / "logs" / f"{task}.log").exists()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "examples", [pytest.param(80, id="quick"), pytest.param(5000, id="long", marks=pytest.mark.torture)]
)
@pytest.mark.parametrize("machine", [MemoryLogMachine, FileLogMachine])
def test_the_server_holds_what_was_written_whatever_happens(machine: type[LogMachine], examples: int) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None))
