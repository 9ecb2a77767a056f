"""One read-back for all that wait: what it shows is never older than what was told, nor older than a moment."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import pytest

from adapters.testkit.simulation import Simulation
from application.roll import FRESH, MISSES, TOGETHER, Roll, Watch
from domain.errors import NotFound, Refused, Unavailable
from domain.status import Status
from domain.task import Task

RUNNING = Task("t", "fake", status=Status.RUNNING, worker_id="me")


class Reader:
    """The ReadBack port. ``error`` is what a list raises."""

    def __init__(self) -> None:
        self.lists = 0
        self.singles = 0
        self.listed: list[Task] = [RUNNING]
        self.error: Exception | None = None

    def fetch(self, task_id: str) -> Task:
        self.singles += 1
        return Task(task_id, "fake")

    def of_worker(self, worker_id: str, status: Status | None, limit: int) -> Sequence[Task]:
        self.lists += 1
        if self.error is not None:
            raise self.error
        return self.listed


class Crowd:
    def __init__(self, waiting: int = TOGETHER) -> None:
        self.world = Simulation(1)
        self.reader = Reader()
        self.roll = Roll(self.world.node("w"), self.reader, "me")
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(self.roll.waiting(waiting))

    def watch(self, task_id: str = "t") -> Watch:
        return Watch(task_id, self.world.time)

    def later(self, seconds: float) -> None:
        self.world.time += seconds


def test_few_are_looked_for_singly() -> None:
    crowd = Crowd(TOGETHER - 1)
    assert crowd.roll.look(crowd.watch()) == Task("t", "fake")
    assert (crowd.reader.singles, crowd.reader.lists) == (1, 0)


def test_one_list_answers_for_all_that_wait() -> None:
    crowd = Crowd()
    watches = [crowd.watch() for _ in range(10)]
    crowd.later(0.01)
    assert [crowd.roll.look(watch) for watch in watches] == [RUNNING] * 10
    assert (crowd.reader.singles, crowd.reader.lists) == (0, 1)


def test_a_list_from_before_what_was_told_shows_nothing() -> None:
    crowd = Crowd()
    first, second = crowd.watch(), crowd.watch()
    crowd.later(0.01)
    crowd.roll.look(first)
    second.sent(crowd.world.time)
    crowd.later(0.01)
    crowd.roll.look(second)
    assert crowd.reader.lists == 2


def test_the_next_look_of_the_same_wants_a_newer_list() -> None:
    crowd = Crowd()
    watch = crowd.watch()
    for _ in range(3):
        crowd.later(0.01)
        crowd.roll.look(watch)
    assert crowd.reader.lists == 3


def test_an_old_list_is_shown_to_nobody_however_long_they_have_waited() -> None:
    """It was asked for while a link was down for this one: the task may be with another worker by now."""
    crowd = Crowd()
    patient, other = crowd.watch(), crowd.watch()
    crowd.later(0.01)
    crowd.roll.look(other)
    crowd.later(FRESH + 0.1)
    crowd.roll.look(patient)
    assert crowd.reader.lists == 2


def test_absence_from_lists_proves_nothing_and_is_looked_at_singly_in_the_end() -> None:
    crowd = Crowd()
    crowd.reader.listed = []
    watch = crowd.watch()
    for _ in range(MISSES):
        crowd.later(0.01)
        assert crowd.roll.look(watch) is None
    crowd.later(0.01)
    assert crowd.roll.look(watch) == Task("t", "fake")
    assert (crowd.reader.singles, crowd.reader.lists) == (1, MISSES)


@pytest.mark.parametrize("error", [NotFound("gone"), Refused("no"), Unavailable("503")], ids=repr)
def test_a_list_that_fails_keeps_nobody_from_being_read_singly(error: Exception) -> None:
    crowd = Crowd()
    crowd.reader.error = error
    watch = crowd.watch()
    crowd.later(0.01)
    assert crowd.roll.look(watch) == Task("t", "fake")
    crowd.later(0.01)
    assert crowd.roll.look(watch) == Task("t", "fake")
    assert (crowd.reader.singles, crowd.reader.lists) == (2, 1)


def test_who_comes_while_another_asks_waits_for_that_answer() -> None:
    crowd = Crowd()
    watch, seen = crowd.watch(), list[Task | None]()
    crowd.later(0.01)
    answer = crowd.reader.of_worker

    def slow(worker_id: str, status: Status | None, limit: int) -> Sequence[Task]:
        seen.append(crowd.roll.look(watch))
        return answer(worker_id, status, limit)

    crowd.reader.of_worker = slow  # type: ignore[method-assign]
    crowd.roll.look(crowd.watch())
    assert (seen, crowd.reader.lists) == ([None], 1)


def test_pauses_grow_and_start_again_with_what_is_told_anew() -> None:
    watch = Watch("t", 0.0)
    pauses = []
    for _ in range(8):
        pauses.append(watch.pause())
        watch.looks += 1
    assert pauses == sorted(pauses)
    assert watch.pause() == 1.0
    watch.sent(5.0)
    assert watch.pause() == pauses[0]
    watch.rest()
    assert watch.pause() == 1.0
