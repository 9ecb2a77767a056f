"""Five hundred workers come back after an outage (G46)."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from adapters.testkit.simulation import Simulation
from application.backoff import HEALTHY_AFTER, Backoff

WORKERS = 500
CAP = 30.0
OUTAGE = 600.0  # seconds


def tries(seed: int) -> list[list[float]]:
    """When each worker tries, from the moment at which the server went away to its first success."""
    world = Simulation(seed)
    found = []
    for number in range(WORKERS):
        backoff = Backoff(world.node(f"w{number}"), 1.0, CAP)
        moments = [backoff.next_delay()]
        while moments[-1] < OUTAGE:
            moments.append(moments[-1] + backoff.next_delay())
        found.append(moments)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_herd_comes_back_spread_out_and_soon(seed: int) -> None:
    back = [moments[-1] - OUTAGE for moments in tries(seed)]
    assert max(back) <= CAP + 5.0
    per_slot = Counter(int(moment * 10) for moment in back)
    mean = WORKERS / (CAP * 10)
    assert max(per_slot.values()) <= 5 * mean


@pytest.mark.parametrize("seed", range(5))
def test_delays_are_uniform_up_to_the_cap(seed: int) -> None:
    """Kolmogorov and Smirnov; 1.95 is their bound for one wrong alarm in a thousand."""
    late = []
    for moments in tries(seed):
        late += [after - before for before, after in pairwise(moments[8:])]
    late.sort()
    count = len(late)
    distance = max(abs(delay / CAP - rank / count) for rank, delay in enumerate(late))
    assert count > 10_000
    assert distance <= 1.95 / count**0.5


def test_nobody_waits_longer_than_the_cap_nor_less_than_the_server_wishes() -> None:
    backoff = Backoff(Simulation(1).node("w"), 1.0, CAP)
    assert all(backoff.next_delay() <= CAP for _ in range(2000))
    assert all(backoff.next_delay(at_least=45.0) == 45.0 for _ in range(100))
    assert HEALTHY_AFTER == 60.0
