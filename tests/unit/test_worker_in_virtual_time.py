"""One whole worker and one modelled server in virtual time: what takes minutes or days until it shows."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from adapters.journal.memory import MemoryJournal
from adapters.testkit.model.faults import DISCARD, Fault
from adapters.testkit.model.network import MemoryNetwork
from adapters.testkit.model.replies import Reply
from adapters.testkit.model.requests import call_name
from adapters.testkit.model.server import ServerModel
from adapters.testkit.model.tasks import stamp
from adapters.testkit.simulation import SimNode, Simulation
from adapters.testkit.workers import WorkerKit
from application.counters import unaccounted
from application.ports import Entry, Identity, Limits, LinkTimes, Report, Verb
from domain.errors import ConnectionRefused, Unavailable
from domain.result import EndReason, Result
from domain.runner import ExecutionContext, RunnerRegistry
from domain.status import Status

GONE = "00000000-0000-4000-8000-000000000001"
TOKEN = "virtual"


class Counted(MemoryNetwork):
    """Counts the requests of its worker by endpoint."""

    def request(self, method: str, path: str, query: dict[str, str], body: Any, timeout: float) -> Reply:
        self.calls[call_name(path, query)] += 1
        return super().request(method, path, query, body, timeout)

    calls: Counter[str]


class Sleeper:
    """A task that prints a line in each of as many seconds as its command says."""

    status = Status.PENDING
    result: Result | None = None

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._asked = scene.node.event()

    def parse_args(self, command: str, args: str) -> None:
        self._seconds = int(command)

    def set_timeout(self, seconds: float | None) -> None: ...

    def execute(self, context: ExecutionContext | None = None) -> Result:
        assert context is not None
        self._scene.started.append(context.task_id)
        for second in range(self._seconds):
            if self._asked.wait(1.0):
                return Result(Status.STOPPED, EndReason.STOPPED)
            context.log(f"{second}\n".encode())
        return Result(Status.SUCCESS, EndReason.COMPLETED)

    def stop(self) -> None:
        self._asked.set()

    kill = stop

    def cleanup(self) -> None: ...


class Scene:
    def __init__(
        self,
        limits: Limits | None = None,
        journal: MemoryJournal | None = None,
        seed: int = 1,
        times: LinkTimes | None = None,
    ) -> None:
        self._sim = Simulation(seed)
        self._server = self._sim.node("server")
        self.node = self._sim.node("worker")
        self.model = ServerModel(lambda: self._server.wall().timestamp(), TOKEN)
        self.started: list[str] = []
        network = Counted(self.node, self.model, threading.RLock(), TOKEN)
        self.calls = network.calls = Counter()
        registry = RunnerRegistry()
        registry.register("fake", lambda: Sleeper(self))
        self.kit = WorkerKit(
            network, registry, limits or Limits(), times or LinkTimes(), journal=journal or MemoryJournal()
        )
        self._server.start("server", self._serve)
        self.node.start("worker", self.kit.worker.start)

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        self._sim.close()

    def live(self, seconds: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Let ``seconds`` pass, or less where ``done`` holds before; returns whether it does."""
        return self._sim.run(done, seconds)

    def add_task(self, **fields: Any) -> str:
        return self.model.add_task(category="fake", **fields)

    def status(self, task: str) -> str:
        return str(self.model.tasks[task]["status"])

    def _serve(self) -> None:
        while True:
            self._server.sleep(max(0.01, self.model.next_due() - self.model.clock()))
            self.model.tick()


def decided(task: str) -> MemoryJournal:
    journal = MemoryJournal()
    journal.accept(Entry(task, "accepted", started=True))
    journal.finish(task, Report(task, Verb.ENDED, Status.SUCCESS, EndReason.COMPLETED, "{}"), 1.0)
    return journal


def test_a_result_that_the_server_does_not_take_is_looked_for_once_a_minute() -> None:  # G12, G55
    with Scene(journal=decided(GONE)) as scene:
        scene.live(600.0)
        assert 5 <= scene.calls[f"task /task/{GONE}/"] <= 15
        assert scene.kit.worker.delivery.waiting() == 1


