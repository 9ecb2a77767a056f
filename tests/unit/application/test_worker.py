"""The whole worker over servers that offer much or little, in virtual time."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from adapters.testkit.model.network import MemoryNetwork
from adapters.testkit.model.server import ServerModel
from adapters.testkit.model.stream import server_of
from application.intake import PATIENCE
from application.ports import Limits, NoApprovals, NoCredentials, NoScripts, Server
from domain.result import EndReason
from domain.status import Status
from domain.task import Action
from tests.support.virtual import Scene

TEN = Limits(concurrency=10, grace=0.5, drain=5.0)
ONE = Limits(concurrency=1, grace=0.5, drain=5.0)


class Modelled(Scene):
    """Over the modelled API server, which pushes its offers and reads nothing but its own tasks."""

    def offered(self) -> Server:
        node = self.sim.node("api")
        self.model = ServerModel(lambda: node.wall().timestamp(), "token")
        node.start("server", lambda: self._serve(node.sleep))
        return server_of(MemoryNetwork(self.node, self.model, threading.RLock(), "token"), self.metrics)

    def _serve(self, sleep: object) -> None:
        assert callable(sleep)
        while True:
            sleep(max(0.01, self.model.next_due() - self.model.clock()))
            self.model.tick()

    def push(self, *commands: str) -> list[str]:
        tasks = [self.model.add_task(category="fake", command=command) for command in commands]
        for task in tasks:
            self.model.broadcast(task)
        return tasks

    def statuses(self, tasks: list[str]) -> list[str]:
        return [self.model.tasks[task]["status"] for task in tasks]


def seen(scene: Scene, outcome: str) -> int:
    return int(scene.metrics.snapshot().get(f"events_{outcome}", 0))


# -- slots


def test_free_slots_are_filled_at_once_where_the_worker_asks_for_offers() -> None:
    with Scene(TEN) as scene:
        assert scene.connected()
        tasks = [scene.add("0.1") for _ in range(40)]
        assert scene.live(1.0, lambda: {scene.memory.status(task) for task in tasks} == {Status.SUCCESS})
        assert sorted(scene.started) == sorted(tasks)
        assert (seen(scene, "received"), seen(scene, "executed")) == (40, 40)
        assert scene.end()


def test_free_slots_are_filled_at_once_where_the_server_pushes() -> None:
    with Modelled(TEN) as scene:
        assert scene.connected()
        tasks = scene.push(*["0.1"] * 40)
        assert scene.live(1.0, lambda: {*scene.statuses(tasks)} == {"success"})
        assert sorted(scene.started) == sorted(tasks)
        assert scene.end()


def test_what_waits_goes_where_the_worker_pauses_and_is_taken_when_it_goes_on() -> None:
    with Modelled(ONE) as scene:
        assert scene.connected()
        tasks = scene.push("5", "5", "5")
        assert scene.live(5.0, lambda: len(scene.started) == 1)
        scene.node.start("pause", lambda: scene.worker.pause("for the night"))
        assert scene.live(1.0, lambda: seen(scene, "refused") >= 2)
        scene.live(30.0)
        assert scene.statuses(tasks).count("success") == len(scene.started) == 1
        scene.node.start("resume", scene.worker.resume)
        assert scene.live(60.0, lambda: {*scene.statuses(tasks)} == {"success"})
        assert scene.end()


def test_what_waits_when_the_worker_ends_is_left_for_others() -> None:
    with Modelled(ONE) as scene:
        assert scene.connected()
        tasks = scene.push("2", "2", "2")
        assert scene.live(5.0, lambda: len(scene.started) == 1)
        assert scene.end()
        assert scene.statuses(tasks) == ["success", "pending", "pending"]
        assert seen(scene, "refused") >= 2


def test_what_waits_behind_a_long_task_does_not_wait_for_ever() -> None:
    with Modelled(ONE) as scene:
        assert scene.connected()
        scene.push("1000")
        assert scene.live(5.0, lambda: len(scene.started) == 1)
        (late,) = scene.push("1")
        scene.live(1.0)
        assert seen(scene, "refused") == 0
        scene.model.end(late, "canceled")  # nobody offers it again
        scene.live(PATIENCE + 1.0)
        assert seen(scene, "refused") == 1
        assert scene.end()


def test_a_stop_of_what_waits_for_a_slot_ends_it_before_it_starts() -> None:
    with Scene(ONE) as scene:
        assert scene.connected()
        busy = scene.add("1000")
        assert scene.live(5.0, lambda: scene.started == [busy])
        waiting = scene.add("1")
        (offer,) = scene.memory._take(1)  # as a transport does that brings more than there is room for
        scene.node.start("push", lambda: scene.worker.intake.handle(offer))
        scene.live(1.0)
        scene.memory.stop(waiting, Action.KILL)
        assert scene.live(2.0, lambda: scene.memory.status(waiting) == Status.STOPPED)
        (report,) = scene.memory.reports(waiting)
        assert report.end_reason is EndReason.KILLED
        assert scene.started == [busy]
        assert scene.end()


# -- a server that offers little


def bare(server: Server) -> Server:
    return replace(
        server,
        read_back=None,
        logs=None,
        credentials=NoCredentials(),
        approvals=NoApprovals(),
        scripts=NoScripts(),
    )


@pytest.mark.parametrize("keeps_running", [True, False], ids=["status protects", "claim protects"])
def test_stream_claims_and_outcomes_are_enough(keeps_running: bool) -> None:
    def change(server: Server) -> Server:
        server.claims.keeps_running = keeps_running  # type: ignore[misc]
        return bare(server)

    with Scene(TEN, change) as scene:
        good, bad, stopped, long = scene.add("1"), scene.add("x"), scene.add("1000"), scene.add("200")
        assert scene.live(60.0, lambda: {good, stopped, long} <= {*scene.started})
        scene.memory.stop(stopped)
        scene.memory.stop("5f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c99")  # nobody knows it
        wanted = [Status.SUCCESS, Status.ERROR, Status.STOPPED, Status.SUCCESS]
        assert scene.live(300.0, lambda: [*map(scene.memory.status, (good, bad, stopped, long))] == wanted)
        assert [len(scene.memory.reports(task)) for task in (good, bad, stopped, long)] == [1, 1, 1, 1]
        assert scene.memory.reports(good)[0].started_at
        assert scene.spool.pending() == []
        assert scene.memory.log(good) == ""
        assert scene.live(5.0, lambda: not scene.journal.entries())
        assert scene.end()


def test_where_there_are_logs_they_arrive_whole() -> None:
    with Scene(TEN) as scene:
        task, bad = scene.add("1"), scene.add("x")
        assert scene.live(60.0, lambda: scene.memory.log(task) == "at work\n" and "x" in scene.memory.log(bad))
        assert scene.end()


def test_what_a_crash_left_is_told_to_a_server_that_cannot_be_read_back() -> None:
    with Scene(TEN, bare) as scene:
        task = scene.add("1000")
        assert scene.live(60.0, lambda: scene.started == [task])
        entries = scene.journal.entries()
        assert [(entry.task_id, entry.started) for entry in entries] == [(task, True)]
    with Scene(TEN, bare) as again:
        again.memory._rows[task] = scene.memory._rows[task]
        for entry in entries:
            again.journal.accept(entry)
        assert again.live(60.0, lambda: again.memory.status(task) == Status.ERROR)
        (report,) = again.memory.reports(task)
        assert report.end_reason is EndReason.WORKER_LOST
        assert again.end()
