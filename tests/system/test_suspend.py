"""A machine that sleeps while its tasks run: the time counts (G59). In virtual time, over several interleavings."""

from __future__ import annotations

import pytest

from domain.status import Status
from tests.support.judge import judge
from tests.support.world import LIMITS, World


class Laptop:
    """One worker with one running task; its guardian sleeps with it."""

    def __init__(self, seed: int, guarded: bool, redispatches: bool) -> None:
        self.world = World(seed, workers=1, redispatches=redispatches)
        self.sim, self.model = self.world.sim, self.world.model
        self.world.server_node.start("server", self.world._serve)
        self.life = self.world._be_born(0)
        self.world.lives.append(self.life)
        if guarded:
            self.life.node.start("guardian", self.world._watch)
        self.task = self.model.add_task(category="fake", command="30", args="0")
        assert self.sim.run(lambda: len(self.model.logs.get(self.task, "")) > 4, 60.0)
        (self.process,) = self.world.processes

    def sleep(self, seconds: float) -> None:
        self.life.node.suspend(seconds)
        self.sim.run(lambda: False, seconds)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("guarded", "soon"), [(True, 0.3), (False, 1.2)])
def test_after_a_long_sleep_the_lease_is_over_and_the_task_ends_first(seed: int, guarded: bool, soon: float) -> None:
    laptop = Laptop(seed, guarded, redispatches=True)
    laptop.sleep(10 * LIMITS.lease_ttl)
    assert laptop.process.alive
    assert not laptop.life.kit.worker.leases.holds(laptop.task)  # before anything else has run
    woke = laptop.model.clock()
    assert laptop.sim.run(lambda: not laptop.process.alive, soon)
    told = {record.kind for record in laptop.model.history.records if record.task == laptop.task and record.at >= woke}
    # G16: nothing but what was printed before; "decided" goes to the worker's own disk, "sent run" is the server.
    assert told <= {"process end", "append", "refresh", "decided", "sent run"}, told
    assert laptop.sim.run(lambda: laptop.model.tasks[laptop.task]["time_end"] is not None, 120.0)
    laptop.sim.close()
    assert laptop.model.tasks[laptop.task]["status"] == Status.SUCCESS, "offered again meanwhile, it ran anew"
    assert len(laptop.model.history.of("process start")) == 2
    decided = [record.detail["status"] for record in laptop.model.history.of("decided")]
    assert decided == [Status.ERROR, Status.SUCCESS], "also where the guardian's signal was what ended it"
    assert judge(laptop.model, settled=True) == []


@pytest.mark.parametrize("seed", range(20))
def test_where_the_status_protects_the_run_no_sleep_costs_anything(seed: int) -> None:
    laptop = Laptop(seed, guarded=True, redispatches=False)
    laptop.sleep(10 * LIMITS.lease_ttl)
    assert laptop.sim.run(lambda: laptop.model.tasks[laptop.task]["time_end"] is not None, 120.0)
    laptop.sim.run(lambda: not laptop.life.kit.spool.pending(), 10.0)
    laptop.sim.close()
    assert laptop.model.tasks[laptop.task]["status"] == Status.SUCCESS
    assert judge(laptop.model, settled=True) == []


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("redispatches", [True, False])
def test_a_nap_within_the_lease_costs_nothing(seed: int, redispatches: bool) -> None:
    laptop = Laptop(seed, True, redispatches)
    laptop.sleep(3.0)
    assert laptop.sim.run(lambda: laptop.model.tasks[laptop.task]["time_end"] is not None, 120.0)
    laptop.sim.run(lambda: not laptop.life.kit.spool.pending(), 10.0)
    laptop.sim.close()
    assert laptop.model.tasks[laptop.task]["status"] == Status.SUCCESS
    assert judge(laptop.model, settled=True) == []
