"""The simulated runtime itself."""

from __future__ import annotations

import pytest

from adapters.testkit.simulation import Deadlock, SimNode, Simulation


def story(seed: int) -> list[str]:
    world = Simulation(seed)
    node = world.node("a")
    told: list[str] = []
    lock = node.lock()

    def work(name: str) -> None:
        for step in range(5):
            with lock:
                told.append(f"{name}{step}")
            node.sleep(node.uniform(0, 1))

    for name in "xyz":
        node.start(name, lambda name=name: work(name))  # type: ignore[misc]
    world.run(lambda: len(told) == 15, 100)
    world.close()
    return told


def test_the_same_seed_gives_the_same_history() -> None:
    assert story(7) == story(7)


def test_seeds_differ() -> None:
    assert len({tuple(story(seed)) for seed in range(5)}) > 1


def test_time_jumps_to_the_next_deadline() -> None:
    world = Simulation(1)
    node = world.node("a")
    done: list[float] = []

    def work() -> None:
        node.event().wait(3600)
        done.append(node.now())

    node.start("w", work)
    assert world.run(lambda: bool(done), 10_000)
    assert done[0] == pytest.approx(4600)


def test_a_wait_for_nobody_is_a_deadlock() -> None:
    world = Simulation(1)
    node = world.node("a")
    node.start("w", lambda: node.event().wait(None) and None)
    with pytest.raises(Deadlock):
        world.run(lambda: False, 100)
    world.close()


def test_a_crashed_node_does_nothing_more() -> None:
    world = Simulation(1)
    node, other = world.node("a"), world.node("b")
    ticks: list[str] = []

    def tick(where: SimNode) -> None:
        while True:
            where.sleep(1)
            ticks.append(where.name)

    node.start("t", lambda: tick(node))
    other.start("t", lambda: tick(other))
    world.run(lambda: len(ticks) >= 4, 100)
    node.crash()
    del ticks[:]
    world.run(lambda: len(ticks) >= 5, 100)
    assert set(ticks) == {"b"}
    world.close()


def test_a_frozen_node_wakes_up_late() -> None:
    world = Simulation(1)
    node = world.node("a")
    woke: list[float] = []

    def work() -> None:
        node.sleep(1)
        woke.append(world.time)

    node.start("w", work)
    node.freeze(30)
    assert world.run(lambda: bool(woke), 100)
    assert woke == [pytest.approx(1031)]  # it starts at 1030 and sleeps for one second


def test_what_a_fiber_raises_reaches_the_caller() -> None:
    world = Simulation(1)
    node = world.node("a")
    node.start("w", lambda: 1 / 0 and None)
    with pytest.raises(ZeroDivisionError):
        world.run(lambda: False, 1)
