"""A small world under a seed: one modelled server, several whole workers, and a nemesis.

Every third seed has a server of another kind: one that offers a running task again when its lock is gone.

The workers are the real application layer; only time, threads, network, disk and processes are simulated. After the
last fault everything has to settle, and the server's history is judged. ``python -m tests.support.world SEED``
replays one seed and prints what happened; ``FIRST-LAST`` tries many and prints what each violates.
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from adapters.guardian.guardian import LATE
from adapters.journal.memory import MemoryJournal
from adapters.spool.memory import MemorySpool
from adapters.testkit.model.faults import DISCARD, LOST, REFUSE, Fault
from adapters.testkit.model.network import MemoryNetwork
from adapters.testkit.model.server import ServerModel
from adapters.testkit.model.tasks import stamp
from adapters.testkit.simulation import EPOCH, SimNode, Simulation
from adapters.testkit.workers import WorkerKit
from application.counters import unaccounted
from application.ports import Identity, Limits, LinkTimes, Report
from domain.errors import JournalError
from domain.result import EndReason, Result
from domain.runner import ExecutionContext, RunnerRegistry, Urgency
from domain.status import Status
from tests.support.judge import judge, judge_counters

SETTLE = 600.0  # virtual seconds that healing may take
ENDING = 120.0  # virtual seconds: drain, grace, kill, flush, and a freeze before
TOKEN = "sim"
LIMITS = Limits(concurrency=8, grace=1.0, lease_ttl=20.0, request_timeout=5.0, drain=5.0)
TIMES = LinkTimes(ping_interval=10.0, pong_timeout=10.0, reconnect_cap=5.0)


@dataclass(eq=False)
class Process:
    """One simulated process of a task: alive until it is over or killed, whatever its worker does."""

    task: str
    node: SimNode
    by: str  # the worker's id
    alive: bool = True


@dataclass(eq=False)
class Life:
    """One life of one worker."""

    node: SimNode
    kit: WorkerKit
    leases: dict[str, float] = field(default_factory=dict)

    lost = False

    # The guardian's view (Watchdog).
    def hello(self, shutdown: float) -> None: ...
    def close(self) -> None: ...
    def beat(self) -> None: ...

    def lease(self, task_id: str, deadline: float) -> None:
        self.leases[task_id] = deadline

    def ended(self, task_id: str) -> None:
        self.leases.pop(task_id, None)


class ToldJournal(MemoryJournal):
    """Tells the history which end was decided and kept, so that a judge sees when another one arrives."""

    def __init__(self, note: Callable[[str, str, str], None]) -> None:
        super().__init__()
        self._note = note

    def finish(self, task_id: str, report: Report, finished_at: float) -> None:
        try:
            super().finish(task_id, report, finished_at)
        except JournalError:
            self._note("unkept", task_id, "")
            raise
        if report.status is not None and report.status.is_final:
            self._note("decided", task_id, report.status.value)


class SimRunner:
    """A task that writes a line each second for some seconds, and obeys."""

    status = Status.PENDING
    result: Result | None = None

    def __init__(self, world: World, life: Callable[[], Life]) -> None:
        self._world = world
        self._life = life
        self._asked: list[Urgency] = []
        self._seconds, self._code = 1, 0

    def parse_args(self, command: str, args: str) -> None:
        self._seconds, self._code = int(command), int(args or 0)

    def set_timeout(self, seconds: float | None) -> None: ...

    def execute(self, context: ExecutionContext | None = None) -> Result:
        assert context is not None
        node = self._life().node
        process = self._world.start_process(context.task_id, node, self._life().kit.identity.id)
        woken = node.event()
        for second in range(self._seconds):
            for _ in range(10):
                if not process.alive:
                    return Result(Status.FAILED, EndReason.SIGNAL, error="signal: killed", exit_code=137)
                if self._asked:
                    self._world.end_process(process)
                    return Result(Status.STOPPED, EndReason.STOPPED, error="stopped", exit_code=-1)
                woken.wait(0.1)
            context.log(f"{second}\n".encode())
        self._world.end_process(process)
        reason = EndReason.EXIT_CODE if self._code else EndReason.COMPLETED
        return Result(
            reason.status, reason, exit_code=self._code, error=f"exit status {self._code}" if self._code else ""
        )

    def stop(self) -> None:
        self._asked.append(Urgency.POLITE)

    def kill(self) -> None:
        self._asked.append(Urgency.NOW)

    def cleanup(self) -> None: ...


class World:
    def __init__(
        self, seed: int, workers: int = 2, tasks: int = 6, trouble: float = 45.0, redispatches: bool = False
    ) -> None:
        """``redispatches``: the server offers a running task again when its lock is gone."""
        self.sim = Simulation(seed)
        self.random = self.sim.random
        self.server_node = self.sim.node("server")
        self.model = ServerModel(lambda: self.server_node.wall().timestamp(), TOKEN)
        self.model.redispatches = redispatches
        self.model.check_takes = self.random.choice((0.0, 0.0, 8.0))
        self.limits = replace(LIMITS, on_lost_lease="stop" if redispatches else "auto")
        self.guard = threading.RLock()
        self.processes: list[Process] = []
        self.lives: list[Life] = []
        self.told: list[str] = []
        self.seen: list[str] = []  # what was violated while the world still went on
        self._trouble = trouble
        self._ids = Random(seed)  # so that a replay names the tasks as the verdict did
        self._identities = [
            Identity(str(uuid.UUID(int=self.random.getrandbits(128), version=4)), f"w{number}", tasks=("fake",))
            for number in range(workers)
        ]
        self._states = [(self._journal(identity.id), MemorySpool()) for identity in self._identities]
        self._crowd = self.random.choice((1, 1, 16))
        self._tasks = max(tasks, self._crowd)
        self._away = False
        self.calm = False

    # -- life ----------------------------------------------------------------------------------------------------------

    def run(self) -> list[str]:
        """Live through the trouble, settle, and return what was violated."""
        self.server_node.start("server", self._serve)
        for number in range(len(self._identities)):
            self.lives.append(self._be_born(number))
        self.server_node.start("users", self._use)
        self.server_node.start("nemesis", self._harass)
        self.server_node.start("guardian", self._watch)
        try:
            settled = self.sim.run(self._is_settled, self._trouble + SETTLE)
            if settled:  # at a moment when somebody may have just read a late event
                self.sim.run(lambda: not self._books(), 30.0)
        finally:
            self.sim.close()
        verdict = self.seen + judge(self.model, settled)
        if any(process.alive for process in self.processes):
            verdict.append("G23 a process of an ended task is alive")
        if settled:
            verdict += self._books()
        verdict += [
            f"G47 a loop died: {life.kit.worker.loops.failed!r}"
            for life in self.lives
            if life.kit.worker.loops.failed is not None
        ]
        return verdict

    def _books(self) -> list[str]:
        """What does not add up (G86)."""
        records = self.model.history.records
        return [
            text
            for life in self._living()
            for text in judge_counters(life.kit.metrics.snapshot(), records, life.kit.identity.id)
        ]

    def start_process(self, task: str, node: SimNode, by: str) -> Process:
        row = self.model.tasks[task]
        self.model.note("process start", task, row.get("worker_id", ""), status=row["status"], by=by)
        process = Process(task, node, by)
        self.processes.append(process)
        return process

    def end_process(self, process: Process) -> None:
        if process.alive:
            process.alive = False
            self.model.note("process end", process.task, by=process.by)

    def _journal(self, worker: str) -> MemoryJournal:
        return ToldJournal(lambda kind, task, status: self.model.note(kind, task, worker, status=status))

    def _be_born(self, number: int) -> Life:
        node = self.sim.node(f"w{number}", rate=self.random.uniform(0.97, 1.03))
        network = MemoryNetwork(node, self.model, self.guard, TOKEN)
        network.conditions.up = not self._away
        network.conditions.delay = lambda: self.random.choice((0.0, 0.0, 0.005, 0.05, self.random.uniform(0, 0.5)))
        journal, spool = self._states[number]
        registry = RunnerRegistry()
        registry.register("fake", lambda: SimRunner(self, lambda: life))
        life = Life.__new__(Life)
        kit = WorkerKit(
            network,
            registry,
            self.limits,
            TIMES,
            identity=self._identities[number],
            journal=journal,
            spool=spool,
            watchdog=life,
        )
        life.node, life.kit, life.leases = node, kit, {}
        node.start("start", kit.worker.start)
        return life

    def _serve(self) -> None:
        while True:
            self.server_node.sleep(max(0.01, self.model.next_due() - self.model.clock()))
            self.model.tick()

    def _use(self) -> None:
        """People make tasks, one by one or many at a time, and stop some."""
        made = []
        for number in range(self._tasks):
            if number % self._crowd == 0:
                self.server_node.sleep(self.random.uniform(0, self._trouble / self._tasks * self._crowd))
            seconds = self.random.choice((1, 1, 3, 12, 40))
            code = str(self.random.choice((0, 0, 3)))
            task_id = str(uuid.UUID(int=self._ids.getrandbits(128), version=4))
            due = stamp(self.model.clock() + self.random.choice((2.0, 20.0, 86_400.0, 86_400.0)))
            made.append(
                self.model.add_task(id=task_id, category="fake", command=str(seconds), args=code, timeout_at=due)
            )
            if self.random.random() < 0.4:
                self.model.broadcast(made[-1])
            if self.random.random() < 0.3:
                self.model.stop(self.random.choice(made), self.random.random() < 0.5)
            if self.random.random() < 0.1 and self.model.tasks[made[0]]["time_end"] is None:
                self.model.end(made[0], "canceled")

    def _watch(self) -> None:
        """The guardians: a tree whose lease ran out while its worker did not act is killed; a dead worker's at once."""
        while True:
            self.server_node.sleep(0.25)
            for process in [it for it in self.processes if it.alive]:
                life = next(it for it in self.lives if it.node is process.node)
                deadline = life.leases.get(process.task, float("inf"))
                if not process.node.alive or process.node.now() > deadline + LATE:
                    self.end_process(process)

    def _is_settled(self) -> bool:
        if not self.calm or len(self.model.tasks) < self._tasks:
            return False
        if any(row["time_end"] is None for row in self.model.tasks.values()):
            return False
        for life in self._living():
            if (
                not life.kit.worker.table.idle.is_set()
                or life.kit.worker.delivery.waiting()
                or life.kit.spool.pending()
            ):
                return False
        return True

    def _living(self) -> list[Life]:
        return [life for life in self.lives if life.node.alive]

    # -- trouble -----------------------------------------------------------------------------------------------------

    def _harass(self) -> None:
        end = self.sim.time + self._trouble
        deeds = [
            self._cut, self._deafen, self._crash, self._freeze, self._fault, self._hang_up, self._full_disk,
            self._restart, self._pause, self._outage,
        ]  # fmt: skip
        if not self.model.redispatches:  # there nothing else protects a run
            deeds += [self._empty_locks, self._outage_that_empties_the_locks]
        while self.sim.time < end:
            self.server_node.sleep(self.random.uniform(0.5, 8.0))
            deed = self.random.choice(deeds)
            self.told.append(f"{self.sim.time:8.2f} {deed.__name__.strip('_')}")
            deed()
        self.model.faults.clear()
        for life in self._living():
            life.kit.network.conditions.up = life.kit.network.conditions.answers = True
        for journal, _ in self._states:
            journal.fail = False
        self.calm = True

    def _outage(self) -> None:
        """The server is away for all, for minutes; now and then a worker dies meanwhile."""
        self._away = True
        for life in self._living():
            life.kit.network.conditions.up = False
        self._hang_up()
        self.server_node.sleep(self.random.choice((20.0, 90.0, 300.0)))
        if self.random.random() < 0.2:
            self._crash()
        self._away = False
        for life in self._living():
            life.kit.network.conditions.up = True

    def _empty_locks(self) -> None:
        for task in self.model.tasks:
            if self.model.locks.holder(f"task:lock:{task}"):
                self.model.note("robbed", task)
        self.model.locks.clear()

    def _outage_that_empties_the_locks(self) -> None:
        self._empty_locks()
        self._outage()

    def _some(self) -> Life:
        return self.random.choice(self._living())

    def _cut(self) -> None:
        conditions = self._some().kit.network.conditions
        conditions.up = False
        self.server_node.sleep(self.random.choice((1.0, 5.0, 30.0)))
        conditions.up = True

    def _deafen(self) -> None:
        conditions = self._some().kit.network.conditions
        conditions.answers = False
        self.server_node.sleep(self.random.choice((1.0, 5.0, 30.0)))
        conditions.answers = True

    def _crash(self) -> None:
        life = self._some()
        self._bury(life)
        self.server_node.sleep(self.random.uniform(0.5, 10.0))
        for process in self._processes_of(life):
            self.end_process(process)  # the guardian sweeps before it starts the next run
        self.lives.append(self._be_born(int(life.node.name[1:])))

    def _restart(self) -> None:
        """A worker is asked to end, as by SIGTERM, while the way to the server may be cut; then the next one starts."""
        life, force = self._some(), self.random.random() < 0.3
        who, kit = life.node.name, life.kit
        ending = life.node.start("end", lambda: self._end_in_order(life, force))
        if self.random.random() < 0.3:
            kit.network.conditions.up = False
            self.server_node.sleep(self.random.choice((1.0, 10.0)))
            kit.network.conditions.up = True
        ending.join(ENDING)
        if ending.is_alive():
            self.seen.append(f"G35 {who} did not end within {ENDING:.0f} s")
        self._bury(life)
        if self._processes_of(life):
            self.seen.append(f"G35 a process outlived the end of {who}")
        self.lives.append(self._be_born(int(who[1:])))

    def _end_in_order(self, life: Life, force: bool) -> None:
        worker = life.kit.worker
        worker.shutdown(lambda: force)
        if not worker.table.idle.is_set():
            self.seen.append(f"G35 {life.node.name} ended with a task in hand")
        self.seen += [f"G86 {text}" for text in unaccounted(life.kit.metrics.snapshot(), worker.delivery.waiting())]

    def _bury(self, life: Life) -> None:
        life.node.crash()
        for connection in list(self.model.connections):
            if connection.worker_id == life.kit.identity.id:
                self.model.disconnect(connection)

    def _processes_of(self, life: Life) -> list[Process]:
        return [process for process in self.processes if process.alive and process.node is life.node]

    def _pause(self) -> None:
        worker = self._some().kit.worker
        worker.pause("somebody prepares a reboot")
        self.server_node.sleep(self.random.uniform(0.5, 10.0))
        worker.resume()

    def _freeze(self) -> None:
        self._some().node.freeze(self.random.choice((1.0, 10.0, 40.0)))

    def _fault(self) -> None:
        where, kind = self.random.choice(
            (
                ("update running *", DISCARD), ("update success *", DISCARD), ("update failed *", DISCARD),
                ("lock/acquire *", LOST), ("lock/refresh *", REFUSE), ("lock/refresh *", LOST),
                ("lock/release *", LOST), ("task *", REFUSE), ("tasklog/append *", LOST),
                ("tasklog/append *", REFUSE), ("worker *", REFUSE),
            )
        )  # fmt: skip
        self.model.faults.add(Fault(where, kind, nth=self.random.choice((1, 2, 3))))

    def _hang_up(self) -> None:
        for connection in list(self.model.connections):
            self.model.disconnect(connection)

    def _full_disk(self) -> None:
        journal = self.random.choice(self._states)[0]
        journal.fail = True
        self.server_node.sleep(self.random.uniform(0.5, 6.0))
        journal.fail = False


