"""The container of a run that is over: asked, then removed, however long its engine takes (G77)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from adapters.runners.container import ending as module
from adapters.runners.container.ending import LOOKS, Ending, Endings
from adapters.runners.container.request import ContainerFailed
from domain.runner import CancelRequest, CancelToken

Answer = bool | Exception


class Leaving:
    """Answers each removal as it was told; ``silent`` holds a stop until it is cancelled."""

    name = "container x"

    def __init__(self, *answers: Answer, silent: bool = False) -> None:
        self._answers, self._silent = iter(answers), silent
        self.stopping = threading.Event()
        self.asked: list[str] = []

    def stop(self, seconds: float, token: CancelToken) -> None:
        self.asked.append("stop")
        self.stopping.set()
        if self._silent:
            over = threading.Event()
            token.subscribe(lambda _: over.set())
            assert over.wait(20)
            raise ContainerFailed("cut")

    def remove(self, token: CancelToken) -> bool:
        self.asked.append("remove")
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.0,) * 5)


@pytest.fixture
def begun() -> Iterator[Callable[[Leaving, float], Ending]]:
    endings = Endings()

    def begin(leaving: Leaving, grace: float) -> Ending:
        ending = Ending(leaving, grace)
        endings.begin(ending)
        return ending

    yield begin
    endings.close()


Begin = Callable[[Leaving, float], Ending]


def test_it_is_asked_first_and_then_removed(begun: Begin) -> None:
    ending = begun(leaving := Leaving(True), 20.0)
    assert ending.wait()
    ending.thread.join(5)
    assert leaving.asked == ["stop", "remove"]


def test_without_grace_nobody_is_asked(begun: Begin) -> None:
    ending = begun(leaving := Leaving(True), 0.0)
    assert ending.wait()
    ending.thread.join(5)
    assert leaving.asked == ["remove"]


def test_an_engine_that_refuses_is_asked_again_and_that_is_told(begun: Begin, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "worker.container")
    ending = begun(leaving := Leaving(ContainerFailed("busy"), ContainerFailed("busy"), True), 0.0)
    assert ending.wait()
    ending.thread.join(5)
    assert leaving.asked == ["remove"] * 3
    assert [record.message for record in caplog.records] == ["container x is not removed yet: busy"] * 2


def test_what_is_not_there_is_looked_for_again_because_the_engine_may_still_make_it(begun: Begin) -> None:
    ending = begun(leaving := Leaving(*[False] * 9), 0.0)
    assert ending.wait()
    ending.thread.join(5)
    assert leaving.asked == ["remove"] * LOOKS


def test_hurry_ends_the_asking_and_removes_at_once(begun: Begin) -> None:
    ending = begun(leaving := Leaving(True, silent=True), 600.0)
    assert leaving.stopping.wait(5)
    ending.hurry()
    ending.hurry()
    assert ending.wait()
    assert leaving.asked == ["stop", "remove"]


def test_close_leaves_it_to_the_next_start(begun: Begin, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "worker.container")
    ending = begun(leaving := Leaving(silent=True), 600.0)
    assert leaving.stopping.wait(5)
    ending.close()
    ending.thread.join(5)
    assert (leaving.asked, ending.thread.is_alive(), caplog.text) == (["stop"], False, "")


def test_an_engine_that_never_does_it_is_told_at_last(begun: Begin, caplog: pytest.LogCaptureFixture) -> None:
    ending = begun(Leaving(*[ContainerFailed("busy")] * 5), 0.0)
    ending.thread.join(5)
    assert "container x may still be there; the next start of the worker removes it" in caplog.text


def test_all_that_are_open_end_together_and_a_second_time_is_nothing() -> None:
    endings, leaving = Endings(), [Leaving(silent=True) for _ in range(3)]
    opened = [Ending(one, 600.0) for one in leaving]
    for one in opened:
        endings.begin(one)
    endings.close()
    endings.close()
    assert [one.thread.is_alive() for one in opened] == [False] * 3


def test_a_cancel_of_the_removal_comes_with_close() -> None:
    heard: list[CancelRequest] = []

    class Held(Leaving):
        def remove(self, token: CancelToken) -> bool:
            over = threading.Event()
            token.subscribe(heard.append)
            token.subscribe(lambda _: over.set())
            self.stopping.set()
            assert over.wait(20)
            raise ContainerFailed("cut")

    endings = Endings()
    endings.begin(Ending(held := Held(), 0.0))
    assert held.stopping.wait(5)
    endings.close()
    assert len(heard) == 1
