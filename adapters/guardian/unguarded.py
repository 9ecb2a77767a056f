"""The Warden of a worker that runs without a guardian."""

from __future__ import annotations


class NoWarden:
    """Nobody watches: the worker's own lease keeper is all there is."""

    def beat(self) -> None: ...
    def lease(self, task_id: str, deadline: float) -> None: ...
    def ended(self, task_id: str) -> None: ...
