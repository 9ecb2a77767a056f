"""The real program, joined to a simulated server: for tests that kill it, stop it and look at what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from adapters.testkit.apiserver import SimulatedServer

ROOT = Path(__file__).resolve().parents[2]


class Program:
    """``python bootstrap.py run`` in ``directory``; ``environment`` is added to a small one of its own."""

    def __init__(
        self, server: SimulatedServer, directory: Path, environment: Mapping[str, str] | None = None, /,
        python: str = sys.executable, user: int = 0, **settings: object,
    ) -> None:  # fmt: skip
        self.server = server
        self.directory = directory
        self.user = user
        self.command = [python, str(ROOT / "bootstrap.py")]
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        kept |= {"API_SERVER_URL": server.url, "API_AUTH_TOKEN": server.model.token}
        self.environment = kept | dict(environment or {})
        self.settings = {
            "worker": {"name": f"w-{directory.name}"[:80]},
            "execution": {"grace": 0.5, "drain": 1},
            "websocket": {"reconnect_cap": 0.5},
        } | settings
        self.log = directory / "worker.log"

    def __enter__(self) -> Program:
        (self.directory / "config_worker.json").write_text(json.dumps(self.settings))
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> None:
        """Returns when the server has the worker's registration."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.directory, env=self.environment, stderr=log,
                user=self.user or None, group=self.user or None, extra_groups=[] if self.user else None,
            )  # fmt: skip
        self.wait_connected()

    def wait_connected(self) -> None:
        deadline = time.monotonic() + 20
        while not any(it.worker_id and it.open for it in list(self.server.model.connections)):
            assert time.monotonic() < deadline, self.log.read_text()
            threading.Event().wait(0.02)

    def worker(self) -> int:
        """The process id of the guardian's child."""
        deadline = time.monotonic() + 10
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        while not (pids := children.read_text().split()):
            assert time.monotonic() < deadline
            threading.Event().wait(0.02)
        return int(pids[0])

    def crash(self) -> None:
        """KILL the worker and wait until its guardian has started the next one and that is registered."""
        victim = self.worker()
        os.kill(victim, signal.SIGKILL)
        while self.worker() == victim:
            threading.Event().wait(0.01)
        self.wait_connected()

    def end(self) -> int:
        """SIGTERM, and the exit status. Raises AssertionError where the log tells of a defect."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        assert "a defect of the worker" not in self.log.read_text()
        return status