def test_an_end_that_the_disk_did_not_take_is_kept_as_soon_as_it_does() -> None:  # G7
    journal = MemoryJournal()
    with Scene(journal=journal) as scene:
        task = scene.add_task(command="5")
        assert scene.live(60.0, lambda: scene.status(task) == "running")
        scene.model.faults.add(Fault("update success *", DISCARD))
        journal.fail = True
        assert scene.live(60.0, lambda: scene.kit.worker.delivery.waiting() == 1)
        assert [entry.phase for entry in journal.entries()] != ["finished"]
        journal.fail = False
        assert scene.live(5.0, lambda: [entry.phase for entry in journal.entries()] == ["finished"])


def test_a_server_in_trouble_is_asked_once_a_second_however_many_results_wait() -> None:  # G55
    """Each of thirty tasks has told its end, and no answer says whether it was heard."""
    with Scene(Limits(concurrency=30)) as scene:
        tasks = [scene.add_task(command="20") for _ in range(30)]
        assert scene.live(60.0, lambda: len(scene.started) == 30)
        scene.model.faults.add(Fault("task *", status=500))
        assert scene.live(60.0, lambda: {*map(scene.status, tasks)} == {"success"})
        scene.calls.clear()
        scene.live(60.0)
        assert sum(count for call, count in scene.calls.items() if call.startswith("task ")) <= 2 * 60 + 10
        scene.model.faults.clear()
        assert scene.live(5.0, lambda: scene.kit.worker.delivery.waiting() == 0)


def test_one_result_that_cannot_be_looked_for_keeps_no_other_from_it() -> None:  # G12
    with Scene(Limits(concurrency=30)) as scene:
        tasks = [scene.add_task(command="20") for _ in range(30)]
        assert scene.live(60.0, lambda: len(scene.started) == 30)
        scene.model.faults.add(Fault(f"task /task/{tasks[0]}/", status=500))
        scene.model.faults.add(Fault("task /task/", status=500))  # the list
        scene.live(60.0)
        assert scene.kit.worker.delivery.waiting() == 1


def test_a_refused_key_costs_no_result_however_long() -> None:  # G1, G56
    limits = Limits(dead_letter_age=60.0)
    with Scene(limits) as scene:
        task = scene.add_task(command="5")
        assert scene.live(60.0, lambda: scene.status(task) == "running")
        scene.model.token = "rotated"
        scene.live(600.0)
        scene.model.token = TOKEN
        assert scene.live(120.0, lambda: scene.status(task) != "running")
        assert scene.status(task) == "success"


def test_a_task_whose_start_cannot_be_told_in_time_is_not_started() -> None:  # G4
    """The server's start deadline holds also while the worker tries to tell it that the task runs."""
    with Scene() as scene:
        scene.model.faults.add(Fault("update running *", DISCARD))
        task = scene.add_task(command="1", timeout_at=stamp(scene.model.clock() + 60.0))
        scene.live(90.0)
        scene.model.faults.clear()
        assert scene.live(120.0, lambda: scene.status(task) != "pending")
        assert (scene.status(task), scene.started) == ("timeout", [])
        assert scene.kit.worker.delivery.waiting() == 0
        seen = scene.kit.metrics.snapshot()
        assert (seen.get("events_executed", 0), seen["events_handed_back"], unaccounted(seen, 0)) == (0, 1, [])


def test_a_task_that_was_deleted_hides_no_end_of_another() -> None:  # G3
    with Scene() as scene:
        tasks = [scene.add_task(command="100000") for _ in range(6)]
        assert scene.live(60.0, lambda: {*map(scene.status, tasks)} == {"running"})
        deleted, canceled = tasks[::2], tasks[1::2]
        for task in deleted:
            scene.model.tasks[task]["deleted"] = True
        for task in canceled:
            scene.model.end(task, "canceled")
        assert scene.live(90.0, lambda: len(scene.kit.worker.table.active()) == len(deleted))
        assert {run.task.id for run in scene.kit.worker.table.active()} == set(deleted)


class Sleepy(MemoryJournal):
    """Its machine stands still for longer than a lock lasts when the first task is kept."""

    node: SimNode | None = None

    def accept(self, entry: Entry) -> None:
        super().accept(entry)
        node, self.node = self.node, None
        if node is not None:
            node.freeze(30.0)
            node.sleep(0.0)


@pytest.mark.parametrize("seed", range(20))
def test_a_worker_that_stood_still_past_its_lock_announces_nothing(seed: int) -> None:  # G13, G16
    journal = Sleepy()
    with Scene(journal=journal, seed=seed) as scene:
        journal.node = scene.node
        task = scene.add_task(command="1")
        assert scene.live(120.0, lambda: scene.status(task) == "success")
        told = [it for it in scene.model.history.of("update") if it.detail["status"] == "running"]
        assert all(record.holder for record in told), "said by a worker without the lock"


