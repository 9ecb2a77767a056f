"""Fixtures for all tests."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
from _pytest.nodeid import NodeId
from hypothesis import Phase, settings

from adapters.process import tree
from adapters.process.supervisor import Supervisor
from adapters.testkit.model.network import MemoryServer
from adapters.testkit.pytest_plugin import cronjob_worker  # noqa: F401 - as where the test kit is installed
from adapters.testkit.workers import memory_server
from tests.support import engines

pytest_plugins = ("pytester",)

# No profile has a deadline: how long an example takes tells of the machine and of what else it does.
# For those who only want to know whether a test is red: to find the shortest example takes minutes.
settings.register_profile("no-shrinking", deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
# The usual run tries the same examples each time, so that it is red only for what was changed; `make torture` explores.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep each group on one worker: pytest-xdist 3.8 writes its name where pytest 9.2 does not look any more."""
    if getattr(config.option, "loadgroup", False):
        for item in items:
            mark = item.get_closest_marker("xdist_group")
            if mark is not None and not item.nodeid.endswith(f"@{mark.args[0]}"):
                item._id = NodeId.parse(f"{item.nodeid}@{mark.args[0]}")


def _alive() -> set[tuple[int, int]]:
    return {(proc.pid, proc.start) for proc in tree.below(os.getpid())}


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """A test that leaves a process or a thread of the project behind has failed."""
    threads, processes = set(threading.enumerate()), _alive()
    yield
    deadline = time.monotonic() + 3.0
    while time.monotonic() < deadline:
        left = [
            it for it in set(threading.enumerate()) - threads if it.is_alive() and not it.name.startswith("execnet")
        ]
        strays = _alive() - processes
        if not left and not strays:
            return
        time.sleep(0.02)
    pytest.fail(f"left behind: threads {[it.name for it in left]}, processes {[pid for pid, _ in strays]}")


@pytest.fixture(
    scope="session",
    params=[
        "fake",
        "fake of podman",
        pytest.param("docker", marks=[pytest.mark.peer("docker"), pytest.mark.xdist_group("engines")]),
        pytest.param("podman", marks=[pytest.mark.peer("podman"), pytest.mark.xdist_group("engines")]),
    ],
)
def engine_kind(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A kind of container engine, and the socket of a real one, which lives as long as tests need it."""
    if request.param.startswith("fake"):
        yield request.param, ""
        return
    try:
        with {"docker": engines.dockerd, "podman": engines.podman}[request.param]() as socket:
            yield request.param, socket
    except engines.Missing as missing:
        pytest.skip(f"no real {request.param}: {missing}")


@pytest.fixture
def processes() -> Iterator[Supervisor]:
    made = Supervisor()
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[MemoryServer]:
    """The model of the server, in memory; a file that tests against another one has a fixture of this name."""
    made = memory_server()
    yield made
    made.close()
