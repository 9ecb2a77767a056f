"""The life of a worker as a service: it works until a signal, a broken loop or a lost guardian says otherwise."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from application.ports import Watchdog
from application.worker import Worker

log = logging.getLogger("worker")

LOOK = 0.5  # seconds between two looks at what is asked from outside
DEFECT = 70  # exit status where a loop died: the guardian starts the worker anew


class SignalFlags(Protocol):
    """What signals have asked for. Read and waited on by the main thread only."""

    @property
    def end(self) -> bool:
        """End in order: no new tasks, wait for those that run."""

    @property
    def force(self) -> bool:
        """End without waiting."""

    def take_stacks(self) -> bool:
        """Whether the stacks of all threads were asked for since the last call."""

    def wait(self, seconds: float) -> None:
        """Return at the next signal, or when the time is over."""


class PauseFlag(Protocol):
    """What ``pause`` and ``resume`` left for the worker, which may have been away then."""

    def reason(self) -> str | None:
        """Why no new tasks are to be taken; None where they are."""


class Service:
    """One worker, started, watched and shut down on the calling thread."""

    def __init__(
        self, worker: Worker, signals: SignalFlags, pause: PauseFlag, watchdog: Watchdog, stacks: Callable[[], str]
    ) -> None:
        """``stacks`` tells what each thread does now."""
        self._worker = worker
        self._signals = signals
        self._pause = pause
        self._watchdog = watchdog
        self._stacks = stacks
        self._hanging = False

    def start(self) -> None:
        """Let the worker begin. Raises JournalError."""
        self._apply_pause()
        self._worker.start()

    def run(self) -> int:
        """Block until the worker, which was started, has ended; returns the exit status of the program."""
        while self._goes_on():
            self._signals.wait(LOOK)
            self._apply_pause()
            if self._signals.take_stacks():
                log.warning("asked what each thread does:\n%s", self._stacks())
            if hanging := self._worker.loops.find_hanging():
                log.critical("threads blocked: %s; restarting\n%s", ", ".join(hanging), self._stacks())
                self._hanging = True
        clean = self._worker.shutdown(lambda: self._hanging or self._signals.force)
        if self._worker.loops.failed is not None:
            return DEFECT
        return 0 if clean else 1

    def _goes_on(self) -> bool:
        if self._watchdog.lost:
            log.error("the guardian is gone: the worker ends, because nobody would end its tasks after it")
            return False
        return not self._signals.end and not self._worker.loops.broken.is_set()

    def _apply_pause(self) -> None:
        reason = self._pause.reason()
        if reason is None:
            self._worker.resume()
        else:
            self._worker.pause(reason)
