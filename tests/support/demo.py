"""Ten sample tasks, one of each category, run by a real worker against the simulated API server: ``make demo``.

The worker is the program itself, in a process and a state directory of its own. What its tasks talk to is real where
this machine has it (see ``demo_tasks``), and each task tells. Ends by itself; exit status 0 only if every task ended
as expected, and nothing is left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from adapters.testkit.apiserver import PREFIX, SimulatedServer
from adapters.testkit.model import approvals
from tests.support.demo_tasks import Peers, Sample
from tests.support.demo_view import Ended, View

ROOT = Path(__file__).resolve().parent.parent.parent
ENDS = ("success", "failed", "error", "timeout", "stopped", "canceled")
CATEGORIES = (
    "command", "default", "script", "http", "database", "file", "git", "container", "message", "approval",
)  # fmt: skip
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
PATIENCE = 30.0  # seconds until a task that has not ended counts as failed
LOG_LAG = 5.0  # seconds that the last lines of a log may come after the end


class Stuck(Exception):
    """The worker ended or never came."""


class Worker:
    """The program as a person starts it, with its settings, state and log below ``root``."""

    def __init__(self, root: Path, server: SimulatedServer, ca_file: Path) -> None:
        self.log = root / "worker.log"
        settings = {
            "state_dir": str(root / "state"),
            "worker": {"name": "demo", "working_dir": str(root), "tasks": list(CATEGORIES)},
            "server": {"api_url": f"{server.url}{PREFIX}", "auth_token": server.model.token},
            "runners": {"ca_file": str(ca_file), "file_roots": [str(root)]},
            "execution": {"grace": 2, "drain": 5},
        }
        (root / "demo.json").write_text(json.dumps(settings))
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "bootstrap.py"), "--config", str(root / "demo.json")],
                cwd=root, env=kept | {"PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                process_group=0,
            )  # fmt: skip
        self.pid = self._process.pid

    def check(self) -> None:
        """Raises Stuck with the worker's own words if it has ended."""
        if self._process.poll() is not None:
            raise Stuck(f"the worker ended with status {self._process.returncode}:\n{self.words()}")

    def words(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def end(self) -> int:
        """Ask it to end, as Ctrl-C does; returns its exit status."""
        for number, patience in ((signal.SIGTERM, 20), (signal.SIGTERM, 15), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.wait(patience)
        return self._process.wait()


def run(view: View, wanted: Sequence[str] = CATEGORIES) -> int:
    """Run the samples of these categories and show them; returns the exit status."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        # Not TMPDIR: the fake engine's socket has a path of at most 107 bytes.
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cronjob-demo-", dir="/tmp")))
        server = stack.enter_context(SimulatedServer())
        peers = Peers(root, stack)
        samples = [getattr(peers, category)() for category in wanted]
        with server.guard:
            server.model.credentials |= peers.credentials
        worker = Worker(root, server, peers.ca_file)
        stack.callback(worker.end)
        view.note("worker", f"real: python bootstrap.py, process {worker.pid}, in {root}")
        view.note("server", f"fake: the simulated API server on {server.url}{PREFIX}")
        try:
            ends = list(_show(view, server, worker, samples))
        except Stuck as stuck:
            view.line(view.paint(str(stuck), "red"))
            return 1
        code = worker.end()
        return _sum_up(view, ends, code, time.monotonic() - began)


def _show(view: View, server: SimulatedServer, worker: Worker, samples: Sequence[Sample]) -> Iterator[Ended]:
    pause = server.runtime.event()
    deadline = time.monotonic() + PATIENCE
    while not any(connection.worker_id for connection in list(server.model.connections)):
        worker.check()
        if time.monotonic() > deadline:
            raise Stuck(f"the worker did not come within {PATIENCE:g} seconds:\n{worker.words()}")
        pause.wait(0.02)
    known = [server.add_task(**sample.row) for sample in samples]
    server.offer(*known)
    for number, (task_id, sample) in enumerate(zip(known, samples, strict=True), 1):
        ended = _await(server, worker, task_id, sample)
        view.task(number, ended)
        yield ended


def _await(server: SimulatedServer, worker: Worker, task_id: str, sample: Sample) -> Ended:
    """The task when it has ended, with its log as far as that came within LOG_LAG."""
    pause, deadline, lag = server.runtime.event(), time.monotonic() + PATIENCE, 0.0
    while time.monotonic() < deadline:
        worker.check()
        _say_yes(server, task_id)
        row, log = server.task(task_id), server.log(task_id)
        if row["status"] in ENDS:
            lag = lag or time.monotonic() + LOG_LAG
            if sample.logs in log or time.monotonic() > lag:
                break
        pause.wait(0.02)
    row, log = server.task(task_id), server.log(task_id)
    problem = sample.problem(row["status"], row["output"], log)
    return Ended(row, row["status"], row["output"], log, sample.peer(), problem)


def _say_yes(server: SimulatedServer, task_id: str) -> None:
    """Answer an approval as a person would, once the worker has told of it and left it to the server."""
    with server.guard:
        if not server.model.tasks[task_id]["output"]:
            return
        for known, row in list(server.model.approvals.items()):
            if row.get("task_id") == task_id:
                approvals.decide(server.model, known, "approve")


def _sum_up(view: View, ends: Sequence[Ended], code: int, seconds: float) -> int:
    well = sum(not one.problem for one in ends)
    view.table(ends)
    view.line()
    text = f"{well} of {len(ends)} tasks ended as expected, in {seconds:.1f} seconds"
    good = well == len(ends) and code == 0
    view.line(view.paint(text + (f"; the worker ended with status {code}" if code else ""), "green" if good else "red"))
    return 0 if good else 1


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Ten sample tasks by a real worker and a simulated API server.")
    parser.add_argument("--only", action="append", choices=CATEGORIES, help="run this category; may be repeated")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(View(sys.stdout), given.only or CATEGORIES)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
