"""The runtimes keep their contract: on threads, and simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from adapters.runtime.threads import ThreadRuntime
from adapters.testkit.runtime_contract import LONG, RuntimeContract
from adapters.testkit.simulation import SimNode, Simulation
from application.ports import Runtime


class TestThreads(RuntimeContract):
    @pytest.fixture
    def runtime(self) -> Runtime:
        return ThreadRuntime()


@pytest.mark.parametrize("seed", range(3))
class TestSimulation(RuntimeContract):
    @pytest.fixture
    def runtime(self, seed: int) -> Iterator[Runtime]:
        world = Simulation(seed)
        yield world.node("a")
        world.close()

    def drive(self, runtime: Runtime, body: Callable[[], None]) -> None:
        assert isinstance(runtime, SimNode)
        done: list[bool] = []

        def whole() -> None:
            body()
            done.append(True)

        runtime.start("test", whole)
        assert runtime.world.run(lambda: bool(done), LONG), "the body did not end"
