"""The smallest whole transport, in virtual time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.memory.server import MemoryServer
from adapters.spool.memory import MemorySpool
from adapters.testkit.simulation import SimNode, Simulation
from application.ports import Claim, Identity, LogPiece, Offer, Receipt, Report, Stop, Verb
from domain.errors import ConnectionLost, NotFound
from domain.result import EndReason
from domain.status import Status
from domain.task import Action, Task

WORKER = Identity("w", "w", tasks=("command",))
NOBODY = str(uuid.uuid4())


class Scene:
    def __init__(self) -> None:
        self.world = Simulation(1)
        self.node: SimNode = self.world.node("n")
        self.server = MemoryServer(self.node)
        self.server.connect(WORKER)

    def events(self, room: int = 10) -> list[Offer | Stop]:
        return list(self.server.receive(room, 0.0))

    def offers(self, room: int = 10) -> list[Offer]:
        return [event for event in self.events(room) if isinstance(event, Offer)]

    def claimed(self, token: str = "token", **fields: Any) -> str:
        """A task that is this worker's."""
        task_id = self.server.add(**fields)
        offer = next(it for it in self.offers(100) if it.task.id == task_id)
        assert self.server.claim(offer, token, 10.0, 1.0)
        return task_id


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.world.close()


def piece(task_id: str, offset: int, data: bytes) -> LogPiece:
    return LogPiece(task_id, offset, data, False, MemorySpool().peek(task_id, 0).history)


def ended(task_id: str, status: Status = Status.SUCCESS) -> Report:
    return Report(task_id, Verb.ENDED, status, EndReason.COMPLETED, "{}", ended_at="2026-01-01T00:00:00+00:00")


def test_no_more_is_offered_than_there_is_room_for_and_stops_come_all_the_same(scene: Scene) -> None:
    tasks = [scene.server.add(f"echo {number}", args="[]", timeout=5) for number in range(3)]
    first = scene.offers(room=2)
    assert [(offer.task.id, offer.task.command, offer.task.timeout, offer.attempt) for offer in first] == [
        (tasks[0], "echo 0", 5, 1),
        (tasks[1], "echo 1", 5, 1),
    ]
    scene.server.stop(tasks[0])
    scene.server.stop(tasks[1], Action.KILL)
    assert scene.events(room=0) == [Stop(tasks[0], Action.STOP), Stop(tasks[1], Action.KILL)]
    assert [offer.task.id for offer in scene.offers()] == [tasks[2]]
    assert scene.events() == []


def test_what_is_declined_comes_again_in_its_time_and_counts_as_another_attempt(scene: Scene) -> None:
    scene.server.add()
    (offer,) = scene.offers()
    scene.server.decline(offer, "no room", 5.0)
    assert scene.offers() == []
    scene.world.time += 5.0
    (again,) = scene.offers()
    assert (again.task, again.attempt) == (offer.task, 2)
    assert again.delivery != offer.delivery


def test_what_a_lost_connection_took_along_is_offered_on_the_next_one(scene: Scene) -> None:
    task_id = scene.server.add()
    assert len(scene.offers()) == 1
    scene.server.cut()
    for call in (scene.events, scene.server.ping, lambda: scene.server.running(task_id, "t")):
        with pytest.raises(ConnectionLost):
            call()
    scene.server.connect(WORKER)
    assert [offer.task.id for offer in scene.offers()] == [task_id]
    assert scene.server.identities == [WORKER, WORKER]


def test_a_claim_has_one_owner_until_it_expires_or_is_settled(scene: Scene) -> None:
    server = scene.server
    server.add(name="fresh")
    (offer,) = scene.offers()
    assert server.claim(offer, "a", 10.0, 1.0) == Claim(offer.task, "a")
    assert server.claim(offer, "b", 10.0, 1.0) is None
    assert server.claim(offer, "a", 10.0, 1.0), "the same token is the same claim"
    assert (server.extend(offer.task.id, "b", 10.0, 1.0), server.extend(offer.task.id, "a", 10.0, 1.0)) == (False, True)
    assert not server.settle(offer.task.id, "b", 1.0)
    scene.world.time += 9.0
    assert server.extend(offer.task.id, "a", 10.0, 1.0)
    scene.world.time += 9.0
    assert server.claim(offer, "b", 10.0, 1.0) is None
    scene.world.time += 1.0
    assert not server.extend(offer.task.id, "a", 10.0, 1.0), "it is too late"
    assert server.claim(offer, "b", 10.0, 1.0)
    assert (server.settle(offer.task.id, "b", 1.0), server.settle(offer.task.id, "b", 1.0)) == (True, False)


def test_the_first_end_stays_and_the_same_one_may_come_again(scene: Scene) -> None:
    server, task_id = scene.server, scene.claimed()
    assert server.running(task_id, "token") is Receipt.CONFIRMED
    assert [server.publish(ended(task_id), "token") for _ in range(2)] == [Receipt.CONFIRMED] * 2
    assert server.publish(ended(task_id, Status.FAILED), "token") is Receipt.SUPERSEDED
    assert server.status(task_id) is Status.SUCCESS
    assert server.reports(task_id)[0] == ended(task_id)
    assert server.wait_for(task_id, Status.SUCCESS) is Status.SUCCESS


def test_who_runs_elsewhere_is_not_started_here(scene: Scene) -> None:
    task_id = scene.claimed()
    assert scene.server.running(task_id, "token") is Receipt.CONFIRMED
    assert scene.server.running(task_id, "token") is Receipt.CONFIRMED
    scene.server.connect(Identity("other", "other"))
    assert scene.server.running(task_id, "token") is Receipt.SUPERSEDED


def test_progress_ends_nothing_and_what_is_handed_back_is_offered_again(scene: Scene) -> None:
    server, task_id = scene.server, scene.claimed()
    server.running(task_id, "token")
    assert server.progress(Report(task_id, Verb.PROGRESS, output='{"a":1}'), "token") is Receipt.CONFIRMED
    assert server.status(task_id) is Status.RUNNING
    assert scene.offers() == []
    assert server.hand_back(Report(task_id, Verb.HANDED_BACK), "token") is Receipt.CONFIRMED
    (again,) = scene.offers()
    assert (again.task.status, again.task.worker_id, again.task.output) == (Status.PENDING, "", '{"a":1}')


def test_a_piece_of_a_log_that_comes_twice_stands_there_once(scene: Scene) -> None:
    task_id = scene.server.add()
    for offset, data in ((0, b"one\n"), (4, b"two\n"), (4, b"two\n"), (8, b"")):
        taken = scene.server.append(piece(task_id, offset, data))
        assert (taken.offset, taken.settled) == (offset + len(data), True)
    assert scene.server.log(task_id) == "one\ntwo\n"


def test_a_task_that_is_not_there_is_not_found(scene: Scene) -> None:
    offer = Offer(Task(NOBODY, "command"))
    with pytest.raises(NotFound):
        scene.server.claim(offer, "t", 1.0, 1.0)
    with pytest.raises(NotFound):
        scene.server.append(piece(NOBODY, 0, b"x"))
    scene.server.decline(offer, "unknown", 1.0)
    assert not scene.server.settle(NOBODY, "t", 1.0)
