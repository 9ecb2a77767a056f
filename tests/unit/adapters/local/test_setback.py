"""What a clock that was set back means for what was planned."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.local.cron import Cron
from adapters.local.runs import new_run
from adapters.local.schedule import Job
from adapters.local.setback import LATE, REPEATED, bring_back, stands
from adapters.local.store import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FIXED = Job("fixed", Cron("0 3 * * *", UTC), retry_delay=10.0)
OTHER = Job("other", Cron("*/5 * * * *", UTC))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "history.sqlite")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("job", "ahead", "ran", "goes_on"),
    [
        (OTHER, -1.0, False, True),
        (OTHER, LATE, False, True),
        (OTHER, LATE + 1, True, False),
        (FIXED, LATE + 1, True, True),
        (FIXED, LATE + 1, False, False),
        (FIXED, REPEATED, True, True),
        (FIXED, REPEATED + 1, True, False),
    ],
)
def test_a_fixed_time_that_ran_shortly_before_does_not_run_again_and_all_else_does(
    job: Job, ahead: float, ran: bool, goes_on: bool
) -> None:
    assert stands(job, NOW + timedelta(seconds=ahead), NOW, ran) is goes_on


def test_a_retry_waits_no_longer_than_its_pause(store: Store) -> None:
    now = NOW.timestamp()
    for name, planned in (("far", now + 5000.0), ("near", now + 5.0)):
        store.add(new_run(FIXED, name, planned, "pending", retry=1))
    bring_back(store, {"fixed": FIXED}, NOW)
    assert {run.name: run.planned - now for run in store.live()} == {"far": 10.0, "near": 5.0}


def test_what_a_clock_far_ahead_made_due_is_skipped_and_what_runs_goes_on(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    now = NOW.timestamp()
    for name, ahead, status in (("far", REPEATED + 1, "pending"), ("near", 60.0, "pending"), ("runs", 1e6, "pending")):
        store.add(new_run(OTHER, name, now + ahead, status))
    runs = next(run for run in store.live() if run.name == "runs")
    store.begin(runs.id, "w", now)
    with caplog.at_level("WARNING", "worker.schedule"):
        bring_back(store, {"other": OTHER}, NOW)
    assert caplog.messages == ["skipped: the clock was ahead when it was planned"]
    assert [run.name for run in store.live()] == ["near", "runs"]
    (far,) = [run for run in store.recent(10) if run.name == "far"]
    assert (far.status, far.ended) == ("skipped", now)


def test_the_retry_of_a_job_that_is_gone_is_left_to_whoever_ends_it(store: Store) -> None:
    store.add(new_run(FIXED, "far", NOW.timestamp() + 1e6, "pending", retry=1))
    bring_back(store, {}, NOW)
    assert [run.planned - NOW.timestamp() for run in store.live()] == [1e6]
