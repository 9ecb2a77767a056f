"""What the end of a run costs in the local history, by the number of runs that it keeps; the first size is 1.

python benchmarks/history.py [SIZE...]
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from adapters.local.store import Run, Store

ENDS = 200


def fill(path: Path, size: int) -> None:
    """Ended runs with a log each."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA synchronous=OFF")
        rows = ((f"r{it}", f"j-{it}", float(it), float(it)) for it in range(size))
        db.executemany(
            "INSERT INTO runs (id, job, name, planned, status, ended) VALUES (?, 'j', ?, ?, 'success', ?)", rows
        )
        db.executemany(
            "INSERT INTO logs (run, bytes, text) VALUES (?, 10, '0123456789')", ((f"r{it}",) for it in range(size))
        )


def end(store: Store, number: int, keep: int) -> float:
    """Milliseconds of one end, with what it removes."""
    name = f"new-{number}"
    store.add(Run(name, "j", name, 1e9 + number, "pending", "", 0, "", None))
    store.append_log(name, "0123456789")
    began = time.perf_counter()
    store.end(name, "success", "", "", 2e9)
    store.trim(keep)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    base = 0.0
    for size in [int(text) for text in sys.argv[1:]] or [1_000, 20_000, 1_000_000]:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "history.sqlite"
            store = Store(path)
            fill(path, size)
            took = [end(store, number, size) for number in range(ENDS)]
            store.close()
        middle = statistics.median(took)
        base = base or middle
        print(f"{size:>9} runs kept: an end takes {middle:.2f} ms, most {max(took):.2f} ms, ratio {middle / base:.2f}")


main()
