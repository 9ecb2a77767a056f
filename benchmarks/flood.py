"""Memory of the worker while a task prints without end: growth over idle in MB, and CPU per second.

python benchmarks/flood.py [SECONDS]
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from adapters.process.supervisor import Supervisor
from adapters.runners.command import CommandRunner, ProcessOptions
from adapters.spool.file import FileSpool
from adapters.testkit.workers import WorkerKit, memory_server
from domain.runner import RunnerRegistry


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    import tempfile

    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    processes, server = Supervisor(), memory_server()
    registry = RunnerRegistry()
    registry.register("command", lambda: CommandRunner(processes, ProcessOptions(grace=1.0)))
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        spool = FileSpool(root / "logs", 10 << 20, 100 << 20)
        kit = WorkerKit(server.network(), registry, spool=spool, root=root)
        kit.worker.start()
        kit.worker.link.up.wait(5)
        warm = server.add_task(command="yes | head -c 1000000")
        server.offer(warm)
        server.wait_for(warm, "success")
        idle, cpu, peak = resident(), time.process_time(), 0.0
        task = server.add_task(command="yes")
        server.offer(task)
        server.wait_for(task, "running")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            peak = max(peak, resident())
            threading.Event().wait(0.1)
        server.stop_task(task)
        row = server.wait_for(task, "stopped")
        print(f"idle {idle:.1f} MB, peak {peak:.1f} MB, growth {peak - idle:.1f} MB in {seconds:g} s; {row['status']}")
        print(
            f"CPU {100 * (time.process_time() - cpu) / seconds:.0f} % of a core; log kept {len(server.log(task))} bytes"
        )
        kit.stop()
        spool.close()
    processes.close()
    server.close()


main()
