"""The heap of deadlines and the pace of reading, on a clock of their own."""

from __future__ import annotations

import weakref

from hypothesis import given
from hypothesis import strategies as st

from adapters.process.pace import CREDIT, SHARE, TRICKLE, Pace
from adapters.process.timers import LONGEST, SPARE, Timers

DAY = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


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


def test_a_line_now_and_then_is_let_come_together_with_the_next() -> None:
    clock = Clock()
    pace = Pace(clock)
    flow = pace.flow()
    clock.now += 1.0
    assert pace.rest(flow, 80, 65_536, 0.00002) == TRICKLE


def test_a_writer_that_had_to_wait_is_read_at_once_again() -> None:
    """However slow it looks: it was this reader that was late."""
    clock = Clock()
    pace = Pace(clock)
    flow = pace.flow()
    for size in (65_280, 200_000, 262_144):
        clock.now += 0.01
        assert pace.rest(flow, size, 262_144 if size > 65_536 else 65_536, 0.0001) == 0.0


def test_a_fast_writer_of_small_pieces_never_finds_its_pipe_full_of_our_doing() -> None:
    clock = Clock()
    pace = Pace(clock)
    flow, rate = pace.flow(), 60e6
    clock.now += 0.01
    pace.rest(flow, 262_144, 262_144, 0.0)  # it was, once
    for _ in range(1000):
        rest = pace.rest(flow, 80, 262_144, 0.0)
        waited = max(rest, 80 / rate)
        assert rest * rate <= 262_144 * 0.6
        clock.now += waited
        rest = pace.rest(flow, max(80, int(rate * waited)), 262_144, 0.0)
        assert rest * rate <= 262_144 * 0.6
        clock.now += max(rest, 80 / rate)


def test_who_prints_much_and_ends_is_not_slowed_and_who_never_ends_takes_its_share() -> None:
    clock = Clock()
    pace = Pace(clock)
    flow, cost, spent, rested = pace.flow(), 0.0002, 0.0, 0.0
    while not rested:
        clock.now += cost
        spent += cost
        rested = pace.rest(flow, 262_144, 262_144, cost)
    assert CREDIT <= spent <= 2 * CREDIT
    began, spent = clock.now, 0.0
    for _ in range(5000):
        clock.now += cost + rested
        spent += cost
        rested = pace.rest(flow, 262_144, 262_144, cost)
    assert abs(spent / (clock.now - began) - SHARE) < 0.02


def test_a_hundred_that_print_without_end_take_no_more_than_one() -> None:
    clock = Clock()
    pace = Pace(clock)
    flows = [pace.flow() for _ in range(100)]
    ready = dict.fromkeys(flows, clock.now)
    spent = 0.0
    for _ in range(20_000):
        flow = min(ready, key=lambda it: ready[it])
        clock.now = max(clock.now, ready[flow]) + 0.0002
        spent += 0.0002
        ready[flow] = clock.now + pace.rest(flow, 262_144, 262_144, 0.0002)
    assert spent <= CREDIT + SHARE * (clock.now - 1000.0) + 0.1
