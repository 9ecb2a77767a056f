"""Kill a program at its k-th system call, or let that call fail: strace does both (H7).

A first run counts the calls; then each k is one try. strace counts per thread, so a k means the first thread that makes
so many calls. Calls made before the program prints a line ``begin`` are the interpreter's own start and are left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT = 60.0  # seconds that one try may take
CALL = re.compile(r"^(\d+)\s+(\w+)\(")
BEGIN = '"begin\\n"'


@dataclass(frozen=True, slots=True)
class Point:
    """The ``number``-th time that a thread makes the system call ``call``."""

    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.call}#{self.number}"


@dataclass(frozen=True, slots=True)
class Tried:
    """How a try ended. ``lines`` is what the program printed; ``trace`` is strace's account with paths."""

    status: int
    lines: list[str]
    errors: str
    trace: list[str]


def missing() -> str:
    """Why system calls cannot be injected into here, and what would help; empty if they can."""
    if shutil.which("strace") is None:
        return "strace is not installed: make peers"
    probe = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=1", "true"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"strace may not trace here (ptrace is forbidden): {done.stderr.strip()}"


class CrashPoints:
    """One program, run again and again: ``argv`` must print the line ``begin`` and then do its work.

    ``calls`` are the system calls of interest. ``scratch`` holds the traces. ``limit`` in seconds per try.
    """

    def __init__(
        self, argv: Sequence[str], calls: Iterable[str], scratch: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._argv = list(argv)
        self._calls = tuple(calls)
        self._scratch = scratch
        self._environment = dict(os.environ if environment is None else environment)

    def points(self) -> list[Point]:
        """Every point of one undisturbed run, in the order of the run, one for each thread's count."""
        tried = self.run()
        if tried.status != 0:
            raise RuntimeError(f"it fails undisturbed: {tried.errors}")
        return list(points_of(tried.trace, self._calls))

    def kill(self, point: Point) -> Tried:
        """SIGKILL as the call begins, so that it has not happened."""
        return self.run(f"inject={point.call}:signal=SIGKILL:when={point.number}")

    def fail(self, point: Point, error: str) -> Tried:
        """The call does nothing and returns ``error`` (``EIO``, ``ENOSPC``, ...)."""
        return self.run(f"inject={point.call}:error={error}:when={point.number}")

    def run(self, injection: str = "") -> Tried:
        """Raises subprocess.TimeoutExpired if the program hangs."""
        trace = self._scratch / "trace"
        traced = ",".join({*self._calls, "write"})
        command = ["strace", "-f", "-qq", "-y", "-s", "64", "--seccomp-bpf", "-o", str(trace), "-e", f"trace={traced}"]
        if injection:
            command += ["-e", injection]
        with subprocess.Popen(
            [*command, *self._argv],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                out, errors = process.communicate(timeout=LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Tried(process.returncode, out.splitlines(), errors, trace.read_text(errors="replace").splitlines())


def points_of(trace: Iterable[str], calls: Iterable[str]) -> Iterator[Point]:
    """The points of a trace that lie behind the line ``begin``, each once."""
    wanted, seen = frozenset(calls), set()
    counts: Counter[tuple[str, str]] = Counter()
    begun = False
    for line in trace:
        match = CALL.match(line)
        if match is None:
            continue
        begun = begun or BEGIN in line
        thread, call = match.groups()
        counts[thread, call] += 1
        point = Point(call, counts[thread, call])
        if begun and BEGIN not in line and call in wanted and point not in seen:
            seen.add(point)
            yield point
