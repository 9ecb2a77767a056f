"""Standard error, written by a thread of its own: whoever logs must not wait for whoever reads.

A reader that stops (Ctrl-S, ``| less``, a stuck log collector) would otherwise stop each thread that logs a line, and
with the threads the renewing of locks.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import threading

LINES = 10_000  # how many wait for a reader; more are dropped and counted
FLUSH = 2.0  # seconds that the end of the program waits for a reader, once for room and once for the rest


class LineWriter:
    """The stream of a logging handler on ``descriptor``. Any thread; nothing here blocks but ``close``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: queue.Queue[str | None] = queue.Queue(LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="log-lines", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self._dropped += 1  # the handler calls with its lock held

    def flush(self) -> None:
        """What is written is under way."""

    def close(self) -> None:
        """Wait until all is written, twice FLUSH seconds at most. Idempotent."""
        try:
            self._lines.put(None, timeout=FLUSH)
            self._thread.join(FLUSH)
        except queue.Full:
            pass  # nobody reads: the rest is lost

    def _run(self) -> None:
        told = 0
        while (text := self._lines.get()) is not None:
            self._put(text.encode("utf-8", "backslashreplace"))
            if (dropped := self._dropped) > told and self._lines.qsize() < LINES // 2:  # there is room to tell it
                logging.getLogger("worker").warning(
                    "%d lines of this log are missing: nobody read them in time", dropped - told
                )
                told = dropped

    def _put(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # somebody has made it so
                select.select([], [self._descriptor], [])
            except OSError:
                return  # the reader is gone
