"""Conservation: every offer has one outcome, and every task taken in hand is settled or still waits (G86)."""

from __future__ import annotations

from collections.abc import Mapping

TAKEN = ("executed", "handed_back", "not_started")  # outcomes of offers that were taken in hand
OUTCOMES = (*TAKEN, "duplicate", "refused", "not_mine", "stale", "not_claimed")


def unaccounted(seen: Mapping[str, float], waiting: int) -> list[str]:
    """What does not add up in the counters while no task runs; ``waiting`` tasks are under way to the server."""
    found = []
    received, told = _of(seen, "events_received"), {outcome: _of(seen, f"events_{outcome}") for outcome in OUTCOMES}
    if received != sum(told.values()):
        found.append(f"{received} offers received, but {sum(told.values())} accounted for")
    taken, settled = sum(told[outcome] for outcome in TAKEN) + _of(seen, "tasks_adopted"), _of(seen, "tasks_settled")
    if taken != settled + waiting:
        found.append(f"{taken} tasks taken in hand, but {settled} settled and {waiting} waiting")
    return found


def summary(seen: Mapping[str, float], waiting: int) -> str:
    """One run of the worker in a line, for the log."""
    outcomes = ", ".join(f"{_of(seen, f'events_{outcome}')} {outcome.replace('_', ' ')}" for outcome in OUTCOMES)
    rest = f"{_of(seen, 'tasks_adopted')} recovered from the previous run, {_of(seen, 'tasks_settled')} settled"
    return f"{_of(seen, 'events_received')} offers: {outcomes}; {rest}, {waiting} kept for the next start"


def _of(seen: Mapping[str, float], name: str) -> int:
    return int(seen.get(name, 0))
