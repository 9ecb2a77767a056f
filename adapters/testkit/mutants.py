"""Deliberate defects, each put into a copy of the tree and each to be found by a test.

``python -m adapters.testkit.mutants [NAME...]`` prints, for each, whether the tests went red. A defect that stays green
names a test that is missing. The working tree is never changed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
WORLD = "tests/system/test_simulated_world.py"
MEMORY = "tests/system/test_worker_on_memory.py"
PROCESSES = "tests/system/test_processes.py"
LIMIT = 240


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = [
    Mutant("result counts as delivered when sent", "application/delivery.py", "if task is not None and self._is_settled(parcel, task):", "if parcel.sends and (self.settle(parcel.report.task_id, ended=True) or True):", (WORLD, MEMORY)),
    Mutant("result is sent once only", "application/delivery.py", "if now >= parcel.send_at:", "if not parcel.sends:", (WORLD, MEMORY)),
    Mutant("running is not read back", "application/announce.py", "            verdict = self._read_back(run)\n", "            verdict = Announced.CONFIRMED\n", (WORLD, MEMORY)),
    Mutant("a stale lock still announces", "application/announce.py", "if not self._leases.holds(run.task.id):", "if False:", (WORLD,)),
    Mutant("lock released at once", "application/run_task.py", "        self._count(\"executed\")\n", "        self._count(\"executed\")\n        self._leases.release(run.task.id)\n", (WORLD, MEMORY)),
    Mutant("lease counted from the answer", "application/leases.py", "lease = Lease(task_id, value, ttl, sent, on_lost)", "lease = Lease(task_id, value, ttl * 3, self._runtime.now(), on_lost)", (WORLD,)),
    Mutant("a lost lease ends nothing", "application/leases.py", "            lease.on_lost()\n", "            pass\n", (WORLD, MEMORY)),
    Mutant("one failed renewal is for good", "application/leases.py", "            lease.retry_at = self._runtime.now() + min(1.0, max(0.0, lease.deadline - self._runtime.now()) / 4)\n", "            lease.retry_at = 1e18\n", (WORLD,)),
    Mutant("the event's copy is run, not the fresh one", "application/run_task.py", "if fresh.status is not Status.PENDING or fresh.ended or late or", "if", (WORLD, MEMORY)),
    Mutant("a stop before the start is lost", "domain/runner.py", "        for request in tuple(self._requests):\n            subscriber(request)\n", "", ("tests/unit/test_domain.py",)),
    Mutant("a stop does not reach the runner", "application/execution.py", "        run.token.subscribe(relay)\n", "", (MEMORY,)),
    Mutant("a duplicate is admitted", "application/runs.py", "if task.id in self._runs:\n                return Admission.DUPLICATE, None", "if False:\n                return Admission.DUPLICATE, None", (MEMORY, WORLD)),
    Mutant("concurrency is not limited", "application/runs.py", "if self._active() >= self._concurrency:", "if False:", (MEMORY,)),
    Mutant("selection fails open", "domain/task.py", "        if chosen is None:\n            return False\n", "        if chosen is None:\n            return True\n", ("tests/unit/test_domain.py", "tests/unit/test_wire_messages.py")),
    Mutant("nothing is recovered", "application/recovery.py", "        for entry in self._ports.journal.entries():\n", "        for entry in ():\n", (WORLD,)),
    Mutant("a started task of a former life is run again", "application/recovery.py", "report = self._lost(entry) if entry.started else", "report =", (WORLD,)),
    Mutant("the server's running tasks are not compared", "application/recovery.py", "            for task in listed:\n", "            for task in ():\n", (WORLD, "tests/unit/test_application_edges.py")),
    Mutant("a held end is overwritten by a canceled task's run", "application/recovery.py", "        if task.ended or task.status.is_final:\n", "        if False:\n", (MEMORY,)),
    Mutant("the log is sent again blindly", "application/log_delivery.py", "elif stream.unsure and (had", "elif False and (had", (WORLD, MEMORY)),
    Mutant("a failed log batch is dropped", "application/log_delivery.py", "            stream.failures += 1\n            return\n", "            spool.advance(task_id, batch.offset + len(batch.data))\n            return\n", (WORLD,)),
    Mutant("the connection is not given up in silence", "application/link.py", "if self._ports.transport.silence() > limits.ping_interval + limits.pong_timeout:", "if False:", (WORLD, "tests/contract/test_link_over_sockets.py")),
    Mutant("the first refusal ends the link", "application/link.py", "            if connected is None:\n                continue\n", "            if connected is None:\n                return\n", ("tests/contract/test_link_over_sockets.py",)),
    Mutant("no jitter", "application/backoff.py", "self._runtime.uniform(0, ceiling)", "ceiling", ("tests/unit/test_application_edges.py",)),
    Mutant("output without bounds", "application/reporting.py", "        if len(passed.encode(\"utf-8\", \"replace\")) <= limit:\n            return passed\n", "        return passed\n", ("tests/unit/test_application_reporting.py",)),
    Mutant("a boundary on the opening separator", "adapters/wire/framing.py", "    return [framed[at : at + limit] for at in range(0, len(framed), limit)]", "    return [framed[:17], framed[17:]]", ("tests/unit/test_wire_framing.py",)),
    Mutant("a text is a flag", "adapters/wire/messages.py", "if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):", "if False:", ("tests/unit/test_wire_messages.py",)),
    Mutant("only the leader is killed", "adapters/process/child.py", "        for proc in self._members():\n            tree.send(proc, *signals)\n", "", (PROCESSES,)),
    Mutant("what is left in the background lives on", "adapters/process/child.py", "        if self._members():\n            return False\n", "", (PROCESSES,)),
    Mutant("no escalation", "adapters/process/child.py", "            self._loop.at(self.command.grace, self._kill)\n", "", (PROCESSES,)),
    Mutant("every signal is a time-out", "adapters/process/child.py", "        if number:\n            return EndReason.SIGNAL", "        if number:\n            return EndReason.TIMEOUT", (PROCESSES,)),
    Mutant("memory without bounds", "adapters/process/output.py", "        while self._tail and self._tail_size - len(self._tail[0]) >= self._tail_limit:", "        while False:", (PROCESSES, "tests/unit/test_command_runner.py")),
    Mutant("the token goes to the task", "adapters/process/environment.py", "if name not in OWN and not name.startswith(CREDENTIALS) and not any(secret in value for secret in hidden)", "if True", ("tests/unit/test_command_runner.py",)),
    Mutant("two workers in one state directory", "adapters/journal/statedir.py", "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB", ("tests/system/test_program.py",)),
    Mutant("a late pid undoes the end", "adapters/journal/sqlite.py", "if old is None or old.phase == \"finished\":", "if old is None:", ("tests/contract/test_journal.py",)),
    Mutant("the guardian does not sweep", "adapters/process/guardian.py", "            self._sweep()\n", "", ("tests/system/test_guardian.py",)),
    Mutant("the guardian trusts a frozen worker", "adapters/process/guardian.py", "            if now < deadline + LATE:\n                continue\n", "            continue\n", ("tests/system/test_guardian.py",)),
]  # fmt: skip


def is_red(mutant: Mutant) -> bool | None:
    """True if a test found the defect; None where the text to change is not there any more."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        copy = Path(directory) / "tree"
        shutil.copytree(
            ROOT,
            copy,
            ignore=shutil.ignore_patterns(".git", ".venv", "state", ".mypy_cache", "__pycache__", ".hypothesis"),
        )
        path = copy / mutant.file
        text = path.read_text()
        if text.count(mutant.old) < 1:
            return None
        path.write_text(text.replace(mutant.old, mutant.new, 1))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-cov", *mutant.tests]
        try:
            done = subprocess.run(command, cwd=copy, capture_output=True, timeout=LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return True  # it hangs: that is found too
        return done.returncode == 1


def main() -> int:
    wanted = [it for it in MUTANTS if len(sys.argv) < 2 or any(word in it.name for word in sys.argv[1:])]
    green = 0
    with ThreadPoolExecutor(2) as pool:
        for mutant, red in zip(wanted, pool.map(is_red, wanted), strict=True):
            word = {True: "red", False: "GREEN", None: "STALE"}[red]
            green += red is not True
            print(f"{word:<6} {mutant.name}", flush=True)
    print(f"{len(wanted) - green} of {len(wanted)} defects were found")
    return 1 if green else 0


if __name__ == "__main__":
    sys.exit(main())
