"""The judge of histories sees what is planted, and nothing where nothing is wrong (H2)."""

from __future__ import annotations

import pytest

from adapters.testkit.model.history import Record
from tests.support.judge import judge_counters, judge_task


def record(kind: str, worker: str = "w", holder: str = "", **detail: object) -> Record:
    return Record(0.0, kind, "task-1234", worker, holder, detail)


def update(
    status: str,
    worker: str = "w",
    owner: str | None = "w",
    before: str = "running",
    digest: str = "d",
    refused: str = "",
) -> Record:
    return record("update", worker, status=status, before=before, worker_of_task=owner, digest=digest, refused=refused)


def later(kind: str) -> Record:
    return Record(60.0, kind, "task-1234", "w", "v", {})


START = record("process start", holder="v", status="running")
END = record("process end")
STARTED = record("process start", status="running", by="w")
ROBBED = record("robbed", worker="")
DONE = record("terminal", status="success")
RELEASE = record("release", holder="v", owned=True)


@pytest.mark.parametrize(
    ("records", "guarantee"),
    [
        ([record("decided", status="success"), record("terminal", status="error")], "G1"),
        (
            [
                record("unkept"),
                record("decided", status="success"),
                record("update lost", status="success", digest="a"),
                update("error", digest="b"),
            ],
            "G2",
        ),
        ([update("success", digest="a"), update("success", digest="b", refused="finished")], "G2"),
        ([record("update lost", status="success", digest="a"), update("success", digest="b")], "G2"),
        ([record("patch", ended=True)], "G3"),
        ([update("failed", worker="other")], "G16"),
        ([update("stopped", worker="other", owner=None, before="pending")], "G22"),
        ([START, later("refresh")], "G18"),
        ([START, record("ended by server", status="timeout", before="running")], "G18"),
        ([START, END, record("terminal", status="error", output='{"end_reason":"lease_lost"}')], "G15"),
        ([START, END, START, END], "G19"),
        ([update("running", worker="other")], "G20"),
        # A lock that was taken away excuses what another worker does since, and nothing else.
        ([update("failed", worker="other"), ROBBED], "G16"),
        ([STARTED, DONE, ROBBED], "G23"),
        ([ROBBED, STARTED, DONE], "G23"),
        ([record("append overlap")], "G38"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_a_planted_violation_is_seen(records: list[Record], guarantee: str) -> None:
    assert [text for text in judge_task("task-1234", records) if text.startswith(guarantee)]


@pytest.mark.parametrize(
    ("records", "guarantee"),
    [
        ([START, RELEASE], "G18"),
        ([START, END, RELEASE], "G18"),
        ([START, DONE, RELEASE], "G18"),
        ([START, START], "G13"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_a_planted_violation_is_seen_where_only_the_lock_protects(records: list[Record], guarantee: str) -> None:
    found = judge_task("task-1234", records, redispatches=True)
    assert [text for text in found if text.startswith(guarantee)]


def test_where_only_the_lock_protects_a_task_may_run_again_after_it_was_lost() -> None:
    again = [START, END, record("taken back"), START, END, update("success"), DONE, RELEASE]
    assert judge_task("task-1234", again, redispatches=True) == []
    assert judge_task("task-1234", again) != []


@pytest.mark.parametrize(
    "records",
    [
        [update("running", owner=None, before="pending"), START, END, update("success"), DONE, RELEASE],
        # Its disk would not take the end, and it crashed before the end was delivered (G7).
        [
            record("unkept"),
            record("update lost", status="success", digest="a"),
            record("decided", status="error"),
            update("error", digest="b"),
            record("terminal", status="error"),
        ],
        # Two had claimed it when the locks were lost: the one that runs it is not the one that gave way.
        [ROBBED, STARTED, update("error", worker="other"), record("terminal", worker="other", status="error")],
        # Sent again after its connection was cut (G11).
        [update("success"), DONE, update("success", before="success", refused="finished")],
        # Handed back by one worker, taken by the next; the old name stays on the row (protocol 5.4).
        [update("pending"), update("running", worker="other", before="pending")],
        # Another worker looks at the running task under the lock that the first one lost, and lets go again (G16).
        [START, record("release", holder="other lock", owned=True), END, update("failed"), DONE],
        # The server's own end comes first; the process goes, then the lock.
        [START, record("ended by server", status="canceled"), END, update("stopped", refused="finished"), RELEASE],
    ],
    ids=["plain", "unkept", "robbed", "repeated", "handed back", "looked at", "cancelled"],
)
def test_a_clean_history_passes(records: list[Record]) -> None:
    assert judge_task("task-1234", records) == judge_task("task-1234", records, redispatches=True) == []


BALANCED = {"events_received": 3, "events_executed": 1, "events_stale": 2, "tasks_settled": 1}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({}, []),
        ({"events_stale": 1}, ["G86 w 3 offers received, but 2 accounted for"]),
        ({"events_executed": 0, "events_handed_back": 1}, []),
        ({"events_executed": 0, "events_not_started": 1}, []),
        ({"tasks_settled": 0}, ["G86 w 1 tasks taken in hand, but 0 settled and 0 waiting"]),
        ({"tasks_adopted": 1}, ["G86 w 2 tasks taken in hand, but 1 settled and 0 waiting"]),
        ({"events_received": 4, "events_stale": 3}, ["G86 w counts 4 events of 3 that were sent"]),
    ],
)
def test_counters_that_do_not_add_up_are_seen(wrong: dict[str, int], told: list[str]) -> None:
    """G86."""
    assert judge_counters(BALANCED | wrong, [record("sent run")] * 3, "w") == told
