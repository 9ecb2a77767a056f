"""The table of tasks this worker has in hand, from admission until their end is confirmed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from application.ports import Offer, Runtime
from domain.runner import CancelRequest, CancelToken
from domain.task import Task


class Admission(StrEnum):
    ADMITTED = "admitted"
    DUPLICATE = "duplicate"
    FULL = "full"
    CLOSED = "closed"


class Phase(StrEnum):
    CLAIMING = "claiming"
    RUNNING = "running"
    DELIVERING = "delivering"


@dataclass(slots=True)
class Run:
    """One task in hand. The token exists from admission on, so that no stop can be lost (C6, G26)."""

    task: Task
    offer: Offer
    token: CancelToken = field(default_factory=CancelToken)
    phase: Phase = Phase.CLAIMING
    outcome: str = ""  # what the counters say became of it, once that is told (G86)
    live_output: bool = False  # what it prints is in its log; decided by its runner
    proof: str = ""  # the token of its claim
    label: dict[str, str] = field(init=False)  # what every log line about this task carries

    def __post_init__(self) -> None:
        self.label = {"task": self.task.id, "task_name": self.task.name}


class RunTable:
    """Who is in hand, and whether more are welcome. Any thread."""

    def __init__(self, runtime: Runtime, slots: int) -> None:
        self.slots = slots
        self.on_free: Callable[[], None] = lambda: None  # told, on any thread, when a slot has become free
        self._lock = runtime.lock()
        self._runs: dict[str, Run] = {}
        self._active = 0
        self._closed_for = ""
        self.idle = runtime.event()
        self.idle.set()

    def admit(self, offer: Offer, beyond: bool = False) -> tuple[Admission, Run | None]:
        """Take the task in hand, or tell why not. ``beyond``: also without a free slot, for what will not start."""
        with self._lock:
            if offer.task.id in self._runs:
                return Admission.DUPLICATE, None
            if self._closed_for:
                return Admission.CLOSED, None
            if self._active >= self.slots and not beyond:
                return Admission.FULL, None
            run = self._runs[offer.task.id] = Run(offer.task, offer)
            self._active += 1
            self.idle.clear()
            return Admission.ADMITTED, run

    def adopt(self, task: Task) -> Run | None:
        """Take a task of a previous run in hand, ending only; None if it is in hand already."""
        with self._lock:
            if task.id in self._runs:
                return None
            run = self._runs[task.id] = Run(task, Offer(task), phase=Phase.DELIVERING)
            return run

    def enter(self, run: Run, phase: Phase) -> None:
        with self._lock:
            freed = self._frees(run) and phase is Phase.DELIVERING
            run.phase = phase
            if freed:
                self._leave()
        if freed:
            self.on_free()

    def remove(self, task_id: str, told: bool = True) -> None:
        """``told``: ``on_free`` hears of the slot."""
        with self._lock:
            run = self._runs.pop(task_id, None)
            freed = run is not None and run.phase is not Phase.DELIVERING
            if freed:
                self._leave()
        if freed and told:
            self.on_free()

    def room(self) -> int:
        """How many more tasks may be admitted now."""
        with self._lock:
            return 0 if self._closed_for else max(0, self.slots - self._active)

    def find(self, task_id: str) -> Run | None:
        with self._lock:
            return self._runs.get(task_id)

    def active(self) -> list[Run]:
        """Runs that occupy a slot: claimed or running, not merely waiting for delivery."""
        with self._lock:
            return [run for run in self._runs.values() if run.phase is not Phase.DELIVERING]

    def close(self, why: str) -> None:
        """Admit nothing more until ``reopen``."""
        with self._lock:
            self._closed_for = why

    def reopen(self) -> None:
        with self._lock:
            self._closed_for = ""

    @property
    def closed_for(self) -> str:
        return self._closed_for

    def cancel_all(self, request: CancelRequest) -> None:
        for run in self.active():
            run.token.cancel(request)

    def _frees(self, run: Run) -> bool:
        return run.phase is not Phase.DELIVERING and self._runs.get(run.task.id) is run

    def _leave(self) -> None:
        self._active -= 1
        if self._active == 0:
            self.idle.set()
