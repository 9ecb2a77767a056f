"""What signals ask of the worker, without locks: a handler may interrupt whoever holds one, and would wait for ever."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from typing import Any


class SignalFlags:
    """TERM, INT and HUP ask to ``end``, a second one to ``force`` it; USR1 asks for the stacks of all threads.

    Made and waited on by the main thread, once in a process; the flags may be read by any thread.
    """

    def __init__(self) -> None:
        self.end = False
        self.force = False
        self._stacks = False
        self._reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        signal.signal(signal.SIGUSR1, self._tell)

    def wait(self, seconds: float) -> None:
        """Return at the next signal, or when the time is over."""
        select.select([self._reading], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._reading, 512)

    def take_stacks(self) -> bool:
        if not self._stacks:
            return False
        self._stacks = False  # only where it was set: a signal between the two would be lost
        return True

    def _end(self, *_: Any) -> None:
        self.force = self.end
        self.end = True

    def _tell(self, *_: Any) -> None:
        self._stacks = True
