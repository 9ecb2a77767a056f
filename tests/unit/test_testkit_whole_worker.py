"""A whole worker in a test: as its own documentation shows it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.memory.server import MemoryServer
from adapters.runners.base import BaseRunner
from adapters.testkit import pytest_plugin, whole_worker
from adapters.testkit.whole_worker import memory_worker
from domain.errors import InvalidTask
from domain.result import EndReason, Result
from domain.runner import ExecutionContext, RunnerRegistry
from domain.status import Status

ROOT = Path(__file__).parents[2]


class MyRunner(BaseRunner):
    def parse_args(self, command: str, args: str) -> None:
        if not command:
            raise InvalidTask("what is to be done?")
        self._command = command

    def run(self, context: ExecutionContext) -> Result:
        context.log(b"at work\n")
        if self._command == "something" and self.wait(60.0):
            return self.cancelled()
        return self.end(EndReason.COMPLETED, output=self._command)


@pytest.fixture
def registry() -> RunnerRegistry:
    found = RunnerRegistry()
    found.register("mine", MyRunner)
    return found


def test_the_example_of_the_documentation_runs() -> None:
    text = whole_worker.__doc__ or ""
    (block,) = re.findall(r"^    def test_.*?(?=^\S)", text, flags=re.MULTILINE | re.DOTALL)
    example = textwrap.dedent(block).strip()
    assert len(example.splitlines()) < 15
    names = dict(globals())
    exec(example, names)
    names["test_my_runner_is_stopped"]()


def test_what_a_task_prints_and_how_it_ends_is_told(
    cronjob_worker: Callable[[RunnerRegistry], MemoryServer], registry: RunnerRegistry
) -> None:
    server = cronjob_worker(registry)
    task = server.add("hello", category="mine")
    server.wait_for(task, Status.SUCCESS)
    (report,) = server.reports(task)
    assert report.end_reason is EndReason.COMPLETED
    assert "hello" in (report.output or "")
    assert server.log(task) == "at work\n"


def test_forty_tasks_run_though_the_connection_is_cut_now_and_then(registry: RunnerRegistry) -> None:
    with memory_worker(registry) as server:
        tasks = [server.add(str(number), category="mine") for number in range(40)]
        for number, task in enumerate(tasks):
            if number % 10 == 5:
                server.cut()
            server.wait_for(task, Status.SUCCESS)
        assert all(len(server.reports(task)) >= 1 for task in tasks)


def test_every_suite_shows_the_values_of_its_asserts() -> None:
    home = ROOT / "adapters" / "testkit"
    suites = {path.stem for path in home.glob("*contract*.py")} | {"apiserver_manners", "transport"}
    assert suites == {name.rsplit(".", 1)[1] for name in pytest_plugin.SUITES}


def test_the_plugin_rewrites_the_asserts_of_the_suites(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(
        """
        from adapters.testkit import spool_contract, transport_contract
        from adapters.testkit.transport import log_cases

        def test_it():
            for module in (spool_contract, transport_contract, log_cases):
                assert type(module.__loader__).__name__ == "AssertionRewritingHook"
        """
    )
    result = pytester.runpytest_subprocess("-p", "adapters.testkit.pytest_plugin", "-W", "error")
    result.assert_outcomes(passed=1)