def test_a_worker_that_ends_while_a_task_asks_for_its_lock_ends_in_order(
    caplog: pytest.LogCaptureFixture,
) -> None:  # G35, G86
    with Scene(Limits(grace=0.0, drain=0.0, acquire_ttl=30.0)) as scene:
        scene.model.faults.add(Fault("lock/acquire * task:lock:*", DISCARD))
        task = scene.add_task(command="1")
        assert scene.live(60.0, lambda: scene.calls[f"lock/acquire /lock/acquire task:lock:{task}"] == 1)
        clean: list[bool] = []
        scene.node.start("end", lambda: clean.append(scene.kit.worker.shutdown(lambda: False)))
        assert scene.live(60.0, lambda: bool(clean))
        assert clean == [True]
        assert "a defect of the worker" not in caplog.text


def test_a_worker_whose_own_lock_cannot_be_had_asks_again() -> None:  # G47
    with Scene() as scene:
        scene.model.faults.add(Fault("lock/acquire *", status=503))
        assert not scene.live(30.0, lambda: bool(scene.model.connections))
        scene.model.faults.clear()
        assert scene.live(60.0, lambda: bool(scene.model.connections))


def test_an_idle_worker_asks_little() -> None:  # G57
    with Scene() as scene:
        scene.live(60.0)
        scene.calls.clear()
        scene.live(600.0)
        assert sum(scene.calls.values()) <= 60, scene.calls


def test_what_a_task_prints_is_at_the_server_within_three_seconds() -> None:  # G40
    with Scene() as scene:
        task = scene.add_task(command="30")
        assert scene.live(60.0, lambda: scene.status(task) == "running")
        for number in range(1, 20):
            assert scene.live(3.0, lambda seen=number: scene.model.logs.get(task, "").count("\n") >= seen), number


def test_thousands_of_offers_run_each_task_once_and_a_stop_gets_through() -> None:  # G19, G52
    with Scene(Limits(concurrency=20)) as scene:
        stopped = scene.add_task(command="100000")
        assert scene.live(60.0, lambda: scene.status(stopped) == "running")
        tasks = [scene.add_task(command="1") for _ in range(200)]
        for _ in range(50):
            for task in tasks:
                scene.model.broadcast(task)
            scene.live(0.01)
        scene.model.stop(stopped)
        assert scene.live(1.0, lambda: scene.status(stopped) == "stopped")
        assert scene.live(600.0, lambda: {*map(scene.status, tasks)} == {"success"})
        assert sorted(scene.started) == sorted([stopped, *tasks])
        assert scene.kit.metrics.snapshot()["events_received"] > 1_000


# -- the lock protects the claim, the status protects the run


def go_away(scene: Scene) -> None:
    scene.kit.network.conditions.up = False
    for connection in list(scene.model.connections):
        scene.model.disconnect(connection)


def come_back(scene: Scene) -> None:
    scene.kit.network.conditions.up = True


TROUBLE: dict[str, tuple[Callable[[Scene], None], ...]] = {
    "the server is away": (go_away,),
    "its locks are gone": (lambda scene: scene.model.locks.clear(),),
    "both": (go_away, lambda scene: scene.model.locks.clear()),
}


@pytest.mark.parametrize("seconds", [280, 320], ids=["ended meanwhile", "still running"])
@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE)
def test_five_minutes_of_trouble_end_no_running_task(
    trouble: tuple[Callable[[Scene], None], ...], seconds: int
) -> None:  # G3, G13, G15, G38
    with Scene(Limits(concurrency=20)) as scene:
        tasks = [scene.add_task(command=str(seconds)) for _ in range(20)]
        assert scene.live(60.0, lambda: len(scene.started) == 20)
        for deed in trouble:
            deed(scene)
        scene.live(300.0)
        come_back(scene)
        assert scene.live(120.0, lambda: {*map(scene.status, tasks)} == {"success"})
        assert scene.live(60.0, lambda: not scene.kit.spool.pending() and not scene.kit.worker.delivery.waiting())
        lines = "".join(f"{second}\n" for second in range(seconds))
        assert {scene.model.logs[task] for task in tasks} == {lines}
        assert sorted(scene.started) == sorted(tasks)
        assert Counter(record.task for record in scene.model.history.of("terminal")) == Counter(tasks)


