"""Scripted faults of the modelled server: which call goes wrong, and how."""

from __future__ import annotations

import fnmatch
from collections import Counter
from dataclasses import dataclass

# How a call goes wrong. "lost" applies the request and loses the answer; "refuse" answers without applying;
# "discard" takes a message and forgets it; "drop" closes the connection instead; "slow" is late, but good; "torn" is
# given up by its client while the server is about it, which destroys a log (protocol 6.5).
LOST, REFUSE, DISCARD, DROP, GARBAGE, SLOW, TORN = "lost", "refuse", "discard", "drop", "garbage", "slow", "torn"


@dataclass(frozen=True, slots=True)
class Fault:
    """``where`` is a pattern over ``endpoint key`` (``lock/acquire *``, ``update *``); ``nth`` counts matches from 1.

    ``nth`` 0 means every one; ``every`` n means each nth. ``status`` is the HTTP status of a refusal, ``delay`` is
    seconds before the answer.
    """

    where: str
    kind: str = REFUSE
    nth: int = 0
    every: int = 0
    status: int = 500
    delay: float = 0.0


class Faults:
    def __init__(self) -> None:
        self._rules: list[Fault] = []
        self._seen: Counter[Fault] = Counter()

    def add(self, fault: Fault) -> None:
        self._rules.append(fault)

    def clear(self) -> None:
        self._rules.clear()

    def next(self, call: str) -> Fault | None:
        """The fault that this call meets, None for a good one. Counts the call."""
        hit = None
        for rule in self._rules:
            if not fnmatch.fnmatchcase(call, rule.where):
                continue
            self._seen[rule] += 1
            count = self._seen[rule]
            if (
                (rule.nth and count == rule.nth)
                or (rule.every and count % rule.every == 0)
                or not (rule.nth or rule.every)
            ):
                hit = hit or rule
        return hit