def world_of(seed: int) -> World:
    return World(seed, redispatches=seed % 3 == 2)


def try_seed(seed: int) -> list[str]:
    """What one seed violates; a worker's defect (an exception) counts as a violation."""
    try:
        return world_of(seed).run()
    except Exception as error:  # noqa: BLE001 - told with its seed
        return [f"{type(error).__name__}: {error}"]


def try_seeds(first: int, last: int) -> list[str]:
    """What these seeds violate, each with the command that replays it."""
    return [
        f"{text} (python -m tests.support.world {seed})" for seed in range(first, last + 1) for text in try_seed(seed)
    ]


def main() -> int:
    usage = argparse.ArgumentParser(description="Tell the story of one seed, or try many.")
    usage.add_argument("seeds", metavar="SEED or FIRST-LAST")
    first, _, last = usage.parse_args().seeds.partition("-")
    if last:
        logging.disable(logging.CRITICAL)
        broken = try_seeds(int(first), int(last))
        print(*broken, f"{int(last) - int(first) + 1} seeds, {len(broken)} violations", sep="\n")
        return 1 if broken else 0
    return replay(int(first))


def replay(seed: int) -> int:
    """Print the story of one seed."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    world = world_of(seed)
    verdict = world.run()
    for record in world.model.history.records:
        if record.kind not in ("message", "refresh"):
            moment = record.at - EPOCH.timestamp()
            print(f"{moment:9.3f} {record.kind:16} {record.task[:8]:8} {record.worker[:8]:8} {record.detail}")
    print(*world.told, sep="\n")
    print(*(verdict or ["nothing was violated"]), sep="\n")
    return 1 if verdict else 0


if __name__ == "__main__":
    sys.exit(main())
