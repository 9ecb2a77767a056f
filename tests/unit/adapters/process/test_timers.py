"""The heap of deadlines, on a clock of its own."""

from __future__ import annotations

import weakref

from hypothesis import given
from hypothesis import strategies as st

from adapters.process.timers import LONGEST, SPARE, Timers
from tests.support.clock import Clock

DAY = 86_400.0


class Held:
    def call(self) -> None: ...


def test_no_pause_is_longer_than_a_system_call_can_wait() -> None:
    timers = Timers(Clock())
    assert timers.pause() == LONGEST
    timers.at(30 * DAY, lambda: None)
    timers.at(1e300, lambda: None)
    assert timers.pause() == LONGEST
    timers.at(0.5, lambda: None)
    assert timers.pause() == 0.5
    timers.at(-1.0, lambda: None)
    assert timers.pause() == 0.0


@given(
    st.lists(st.tuples(st.integers(0, 40).map(lambda n: n / 8), st.booleans()), max_size=300),
    st.lists(st.integers(0, 16).map(lambda n: n / 8), max_size=10),
)
def test_each_call_comes_once_in_its_order_unless_it_was_cancelled(
    delays: list[tuple[float, bool]], steps: list[float]
) -> None:
    clock, seen = Clock(), list[float]()
    timers = Timers(clock)
    made = [(timers.at(delay, lambda delay=delay: seen.append(delay)), drop) for delay, drop in delays]  # type: ignore[misc]
    for timer, drop in made:
        if drop:
            timer.cancel()
            timer.cancel()
    wanted = sorted(delay for delay, drop in delays if not drop)
    for step in [*steps, 5.0]:
        clock.now += step
        for function in timers.due():
            function()
        assert seen == [delay for delay in wanted if 1000.0 + delay <= clock.now]
    assert len(timers) == 0


def test_a_cancelled_timer_holds_nothing_and_its_place_is_given_back() -> None:
    timers, held = Timers(Clock()), Held()
    gone = weakref.ref(held)
    timer = timers.at(DAY, held.call)
    timer.cancel()
    del held
    assert gone() is None
    keep = timers.at(DAY, lambda: None)
    for _ in range(10_000):
        timers.at(DAY, lambda: None).cancel()
    assert len(timers) <= 2 * SPARE + 2
    assert keep.pending


def test_a_call_may_set_and_cancel_others() -> None:
    clock, seen = Clock(), list[str]()
    timers = Timers(clock)
    second = timers.at(2.0, lambda: seen.append("second"))

    def first() -> None:
        seen.append("first")
        second.cancel()
        timers.at(0.0, lambda: seen.append("third"))

    timers.at(1.0, first)
    clock.now += 3.0
    for function in timers.due():
        function()
    assert seen == ["first", "third"]
