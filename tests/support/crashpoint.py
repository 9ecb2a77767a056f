"""Kill a program at its k-th system call, or let that call fail: strace does both (H7).

The program prints the line ``begin`` when it is ready, waits for a line on its standard input, and then does its work;
``HANDSHAKE`` is the Python text for that. strace is attached in between, so calls of the interpreter's start do not
count, nor do those of other programs that it starts. A first run counts the calls; then each k is one try. strace
counts per thread, so a k means every thread's k-th call.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LIMIT = 60.0  # seconds that one try may take
CALL = re.compile(r"^(\d+)\s+(\w+)\(")
HANDSHAKE = 'import os; os.write(1, b"begin\\n"); os.read(0, 1)\n'


@dataclass(frozen=True, slots=True)
class Point:
    """The ``number``-th time that a thread makes the system call ``call``; ``on``: and every time after it."""

    call: str
    number: int
    on: bool = False

    def __str__(self) -> str:
        return f"{self.call}#{self.number}"

    @property
    def when(self) -> str:
        return f"when={self.number}{'+' * self.on}"


@dataclass(frozen=True, slots=True)
class Tried:
    """How a try ended. ``lines`` is what the program printed after ``begin``; ``trace`` is strace's account."""

    status: int
    lines: list[str]
    errors: str
    trace: list[str]


@cache
def missing() -> str:
    """Why system calls cannot be injected into here, and what would help; empty if they can."""
    if shutil.which("strace") is None:
        return "strace is not installed: make peers"
    with subprocess.Popen(["sleep", "60"]) as process:
        probe = ["strace", "-qq", "-p", str(process.pid), "-e", "inject=none:error=EIO"]
        with subprocess.Popen(probe, stderr=subprocess.PIPE, text=True) as strace:
            attached = _attached(process.pid, strace)
            process.kill()
            _, errors = strace.communicate()
    return "" if attached else f"strace may not attach here; run as root, or allow ptrace: {errors.strip()}"


def _attached(pid: int, strace: subprocess.Popen[str]) -> bool:
    """Wait until ``strace`` traces the process; False if it ends before."""
    pause = threading.Event()
    while strace.poll() is None:
        if "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text():
            return True
        pause.wait(0.002)
    return False


class CrashPoints:
    """One program, run again and again.

    ``calls`` are the system calls of interest. ``scratch`` holds the traces.
    """

    def __init__(
        self, argv: Sequence[str], calls: Iterable[str], scratch: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._argv = list(argv)
        self._calls = tuple(calls)
        self._scratch = scratch
        self._environment = dict(os.environ if environment is None else environment)

    def points(self) -> list[Point]:
        """Every point of one undisturbed run, in its order."""
        tried = self.run()
        if tried.status != 0:
            raise RuntimeError(f"it fails undisturbed: {tried.errors}")
        return list(points_of(tried.trace, self._calls))

    def kill(self, point: Point) -> Tried:
        """SIGKILL as the call begins, so that it has not happened."""
        return self.run(f"inject={point.call}:signal=SIGKILL:{point.when}")

    def fail(self, point: Point, error: str) -> Tried:
        """The call does nothing and returns ``error`` (``EIO``, ``ENOSPC``, ...)."""
        return self.run(f"inject={point.call}:error={error}:{point.when}")

    def run(self, injection: str = "") -> Tried:
        """Raises subprocess.TimeoutExpired if the program hangs; it is killed then."""
        trace = self._scratch / "trace"
        with subprocess.Popen(
            self._argv,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            if process.stdout.readline() != "begin\n":
                raise RuntimeError(f"it did not begin: {process.communicate()[1]}")
            command = ["strace", "-f", "-qq", "-y", "-b", "execve", "-o", str(trace), "-p", str(process.pid)]
            command += ["-e", f"trace={','.join({*self._calls, 'write'})}"] + (["-e", injection] if injection else [])
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
                try:
                    if not _attached(process.pid, strace):
                        raise RuntimeError(f"strace did not attach: {strace.communicate()[1]}")
                    out, errors = process.communicate("\n", timeout=LIMIT)
                finally:
                    process.kill()
        return Tried(process.returncode, out.splitlines(), errors, trace.read_text(errors="replace").splitlines())


def points_of(trace: Iterable[str], calls: Iterable[str]) -> Iterator[Point]:
    """The points of a trace, each once."""
    wanted, seen = frozenset(calls), set()
    counts: Counter[tuple[str, str]] = Counter()
    for line in trace:
        match = CALL.match(line)
        if match is None:
            continue
        thread, call = match.groups()
        counts[thread, call] += 1
        point = Point(call, counts[thread, call])
        if call in wanted and point not in seen:
            seen.add(point)
            yield point


def few(points: Sequence[Point], count: int) -> list[Point]:
    """Some points for the short form of a test: half of them the same each time, half of them new."""
    fixed = random.Random(1).sample(points, min(len(points), count // 2))
    return list(dict.fromkeys([*fixed, *random.sample(points, min(len(points), count - count // 2))]))
