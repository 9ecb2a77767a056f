"""What runners need of the process supervisor; a second implementation may stand in for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from domain.result import EndReason
from domain.runner import CancelToken


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. ``argv[0]`` is looked up in the child's PATH; no shell is involved.

    ``environment`` is the whole environment of the child (see ``environment.child_environment``). ``log`` gets both
    streams in the order read, as bytes cut at line ends where possible, on the supervisor's thread. ``keep`` limits
    how many bytes of each stream are remembered (the first half and the last half are kept, the middle is cut).
    ``timeout`` in seconds, None for no limit. ``stdin`` is written to the child and closed; None means /dev/null.
    """

    argv: Sequence[str]
    cwd: Path | None
    environment: Mapping[str, str]
    log: Callable[[bytes], None] = lambda _: None
    keep: int = 1 << 20
    timeout: float | None = None
    grace: float = 10.0
    stdin: bytes | None = None
    task_id: str = ""
    pass_fds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended, as decided when it was decided.

    ``exit_code`` is the program's own, 128+n where signal n ended it, -1 where it never started. ``signal`` is n or 0.
    ``error`` is one short text, empty on success. ``unkillable`` holds the pids that survived KILL (state D)
    when the supervisor was closed; as long as it is open, a command with such processes does not end.
    """

    reason: EndReason
    exit_code: int
    signal: int = 0
    error: str = ""
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_cut: int = 0
    duration: float = 0.0
    unkillable: tuple[int, ...] = field(default=())


class Processes(Protocol):
    """Runs commands. One supervisor thread serves all of them."""

    def when_dead(self, tell: Callable[[BaseException], None]) -> None:
        """``tell`` hears of it if what runs commands dies by a defect, when all processes are ended. Before ``run``."""

    def run(self, command: Command, cancel: CancelToken) -> Exit:
        """Block until the command and every process it left behind are gone; never raises for what the command does.

        A cancel request before, while or after the start is honoured: polite = TERM and CONT to the tree, KILL after
        the grace; now = KILL. Its reason becomes the reason of the end unless the command had ended before. A process
        that merely holds an output pipe open delays nothing. Many threads may call at once.
        """

    def close(self) -> None:
        """Kill what still runs, join the thread; idempotent. Blocks for seconds where something cannot be killed."""
