"""Claims on runs of the schedule, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from adapters.local.claims import LocalClaims
from adapters.testkit.simulation import Simulation
from application.ports import Claims, Offer
from domain.errors import NotFound
from domain.status import Status
from domain.task import Task

STALE, FRESH = Task("t", "command", name="stale"), Task("t", "command", name="fresh")


class Reader:
    """A ReadBack that knows one task."""

    def fetch(self, task_id: str) -> Task:
        if task_id != "t":
            raise NotFound(f"there is no run {task_id}")
        return FRESH

    def of_worker(self, worker_id: str, status: Status | None, limit: int) -> Sequence[Task]:
        raise AssertionError("nobody asks for all of them")


@pytest.fixture
def world() -> Iterator[Simulation]:
    made = Simulation(1)
    yield made
    made.close()


@pytest.fixture
def claims(world: Simulation) -> Claims:
    return LocalClaims(world.node("n"), Reader())


def test_a_claim_brings_the_task_as_it_is_now(claims: Claims) -> None:
    claim = claims.claim(Offer(STALE), "a", 10.0, 1.0)
    assert claim is not None
    assert (claim.task, claim.token) == (FRESH, "a")


def test_it_has_one_owner_who_may_ask_again(claims: Claims) -> None:
    assert claims.claim(Offer(STALE), "a", 10.0, 1.0)
    assert claims.claim(Offer(STALE), "b", 10.0, 1.0) is None
    assert claims.claim(Offer(STALE), "a", 10.0, 1.0)
    assert not claims.extend("t", "b", 10.0, 1.0)
    assert not claims.settle("t", "b", 1.0)


def test_it_ends_by_itself_unless_it_is_extended(claims: Claims, world: Simulation) -> None:
    claims.claim(Offer(STALE), "a", 10.0, 1.0)
    world.time += 9.0
    assert claims.extend("t", "a", 10.0, 1.0)
    world.time += 9.0
    assert claims.claim(Offer(STALE), "b", 10.0, 1.0) is None
    world.time += 1.0
    assert not claims.extend("t", "a", 10.0, 1.0)
    assert claims.claim(Offer(STALE), "b", 10.0, 1.0)


def test_it_can_be_given_up_once_and_is_free_then(claims: Claims) -> None:
    claims.claim(Offer(STALE), "a", 10.0, 1.0)
    assert claims.settle("t", "a", 1.0)
    assert not claims.settle("t", "a", 1.0)
    assert not claims.settle("unknown", "a", 1.0)
    assert claims.claim(Offer(STALE), "b", 10.0, 1.0)


def test_a_run_that_is_gone_is_not_found(claims: Claims) -> None:
    with pytest.raises(NotFound):
        claims.claim(Offer(Task("gone", "command")), "a", 10.0, 1.0)


def test_what_runs_needs_no_claim_any_more(claims: Claims) -> None:
    assert claims.keeps_running