def test_where_only_the_lock_protects_its_loss_ends_the_run() -> None:  # G15
    with Scene(Limits(on_lost_lease="stop")) as scene:
        task = scene.add_task(command="300")
        assert scene.live(60.0, lambda: len(scene.started) == 1)
        scene.live(30.0)
        assert scene.model.locks.holder(f"task:lock:{task}"), "it is renewed"
        scene.model.locks.clear()
        assert scene.live(60.0, lambda: scene.status(task) == "error")
        assert "lease_lost" in scene.model.tasks[task]["output"]


def test_tasks_that_sleep_ask_for_nothing() -> None:  # G57
    with Scene(Limits(concurrency=100)) as scene:
        tasks = [scene.add_task(command="1000", save_log=False) for _ in range(100)]
        assert scene.live(300.0, lambda: len(scene.started) == len(tasks))
        scene.live(10.0)
        assert not any(scene.model.locks.holder(f"task:lock:{task}") for task in tasks)
        scene.calls.clear()
        scene.live(60.0)
        assert not [call for call in scene.calls if call.startswith("lock/")]


@pytest.mark.parametrize("left", [0.5, 1.5, 2.5, 4.0])
@pytest.mark.parametrize(("told_late", "check_takes"), [(False, 0.0), (True, 0.0), (True, 6.0)])
def test_what_is_claimed_in_time_is_started_however_soon_its_deadline_is(
    left: float, told_late: bool, check_takes: float
) -> None:
    """Also where the server learns of it after its check has listed what nobody has started, to end it later from that
    old copy."""
    with Scene() as scene:
        scene.model.check_takes = check_takes
        if told_late:
            scene.model.faults.add(Fault("update running *", DISCARD, nth=1))
        assert scene.live(60.0, lambda: bool(scene.model.connections))
        # The check comes right after the deadline.
        scene.live(scene.model._timeouts.due() - scene.model.clock() - left - 0.1)
        task = scene.add_task(command="20", timeout_at=stamp(scene.model.clock() + left))
        scene.model.broadcast(task)
        assert scene.live(120.0, lambda: scene.status(task) not in ("pending", "running"))
        assert (scene.status(task), scene.started) == ("success", [task])


def test_jobs_of_every_two_and_three_seconds_run_each_time() -> None:
    with Scene() as scene:
        assert scene.live(60.0, lambda: bool(scene.model.connections))
        tasks = []
        for second in range(60):
            for every in (2, 3):
                if second % every == 0:
                    tasks.append(scene.add_task(command="1", timeout_at=stamp(scene.model.clock() + every)))
                    scene.model.broadcast(tasks[-1])
            scene.live(1.0)
        assert scene.live(120.0, lambda: {*map(scene.status, tasks)} == {"success"})


def test_a_run_that_the_server_shows_at_another_worker_ends_and_nothing_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:  # G13, G16
    other = "4c3396cf-7601-48b7-aee2-002f906bfdc1"
    with Scene() as scene:
        task = scene.add_task(command="1000")
        assert scene.live(60.0, lambda: len(scene.started) == 1)
        scene.model.tasks[task]["worker_id"] = other
        told = len(scene.model.history.of("update"))
        assert scene.live(60.0, lambda: not scene.kit.worker.table.active())
        assert scene.live(60.0, lambda: not scene.kit.worker.delivery.waiting())
        assert (scene.status(task), len(scene.model.history.of("update"))) == ("running", told)
        assert "the server shows it running at another worker" in caplog.text


@pytest.mark.parametrize("shown", ["pending", "deleted"])
def test_nothing_else_that_the_server_shows_ends_a_run(shown: str) -> None:
    with Scene() as scene:
        task = scene.add_task(command="200")
        assert scene.live(60.0, lambda: len(scene.started) == 1)
        scene.model.tasks[task] |= {"deleted": True} if shown == "deleted" else {"status": "pending"}
        scene.live(100.0)
        assert scene.kit.worker.table.active()


class Robbed(MemoryJournal):
    """The lock store is emptied, and another worker takes the task, when its start is kept."""

    scene: Scene | None = None

    def started(self, task_id: str) -> None:
        super().started(task_id)
        if self.scene is not None:
            self.scene.model.locks.clear()
            assert self.scene.model.locks.acquire(f"task:lock:{task_id}", 60.0)
            self.scene = None


