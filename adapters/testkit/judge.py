"""Judges a server's history: a pure function from what was recorded to what was violated (G1..G44)."""

from __future__ import annotations

from collections import defaultdict

from adapters.transports.memory.history import Record
from adapters.transports.memory.server import ServerModel

PIECE = 4096


def judge(model: ServerModel, settled: bool) -> list[str]:
    """Everything that a history may not hold, each with the guarantee it breaks. ``settled``: all was to be over."""
    by_task: dict[str, list[Record]] = defaultdict(list)
    for record in model.history.records:
        if record.task:
            by_task[record.task].append(record)
    found = [text for task, records in by_task.items() for text in judge_task(task, records)]
    for record in model.history.of("message"):
        if record.detail["size"] > PIECE or not record.detail["ascii"]:
            found.append(f"G53 a message of {record.detail['size']} bytes, ascii {record.detail['ascii']}")
    if not settled:
        late = [f"{task[:8]} is {row['status']}" for task, row in model.tasks.items() if row["time_end"] is None]
        found.append(f"G5 not settled: {', '.join(late) or 'something is still in hand'}")
    else:
        found += [
            f"G38 the log of {task[:8]} is {model.logs.get(task, '')!r}"
            for task, row in model.tasks.items()
            if row["category"] == "fake"
            and row["status"] == "success"
            and model.logs.get(task, "") != expected_log(row["command"])
        ]
    return found


def expected_log(seconds: str) -> str:
    return "".join(f"{second}\n" for second in range(int(seconds)))


def judge_task(task: str, records: list[Record]) -> list[str]:
    """The rules for one task's records, in the order they were made."""
    name, found = task[:8], []
    ends = [record for record in records if record.kind in ("terminal", "ended by server")]
    if len(ends) > 1 and not (len(ends) == 2 and ends[1].kind == "ended by server"):
        found.append(f"G3 {name} has {len(ends)} ends")
    starts = [record for record in records if record.kind == "process start"]
    if len(starts) > 1:
        found.append(f"G13 {name} was started {len(starts)} times")
    running = 0
    for record in records:
        if record.kind == "process start":
            running += 1
            canceled = any(it.kind == "ended by server" for it in records[: records.index(record)])
            if record.detail["status"] != "running" and not canceled:
                found.append(f"G4 {name} started while the server held {record.detail['status']}")
            if running > 1:
                found.append(f"G13 {name} ran twice at the same time")
        elif record.kind == "process end":
            running -= 1
        elif record.kind == "terminal" and running > 0:
            found.append(f"G23 {name} was reported {record.detail['status']} while its process was alive")
        elif record.kind == "empty append":
            found.append(f"G44 {name} got an empty append")
        elif record.kind == "update" and not record.detail["refused"]:
            found += judge_update(name, record)
    return found


def judge_update(name: str, record: Record) -> list[str]:
    """Only the holder of the lock, or the worker that the server says runs the task, may change it (G16)."""
    owner = record.detail.get("worker_of_task")
    if record.detail["status"] in (None, "running") or owner in (None, record.worker):
        return []
    return [f"G16 {name} was set {record.detail['status']} by {record.worker[:8]}, not by its owner"]
