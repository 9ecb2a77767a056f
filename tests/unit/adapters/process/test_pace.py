"""The pace of reading, on a clock of its own."""

from __future__ import annotations

from adapters.process.pace import CREDIT, SHARE, TRICKLE, Pace
from tests.support.clock import Clock


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