def test_a_task_that_another_may_have_claimed_beside_us_is_neither_started_nor_handed_back() -> None:  # G13, G19
    """What we have told may hide that the other runs it, so nobody must start it again; where nobody ran it, it ends."""
    journal = Robbed()
    with Scene(journal=journal) as scene:
        journal.scene = scene
        task = scene.add_task(command="1")
        assert scene.live(60.0, lambda: journal.scene is None)
        assert scene.live(60.0, lambda: scene.status(task) == "error")
        assert {it.detail["status"] for it in scene.model.history.of("update")} == {"running", "error"}
        assert scene.started == []
        seen = scene.kit.metrics.snapshot()
        assert (seen["events_not_started"], seen.get("events_executed", 0)) == (1, 0)


def test_what_a_crash_left_unstarted_is_handed_back_under_its_lock() -> None:  # G5, G16
    """Another worker that holds it may be about to start it."""
    journal = MemoryJournal()
    with Scene(journal=journal) as scene:
        task = scene.add_task(command="1", status="running", worker_id=scene.kit.identity.id)
        journal.accept(Entry(task, "accepted", category="fake", token="of the previous run"))
        assert scene.model.locks.acquire(f"task:lock:{task}", 60.0)
        scene.live(50.0)
        assert (scene.started, scene.status(task)) == ([], "running")
        assert scene.live(60.0, lambda: scene.status(task) == "success")
        assert scene.started == [task]


def test_a_result_that_was_refused_once_waits_seconds() -> None:
    """A failing database says no as well, and the next look may find it well."""
    with Scene(journal=decided(GONE)) as scene:
        assert scene.live(60.0, scene.kit.worker.link.up.is_set)  # which lets everything be looked for at once
        scene.live(1.0)
        scene.calls.clear()
        assert scene.live(7.0, lambda: scene.calls[f"task /task/{GONE}/"] == 1)


def test_registering_anew_pays_for_no_failure() -> None:
    with Scene() as scene:
        assert scene.live(60.0, lambda: len(scene.model.connections) == 1)
        for failure in range(10):
            before = scene.kit.metrics.snapshot()["connects"]
            for connection in list(scene.model.connections):
                scene.model.disconnect(connection)
                connection.wake()
            assert scene.live(60.0, lambda before=before: scene.kit.metrics.snapshot()["connects"] > before), failure  # type: ignore[misc]
        before = scene.kit.metrics.snapshot()["connects"]
        scene.kit.worker.link.announce()
        assert scene.live(1.0, lambda: scene.kit.metrics.snapshot()["connects"] > before)


def test_a_connection_that_lasted_lets_the_next_failure_start_from_the_beginning(
    caplog: pytest.LogCaptureFixture,
) -> None:  # G46
    caplog.set_level("INFO")

    def lose() -> float:
        for connection in list(scene.model.connections):
            scene.model.disconnect(connection)
            connection.wake()
        caplog.clear()
        assert scene.live(60.0, lambda: "connecting anew in" in caplog.text)
        return float(caplog.text.split("connecting anew in ")[1].split()[0])

    with Scene(times=LinkTimes(reconnect_cap=1000.0)) as scene:
        for _ in range(9):
            assert scene.live(2000.0, scene.kit.worker.link.up.is_set)
            delay = lose()
        assert delay > 1.0, "many failures in a row"
        assert scene.live(2000.0, scene.kit.worker.link.up.is_set)
        scene.live(61.0)
        assert lose() <= 1.0


@pytest.mark.parametrize("error", [ConnectionRefused("full", 200.0), Unavailable("503", 200.0)], ids=repr)
def test_the_next_try_to_connect_waits_as_long_as_the_server_asked(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:  # G46
    with Scene() as scene:
        tries: list[float] = []

        def refuse(identity: Identity) -> None:
            tries.append(scene.node.now())
            raise error

        monkeypatch.setattr(scene.kit.server.stream, "connect", refuse)
        assert scene.live(1000.0, lambda: len(tries) == 2)
        assert tries[1] - tries[0] >= 200.0


def test_an_end_that_the_server_already_holds_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:  # G3
    with Scene() as scene:
        task = scene.add_task(command="5")
        assert scene.live(60.0, lambda: len(scene.started) == 1)
        scene.model.end(task, "canceled")
        assert scene.live(60.0, lambda: not scene.kit.worker.table.active() and not scene.kit.worker.delivery.waiting())
        assert "superseded: the server already holds canceled" in caplog.text
        assert scene.kit.metrics.snapshot()["results_superseded"] == 1
        assert scene.status(task) == "canceled"
