"""The long form of the reliability tests: real kills of the real program, the tests marked ``torture``, and seeds of
the simulated world.

``MINUTES=30 python -m tests.support.torture`` runs them for that long and prints a table: what was
promised, how often it was tried, how often it was broken. Exit status 1 if anything was.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from adapters.testkit.apiserver import SimulatedServer
from tests.support import torture_suite, trees
from tests.support.world import try_seeds

ROOT = Path(__file__).resolve().parent.parent.parent
EPILOG = (
    "MINUTES (5) in the environment says how long, FIRST_SEED (100000) which seeds of the simulated world come first."
)
OVER = ("success", "failed", "error", "timeout", "stopped", "canceled")
RULES = {
    "G1 G2 G5 every task gets its own end": ("G5", "G1", "G2"),
    "G3 an end is never overwritten": ("G3",),
    "G4 nothing starts before the server knows": ("G4",),
    "G13 G19 nothing runs twice": ("G13", "G19"),
    "G16 G20 G22 only the owner speaks for a task": ("G16", "G20", "G22"),
    "G15 neither an outage nor a lost lock ends what its status protects": ("G15",),
    "G18 a lock is kept as long as it protects, and no longer": ("G18",),
    "G23 nothing survives its task": ("G23",),
    "G35 a worker ends in order": ("G35",),
    "G38 G44 logs are whole": ("G38", "G44"),
    "G47 no loop dies, every worker comes back": ("G47",),
    "G53 messages fit the server": ("G53",),
    "G86 the accounts add up": ("G86",),
}


def seeds(first: int, deadline: float, step: int = 50) -> tuple[int, list[str]]:
    """Try seeds from ``first`` until ``deadline`` (time.monotonic) on all cores: how many, and what was broken."""
    broken: list[str] = []
    tried = 0
    with multiprocessing.get_context("spawn").Pool(os.cpu_count() or 1, _quiet) as pool:
        waves = iter(range(first, 10**9, step))
        while time.monotonic() < deadline:
            batches = [range(start, start + step) for start in (next(waves), next(waves))]
            for batch, verdicts in zip(batches, pool.map(_try, batches), strict=True):
                tried += len(batch)
                broken += verdicts
    return tried, broken


def _quiet() -> None:
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _try(batch: range) -> list[str]:
    return try_seeds(batch[0], batch[-1])


class RealKills:
    """The program under ``kill -9``, with tasks of all kinds running, and the server away now and then."""

    def __init__(self) -> None:
        self.kills = 0
        self.tasks: list[str] = []
        self.broken: list[str] = []
        self.mark = str(os.getpid() * 1_000_003 + int(time.time()))[-12:]

    def run_until(self, deadline: float, least: int) -> None:
        """``run``, whose own failure is a violation too."""
        try:
            self.run(deadline, least)
        except Exception as error:  # noqa: BLE001 - told in the table
            self.broken.append(f"G5 the kills ended early: {type(error).__name__}: {error}")

    def run(self, deadline: float, least: int) -> None:
        with SimulatedServer(token="torture-token") as server, tempfile.TemporaryDirectory() as directory:
            program = self._start(server, Path(directory))
            try:
                while time.monotonic() < deadline or self.kills < least:
                    self._round(server, program)
                self._settle(server)
            finally:
                program.send_signal(signal.SIGTERM)
                program.wait(60)
            self._judge(server)

    def _start(self, server: SimulatedServer, directory: Path) -> subprocess.Popen[bytes]:
        (directory / "config_worker.json").write_text('{"execution": {"grace": 0.5, "drain": 1}}')
        known = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "API_SERVER_URL": server.url,
            "API_AUTH_TOKEN": server.model.token,
        }
        command = [sys.executable, str(ROOT / "bootstrap.py"), "--set", "websocket.reconnect_cap=0.5"]
        with open(directory / "log", "wb") as log:
            return subprocess.Popen(command, cwd=directory, env=known, stderr=log)

    def _round(self, server: SimulatedServer, program: subprocess.Popen[bytes]) -> None:
        new = [server.add_task(command=f"sleep 0.{n % 10}; exit {n % 3}", save_log=n % 2 == 0) for n in range(18)]
        new.append(server.add_task(command=f"setsid sleep 1000.{self.mark} & sleep 1000.{self.mark}", timeout=2))
        new.append(server.add_task(command=f"trap '' TERM; sleep 1000.{self.mark}; true", timeout=2))
        self.tasks += new
        server.offer(*new)
        threading.Event().wait((self.kills * 37 % 500) / 1000)
        victim = self._worker(program)
        away = self.kills % 25 == 24
        if away:
            server.pause()
        os.kill(victim, signal.SIGKILL)
        self.kills += 1
        while self._worker(program) == victim:
            threading.Event().wait(0.02)
        if away:
            threading.Event().wait(60.0 if self.kills % 100 == 0 else 5.0)
            server.resume()
        deadline = time.monotonic() + 40
        while (
            not any(it.worker_id and it.open for it in list(server.model.connections)) and time.monotonic() < deadline
        ):
            threading.Event().wait(0.02)

    @staticmethod
    def _worker(program: subprocess.Popen[bytes]) -> int:
        while True:
            if program.poll() is not None:
                raise RuntimeError(f"the guardian ended with {program.returncode}")
            found = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
            if found:
                return int(found[0])
            threading.Event().wait(0.02)

    def _settle(self, server: SimulatedServer) -> None:
        for task in self.tasks:
            try:
                server.wait_for(task, *OVER, timeout=60)
            except TimeoutError as error:
                self.broken.append(f"G5 {error}")

    def _judge(self, server: SimulatedServer) -> None:
        ends = Counter(record.task for record in server.model.history.of("terminal"))
        self.broken += [f"G3 {task} has {count} ends" for task, count in ends.items() if count != 1]
        self.broken += [f"G23 process {pid} is left" for pid in trees.alive(self.mark)]


def main() -> int:
    usage = argparse.ArgumentParser(description="Reliability tests in their long form.", epilog=EPILOG)
    usage.parse_args()  # nothing but --help
    minutes = float(os.environ.get("MINUTES", "5"))
    began = time.monotonic()
    together = began + minutes * 60 * 0.6
    real = RealKills()
    # Killing is mostly waiting: the seeds are tried meanwhile.
    kills = threading.Thread(target=real.run_until, args=(together, max(5, int(minutes * 10))), name="kills")
    kills.start()
    tried, broken = seeds(int(os.environ.get("FIRST_SEED", "100000")), together)
    kills.join()
    suite = torture_suite.run(max(60.0, began + minutes * 60 - time.monotonic()))
    print(
        f"{tried} seeds, {real.kills} real kills with {len(real.tasks)} tasks, "
        f"{sum(row.tries for row in suite.values())} long tests, {(time.monotonic() - began) / 60:.1f} minutes\n"
    )
    everything = broken + real.broken
    print(f"{'guarantee':<64} {'tries':>8} {'violations':>10}")
    for rule, codes in RULES.items():
        count = sum(text.split()[0] in codes for text in everything)
        tries = tried + (len(real.tasks) if codes[0] in ("G5", "G3", "G23") else 0)
        print(f"{rule:<64} {tries:>8} {count:>10}")
    for name, row in suite.items():
        print(
            f"{name:<64} {row.tries:>8} {len(row.broken):>10}{''.join(f'  skipped: {why}' for why in row.skipped[:1])}"
        )
        everything += row.broken
    print(*everything[:50], sep="\n")
    return 1 if everything else 0


if __name__ == "__main__":
    sys.exit(main())
