"""The test kit as a plug-in of pytest, which finds it by itself where the extra ``testkit`` is installed.

It lets the asserts of the contract suites show their values, and gives the fixture ``cronjob_worker``. Nothing of the
worker is imported before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from adapters.memory.server import MemoryServer
    from domain.runner import RunnerRegistry

SUITES = (
    "adapters.testkit.apiserver_manners",
    "adapters.testkit.config_source_contract",
    "adapters.testkit.journal_contract",
    "adapters.testkit.runner_contract",
    "adapters.testkit.runtime_contract",
    "adapters.testkit.spool_contract",
    "adapters.testkit.transport",
    "adapters.testkit.transport_contract",
    "adapters.testkit.watch_contracts",
)
pytest.register_assert_rewrite(*SUITES)


@pytest.fixture
def cronjob_worker() -> Iterator[Callable[[RunnerRegistry], MemoryServer]]:
    """Starts a whole worker with runners of yours, and gives its server in memory; ends it with the test.

        def test_hello(cronjob_worker):
            registry = RunnerRegistry()
            registry.register("mine", MyRunner)
            server = cronjob_worker(registry)
            task = server.add("hello", category="mine")
            server.wait_for(task, Status.SUCCESS)

    ``adapters.testkit.whole_worker`` has more.
    """
    from adapters.testkit.whole_worker import memory_worker

    with ExitStack() as ends:
        yield lambda registry: ends.enter_context(memory_worker(registry))
