"""The output of tasks in the worker's own log: without a server it is where people look."""

from __future__ import annotations

import logging

from adapters.local.runs import label
from adapters.local.store import Run

output = logging.getLogger("worker.output")

LONGEST = 4096  # characters of a line that is not at its end; then it is shown as far as it is


class Echo:
    """A line of output is one line of the log. Only a line feed ends it, and of one that is written over by carriage
    returns, as progress is shown, the last state counts. Not thread-safe."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}

    def show(self, run: Run, text: str) -> None:
        """More of its output; what has no line feed yet waits for it, unless the run is over."""
        lines = (self._open.pop(run.id, "") + text).split("\n")
        rest = _state(lines.pop(), whole=False)
        if rest and run.ended is None and len(rest) <= LONGEST:
            self._open[run.id] = rest
        elif rest:
            lines.append(rest)
        for line in lines:
            output.info("| %s", _state(line), extra=label(run))

    def end(self, run: Run) -> None:
        """The run is over: what its last line says is shown. Output may still come."""
        if rest := self._open.pop(run.id, ""):
            output.info("| %s", _state(rest), extra=label(run))


def _state(line: str, whole: bool = True) -> str:
    """What a terminal shows of the line. A last carriage return stays where more of the line may come: until something
    is written over it, or the line feed of a CR LF comes, what stands before it is shown."""
    shown = line.rstrip("\r")
    return shown.rpartition("\r")[2] + ("" if whole or shown == line else "\r")
