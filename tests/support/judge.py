"""Judges a server's history: a pure function from what was recorded to what was violated (G2..G53, G86)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from adapters.testkit.model.history import Record
from adapters.testkit.model.server import ServerModel
from adapters.testkit.model.tasks import ENDS
from application.counters import unaccounted

PIECE = 4096
UNDER_WAY = 10.0  # seconds that a request which was sent before may take to arrive


def judge(model: ServerModel, settled: bool) -> list[str]:
    """Everything that a history may not hold, each with the guarantee it breaks. ``settled``: all was to be over."""
    by_task: dict[str, list[Record]] = defaultdict(list)
    for record in model.history.records:
        if record.task:
            by_task[record.task].append(record)
    found = [text for task, records in by_task.items() for text in judge_task(task, records, model.redispatches)]
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
            and sum(record.kind == "process start" for record in by_task[task]) == 1  # else it is the log of both runs
            and model.logs.get(task, "") != expected_log(row["command"])
        ]
    return found


def expected_log(seconds: str) -> str:
    return "".join(f"{second}\n" for second in range(int(seconds)))


def judge_task(task: str, records: list[Record], redispatches: bool = False) -> list[str]:
    """The rules for one task's records, in the order they were made.

    ``redispatches``: the server offers a running task again when its lock is gone, so it may run again, but never twice
    at the same time, and its lock is kept until its end is told.
    """
    name, found = task[:8], []
    ends = [record for record in records if record.kind in ("terminal", "ended by server")]
    if len(ends) > 1 and not (len(ends) == 2 and ends[1].kind == "ended by server"):
        found.append(f"G3 {name} has {len(ends)} ends")
    starts = [record for record in records if record.kind == "process start"]
    if len(starts) > 1 and not redispatches:
        found.append(f"G19 {name} was started {len(starts)} times")
    found += judge_releases(name, records) if redispatches else judge_fence(name, records)
    robbed = False  # two workers may have claimed it since: one runs it, and the server may know it as the other's
    running: Counter[str] = Counter()
    for record in records:
        if record.kind == "robbed":
            robbed = True
        elif record.kind == "process start":
            running[record.detail.get("by", "")] += 1
            canceled = any(it.kind == "ended by server" for it in records[: records.index(record)])
            if record.detail["status"] != "running" and not canceled:
                found.append(f"G4 {name} started while the server held {record.detail['status']}")
            if running.total() > 1:
                found.append(f"G13 {name} ran twice at the same time")
        elif record.kind == "process end":
            running[record.detail.get("by", "")] -= 1
        elif record.kind == "terminal" and (running[record.worker] if robbed else running.total()) > 0:
            found.append(f"G23 {name} was reported {record.detail['status']} while its process was alive")
        elif record.kind == "empty append":
            found.append(f"G44 {name} got an empty append")
        elif record.kind == "append overlap":
            found.append(f"G38 {name} got two appends at a time, of which the server keeps one")
        elif record.kind == "patch" and record.detail["ended"]:
            found.append(f"G3 {name} was patched after its end")
        elif record.kind == "update" and not record.detail["refused"] and not robbed:
            found += judge_update(name, record)
    if len(starts) < 2:  # else each run has an end of its own
        found += judge_repeats(name, records)
    return found + judge_truth(name, records)


def judge_truth(name: str, records: list[Record]) -> list[str]:
    """An end that was decided and kept is the one that arrives, unless the task was ended at the server (G1, G5)."""
    decided = []
    for record in records:
        if record.kind == "decided":
            decided.append(record.detail["status"])
        elif record.kind == "terminal":
            wrong = bool(decided) and record.detail["status"] not in decided
            return [f"G1 {name} was decided {decided[0]}, and {record.detail['status']} arrived"] if wrong else []
    return []


def judge_repeats(name: str, records: list[Record]) -> list[str]:
    """What one worker says again about an end is the same, byte for byte (G2, G11).

    An end that its disk would not take is in memory only: a crash before it is delivered makes it ``worker_lost`` (G7).
    """
    said: dict[str, set[str]] = defaultdict(set)
    unkept: set[str] = set()
    for record in records:
        if record.kind == "unkept":
            unkept.add(record.worker)
        elif record.kind == "decided":
            unkept.discard(record.worker)
        elif (
            record.kind in ("update", "update lost") and record.detail["status"] in ENDS and record.worker not in unkept
        ):
            said[record.worker].add(record.detail.get("digest", ""))
    return [f"G2 {name} was told {len(it)} ends by {who[:8]}" for who, it in said.items() if len(it) > 1]


def judge_releases(name: str, records: list[Record]) -> list[str]:
    """The lock under which a process was started is given back after its end is at the server (G18)."""
    found, alive, ended, value = [], 0, False, ""
    for record in records:
        if record.kind == "process start":
            alive, value = alive + 1, record.holder
        elif record.kind == "process end":
            alive -= 1
        elif record.kind in ("terminal", "ended by server"):
            ended = True
        elif record.kind == "release" and record.detail.get("owned") and value and record.holder == value:
            if alive > 0:
                found.append(f"G18 the lock of {name} was released while its process was alive")
            elif not ended:
                found.append(f"G18 the lock of {name} was released before its end was told")
    return found


def judge_fence(name: str, records: list[Record]) -> list[str]:
    """Once it runs, its status protects it: no lock is kept for it, and no lost one ends it (G15, G18)."""
    found, started = [], float("inf")
    for record in records:
        if record.kind == "process start":
            started = record.at
        elif record.kind == "refresh" and record.at > started + UNDER_WAY:
            found.append(f"G18 the lock of {name} was renewed {record.at - started:.0f} s after its start")
        elif record.kind == "terminal" and "lease_lost" in record.detail.get("output", ""):
            found.append(f"G15 {name} was ended because of its lock")
        elif record.kind == "ended by server" and record.detail.get("before") == "running":
            found.append(f"G18 {name} was timed out as not started while it ran")
    return found


def judge_counters(seen: Mapping[str, float], records: list[Record], worker: str) -> list[str]:
    """``seen`` counts one whole life in which nothing is in hand: every event in it is accounted for (G86)."""
    received = int(seen.get("events_received", 0))
    sent = sum(record.kind == "sent run" and record.worker in ("", worker) for record in records)
    found = [f"G86 {worker[:8]} {text}" for text in unaccounted(seen, 0)]
    if received > sent:
        found.append(f"G86 {worker[:8]} counts {received} events of {sent} that were sent")
    return found


def judge_update(name: str, record: Record) -> list[str]:
    """Only the holder of the lock, or the worker that the server says runs the task, may change it (G16)."""
    owner = record.detail.get("worker_of_task")
    if record.detail.get("before") == "pending" and record.detail["status"] in ENDS and not record.holder:
        return [f"G22 {name}, which nobody had, was set {record.detail['status']} by {record.worker[:8]}"]
    if record.detail["status"] is None or owner in (None, record.worker):
        return []
    if record.detail.get("before") == "pending":  # handed back: the next worker takes it, and the old name stays on it
        return []
    guarantee = "G16" if record.detail["status"] in ENDS else "G20"
    return [f"{guarantee} {name} was set {record.detail['status']} by {record.worker[:8]}, not by its owner (G22)"]
