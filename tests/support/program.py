"""The program as it is started, joined to a simulated server: also in jails, under preloads, as other users."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.testkit.apiserver import SimulatedServer

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True)
class Start:
    """How the program is started. ``prefix`` stands before its command line (a jail); ``environment`` is added to the
    little it gets otherwise; ``user`` is the uid that it runs as, 0 for one's own."""

    prefix: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable
    user: int = 0


class Program:
    """``python bootstrap.py`` in ``directory``, joined to ``server``; starts at once and waits until it is registered.

    ``settings`` are top-level keys of its settings file. A ``with`` block ends it as ``end`` does.
    """

    def __init__(self, server: SimulatedServer, directory: Path, how: Start | None = None, /, **settings: Any) -> None:
        self.server = server
        self.directory = directory
        self._how = how or Start()
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        kept |= {"API_SERVER_URL": server.url, "API_AUTH_TOKEN": server.model.token}
        self.environment = kept | dict(self._how.environment)
        self.command_line = [*self._how.prefix, self._how.python, str(ROOT / "bootstrap.py")]
        (directory / "config_worker.json").write_text(
            json.dumps(
                {
                    "worker": {"name": f"w-{directory.name}"[:80]},
                    "execution": {"grace": 0.5, "drain": 3},
                    "websocket": {"reconnect_cap": 0.5},
                }
                | settings
            )
        )
        self.log = directory / "worker.log"
        self.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> None:
        user = self._how.user or None
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command_line, cwd=self.directory, env=self.environment, stderr=log,
                user=user, group=user, extra_groups=[] if user else None,
            )  # fmt: skip
        self.wait_connected()

    def wait_connected(self) -> None:
        """Raises TimeoutError with the program's log, and ends the program then."""

        def connected() -> bool:
            if self.process.poll() is not None:
                raise TimeoutError(f"it ended with {self.process.returncode}: {self._tail()}")
            return any(it.worker_id and it.open for it in list(self.server.model.connections))

        try:
            wait_until(connected, self._tail)
        except TimeoutError:
            self.crash()
            raise

    def guardian(self) -> int:
        """The pid of the guardian, as this process sees it."""
        if not self._how.prefix:
            return self.process.pid
        # Not by /proc/PID/exe: it shows the guardian's to root alone.
        itself = (
            Path(f"/proc/{self.process.pid}/cmdline").read_bytes().startswith(os.fsencode(self._how.python) + b"\0")
        )
        return self.process.pid if itself else self._only_child(self.process.pid)

    def worker(self) -> int:
        """The pid of the guardian's child, as this process sees it."""
        return self._only_child(self.guardian())

    def command(self, *words: str) -> str:
        """Another command of the program, as an operator gives it in the same directory."""
        command = [sys.executable, str(ROOT / "bootstrap.py"), *words]
        return subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=True).stdout

    def end(self) -> int:
        """SIGTERM; its exit status. Raises AssertionError where its counters do not add up (G86)."""
        if self.process.poll() is None:
            os.kill(self.guardian(), signal.SIGTERM)
        status = self.process.wait(30)
        if "a defect of the worker" in (text := self.log.read_text()):
            raise AssertionError(text)
        return status

    def crash(self) -> None:
        """SIGKILL for guardian and worker at once; idempotent."""
        if self.process.poll() is None:
            os.kill(self.guardian(), signal.SIGKILL)
        self.process.wait(30)

    def crash_worker(self) -> None:
        """SIGKILL for the worker alone; returns when its guardian has started the next one and that is registered."""
        victim = self.worker()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: self.worker() != victim, self._tail)
        self.wait_connected()

    def _only_child(self, pid: int) -> int:
        children: list[str] = []

        def look() -> bool:
            children[:] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return bool(children)

        wait_until(look, self._tail)
        return int(children[0])

    def _tail(self) -> str:
        return self.log.read_text()[-3000:]


def wait_until(what: Callable[[], object], of: str | Callable[[], str], seconds: float = 20.0) -> None:
    """Block until ``what()`` is true. Raises TimeoutError that names ``of``."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(of if isinstance(of, str) else of())
        pause.wait(0.02)
