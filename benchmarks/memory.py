"""What ended tasks leave in the memory of the worker: growth of its resident memory in MB.

python benchmarks/memory.py [TASKS [LARGE]]

TASKS short tasks, then LARGE tasks of 1 MB of output each, go through the real program; none names a time-out, so each
deadline is a day away. The bounds are 5 MB for 3000 tasks and 20 MB for 300 large ones.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from adapters.testkit.apiserver import SimulatedServer
from tests.support.program import Program

BATCH = 50
WARM = 200
LARGE = "head -c 1000000 /dev/zero | tr '\\0' x"


def resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def run(server: SimulatedServer, count: int, command: str) -> None:
    for start in range(0, count, BATCH):
        batch = [server.add_task(command=command) for _ in range(min(BATCH, count - start))]
        server.offer(*batch)
        for task in batch:
            server.wait_for(task, "success", timeout=120)


def main() -> None:
    tasks, large = (int(word) for word in (sys.argv[1:] + ["3000", "300"][len(sys.argv) - 1 :])[:2])
    with (
        tempfile.TemporaryDirectory() as directory,
        SimulatedServer() as server,
        Program(server, Path(directory)) as program,
    ):
        worker = program.worker()
        run(server, WARM, "true")
        warm = resident(worker)
        run(server, tasks, "true")
        after = resident(worker)
        print(f"{tasks} tasks: {warm:.1f} MB to {after:.1f} MB, growth {after - warm:.1f} MB", flush=True)
        run(server, large, LARGE)
        print(f"{large} tasks of 1 MB: {after:.1f} MB to {resident(worker):.1f} MB, "
              f"growth {resident(worker) - after:.1f} MB")  # fmt: skip


main()
