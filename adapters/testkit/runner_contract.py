"""What every runner promises: subclass ``RunnerContract`` in a test module of yours."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from adapters.testkit.promises import LIMIT, broken, eventually, kept
from domain.errors import InvalidTask, InvalidTransition
from domain.result import EndReason, Result
from domain.runner import ExecutionContext, Runner
from domain.status import Status

Texts = tuple[str, str]  # command and args of a task


@dataclass(frozen=True, slots=True)
class RunnerCase:
    """``make`` makes a runner. ``good`` is a task that succeeds, ``wrong`` one that ``parse_args`` refuses, ``endless``
    one that only a stop ends (None: there is none). ``context`` is what they run in (None: a runner stands alone)."""

    make: Callable[[], Runner]
    good: Texts
    wrong: Texts
    endless: Texts | None = None
    context: ExecutionContext | None = field(default_factory=ExecutionContext)
    ends_as: Status = Status.SUCCESS


class RunnerContract:
    limit = LIMIT  # seconds that an end may take once it was asked for

    @pytest.fixture
    def case(self) -> Iterator[RunnerCase]:
        """Write this one."""
        raise NotImplementedError("give the fixture 'case'")

    # -- before it runs ------------------------------------------------------------------------------------------------

    def test_a_new_runner_is_pending(self, case: RunnerCase) -> None:
        runner = self._ready(case, case.good)
        kept(runner.status is Status.PENDING, "a runner is pending before it runs", f"it is {runner.status}")
        kept(runner.result is None, "a runner has no result before it has run", f"it has {runner.result}")
        runner.cleanup()

    def test_a_task_that_is_wrong_is_refused(self, case: RunnerCase) -> None:
        runner = case.make()
        try:
            runner.parse_args(*case.wrong)
        except InvalidTask as error:
            kept(bool(str(error)), "InvalidTask tells the task's author what is wrong", "it says nothing")
        else:
            broken("Runner.parse_args raises InvalidTask for a task that is wrong", f"{case.wrong} passed")
        finally:
            runner.cleanup()

    @pytest.mark.parametrize("how", ["stop", "kill"])
    def test_a_wish_before_it_runs_is_remembered(self, case: RunnerCase, how: str) -> None:
        runner = self._ready(case, case.endless or case.good)
        getattr(runner, how)()
        result = self._run(case, runner)
        self._ended_by(result, how)

    # -- its run -------------------------------------------------------------------------------------------------------

    def test_a_good_task_succeeds(self, case: RunnerCase) -> None:
        runner = self._ready(case, case.good)
        result = self._run(case, runner)
        kept(result.status is case.ends_as, f"a good task ends as {case.ends_as}", f"it ended so: {result}")
        kept(runner.result is result or runner.result == result, "Runner.result is the end", f"it is {runner.result}")
        kept(runner.status is result.status, "Runner.status is that of the end", f"it is {runner.status}")
        kept(
            result.start is not None and result.end is not None and result.start <= result.end,
            "a Result has its times",
            f"it has {result.start} and {result.end}",
        )
        for _ in range(2):
            runner.cleanup()

    def test_no_limit_is_no_limit(self, case: RunnerCase) -> None:
        for seconds in (None, 0):
            runner = self._ready(case, case.good)
            runner.set_timeout(seconds)
            result = self._run(case, runner)
            kept(result.status is case.ends_as, f"{seconds} leaves the default limit", f"the task ended so: {result}")

    def test_it_runs_once(self, case: RunnerCase) -> None:
        runner = self._ready(case, case.good)
        self._run(case, runner, clean=False)
        try:
            runner.execute(case.context)
        except InvalidTransition:
            return
        finally:
            runner.cleanup()
        broken("Runner.execute is called once", "it ran a second time")

    def test_a_wish_after_its_end_changes_nothing(self, case: RunnerCase) -> None:
        runner = self._ready(case, case.good)
        result = self._run(case, runner)
        runner.stop()
        runner.kill()
        kept(runner.status is result.status, "a stop after the end changes nothing", f"it is {runner.status} now")

    # -- its end -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("how", ["stop", "kill"])
    def test_a_run_is_ended_when_it_is_asked_to(self, case: RunnerCase, how: str) -> None:
        runner, ended = self._begun(case)
        wish = threading.Thread(target=lambda: [getattr(runner, how)() for _ in range(2)], daemon=True)
        wish.start()
        wish.join(self.limit)
        kept(not wish.is_alive(), f"Runner.{how} waits for nothing", f"after {self.limit:g} s it had not returned")
        self._ended_by(self._wait(runner, ended, f"Runner.{how} ends the run"), how)

    def test_a_kill_after_a_stop_is_no_error(self, case: RunnerCase) -> None:
        runner, ended = self._begun(case)
        runner.stop()
        runner.kill()
        result = self._wait(runner, ended, "a kill after a stop ends the run")
        kept(result.status is Status.STOPPED, "what was stopped is stopped", f"it ended so: {result}")

    def test_a_run_ends_when_its_time_is_over(self, case: RunnerCase) -> None:
        runner, ended = self._begun(case, timeout=0.5)
        result = self._wait(runner, ended, "a run ends when its time is over")
        came = (result.status, result.end_reason)
        kept(came == (Status.TIMEOUT, EndReason.TIMEOUT), "it ends as a time-out then", f"it ended so: {result}")

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _ready(self, case: RunnerCase, task: Texts) -> Runner:
        runner = case.make()
        kept(isinstance(runner, Runner), "it is a Runner", f"{type(runner).__name__} lacks some of its methods")
        runner.parse_args(*task)
        return runner

    def _run(self, case: RunnerCase, runner: Runner, clean: bool = True) -> Result:
        ended = self._start(case, runner)
        return self._wait(runner, ended, "Runner.execute returns the end", clean)

    def _begun(self, case: RunnerCase, timeout: float | None = None) -> tuple[Runner, list[object]]:
        if case.endless is None:
            pytest.skip("this runner has no task that only a stop ends: endless is None")
        runner = self._ready(case, case.endless)
        runner.set_timeout(timeout)
        ended = self._start(case, runner)
        if timeout is None:
            eventually(lambda: runner.status is Status.RUNNING, "Runner.status did not become running")
            threading.Event().wait(0.2)  # until it is about its work; earlier would be right too
        return runner, ended

    def _start(self, case: RunnerCase, runner: Runner) -> list[object]:
        ended: list[object] = []

        def run() -> None:
            try:
                ended.append(runner.execute(case.context))
            except BaseException as error:  # noqa: BLE001 - told by the test's own thread
                ended.append(error)

        threading.Thread(target=run, daemon=True, name="contract-run").start()
        return ended

    def _wait(self, runner: Runner, ended: list[object], promise: str, clean: bool = True) -> Result:
        try:
            eventually(lambda: bool(ended), f"broken promise: {promise}; but it still ran", 2 * self.limit)
        finally:
            if clean:
                runner.cleanup()
        kept(isinstance(ended[0], Result), promise, f"Runner.execute raised {ended[0]!r}")
        assert isinstance(ended[0], Result)
        return ended[0]

    def _ended_by(self, result: Result, how: str) -> None:
        wanted = EndReason.STOPPED if how == "stop" else EndReason.KILLED
        came = (result.status, result.end_reason)
        kept(came == (Status.STOPPED, wanted), f"a {how} ends a run as {wanted.value}", f"it ended so: {result}")
