"""One container of the fake engine: its command is a local process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


class Problem(Exception):
    """An answer of the engine that is none of success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Box:
    """``body`` is what it was asked for with. ``gone`` is told when it has ended and shall be removed by itself."""

    id: str
    name: str
    body: dict[str, Any]
    state: str = "created"
    code: int = 0
    output: list[tuple[int, str, bytes]] = field(default_factory=list)  # stream, time, line
    process: subprocess.Popen[bytes] | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    gone: Callable[[], object] = lambda: None

    def start(self) -> None:
        argv = [*(self.body.get("Entrypoint") or []), *(self.body.get("Cmd") or ["true"])]
        self.state = "running"
        self.ended.clear()
        try:
            self.process = run(argv, self.body.get("Env") or [])
        except OSError as error:
            self.state = "created"
            raise Problem(400, refusal(argv[0], error)) from None
        threading.Thread(target=self._follow, args=(self.process,), daemon=True).start()

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        readers = [
            threading.Thread(target=self._read, args=(number, pipe), daemon=True)
            for number, pipe in ((1, process.stdout), (2, process.stderr))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        code = process.wait()
        self.code = code if code >= 0 else 128 - code
        self.state = "exited"
        self.ended.set()
        self.gone()

    def _read(self, number: int, pipe: Any) -> None:
        for line in pipe:
            self.output.append((number, datetime.now(UTC).isoformat().replace("+00:00", "Z"), line))
        pipe.close()

    def signal(self, number: int) -> None:
        if self.process is not None and not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):  # dead already, which its follower has yet to notice
                os.killpg(self.process.pid, number)

    def stop(self, seconds: float) -> None:
        self.signal(signal.SIGTERM)
        if not self.ended.wait(seconds):
            self.signal(signal.SIGKILL)
            self.ended.wait(5)

    def used(self) -> int:
        """Nanoseconds of processor, of the process and of those below it that have ended; 0 when it does not run."""
        if self.process is None or self.ended.is_set():
            return 0
        with open(f"/proc/{self.process.pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
        return sum(map(int, words[11:15])) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


def run(argv: list[str], environment: list[str]) -> subprocess.Popen[bytes]:
    """Raises OSError."""
    variables = {"PATH": os.environ["PATH"]} | dict(item.split("=", 1) for item in environment)
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0, env=variables
    )


def refusal(program: str, error: OSError) -> str:
    """As runc says it."""
    why = (error.strerror or "").lower()
    return f'OCI runtime create failed: unable to start container process: exec: "{program}": stat {program}: {why}'
