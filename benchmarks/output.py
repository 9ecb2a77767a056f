"""How fast a task may print: MB/s through the worker's own classes, as a share of what a bare reader of the pipe takes.

python benchmarks/output.py [MEGABYTES]

Each way prints the same: lines of 80 bytes in large writes, and the same lines one write each. Medians of ROUNDS
rounds, the ways in turns; "log" is with the log spooled to disk, as a task with save_log has it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from adapters.observability.redact import Redactor
from adapters.process.supervisor import Supervisor
from adapters.runners.command import CommandRunner, ProcessOptions
from adapters.spool.file import FileSpool
from domain.runner import ExecutionContext

ROUNDS = 5
LINE = "0123456789" * 7 + "012345678"
WAYS = {
    "large writes": f"yes {LINE} | head -c {{size}}",
    "a write a line": "python3 -c 'import os\nline = b\""
    + LINE
    + "\\n\"\nfor _ in range({size} // 80): os.write(1, line)'",
}


def bare(command: str) -> None:
    with subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        while os.read(child.stdout.fileno(), 65_536):
            pass


def measure(run: Callable[[], None]) -> tuple[float, float]:
    """Seconds, and seconds of this process's CPU."""
    began, cpu = time.monotonic(), time.process_time()
    run()
    return time.monotonic() - began, time.process_time() - cpu


def main() -> None:
    size = int(sys.argv[1] if len(sys.argv) > 1 else 200) * 1_000_000
    processes = Supervisor()
    with tempfile.TemporaryDirectory() as directory:
        spool = FileSpool(Path(directory), 10 << 20, 100 << 20, Redactor().stream)

        def task(command: str, save: bool) -> None:
            runner = CommandRunner(processes, ProcessOptions())
            runner.parse_args(command, "")
            spool.open("t")
            context = ExecutionContext(log=(lambda data: spool.write("t", data)) if save else lambda _: None)
            assert runner.execute(context).status == "success"
            spool.discard("t")

        for name, template in WAYS.items():
            command = template.format(size=size)
            runs: dict[str, Callable[[], None]] = {
                "bare reader": lambda command=command: bare(command),  # type: ignore[misc]
                "task": lambda command=command: task(command, False),  # type: ignore[misc]
                "task with log": lambda command=command: task(command, True),  # type: ignore[misc]
            }
            found: dict[str, list[tuple[float, float]]] = {way: [] for way in runs}
            for _ in range(ROUNDS):
                for way, run in runs.items():
                    found[way].append(measure(run))
            floor = statistics.median(seconds for seconds, _ in found["bare reader"])
            for way, rows in found.items():
                seconds, cpu = (statistics.median(column) for column in zip(*rows, strict=True))
                print(
                    f"{name:<15} {way:<14} {size / 1e6 / seconds:6.0f} MB/s, {100 * floor / seconds:4.0f} % of a bare "
                    f"reader; CPU {cpu / size * 1e9:5.2f} s/GB, {100 * cpu / seconds:3.0f} % of a core"
                )
        spool.close()
    processes.close()


main()
