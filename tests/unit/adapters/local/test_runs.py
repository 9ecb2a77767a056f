"""Runs of jobs: their names, and which of them wait."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from adapters.local.cron import Cron
from adapters.local.runs import free_name, label, new_run, run_name, startable
from adapters.local.schedule import Job
from adapters.local.store import Store

BERLIN = ZoneInfo("Europe/Berlin")
JOB = Job("job", Cron("* * * * *", BERLIN))
NOW = datetime(2026, 3, 1, 12, 30, 5, tzinfo=BERLIN)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "history.sqlite")
    yield made
    made.close()


def test_a_run_is_named_for_its_job_and_its_moment() -> None:
    assert run_name(JOB, NOW) == "job-20260301-123005"


def test_an_hour_that_comes_twice_has_names_of_its_own_the_second_time() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).astimezone(BERLIN)
    second = datetime(2026, 10, 25, 1, 30, tzinfo=UTC).astimezone(BERLIN)
    assert (run_name(JOB, first), run_name(JOB, second)) == ("job-20261025-023000", "job-20261025-023000+0100")


def test_a_moment_that_the_clock_shows_again_gets_a_free_name(store: Store) -> None:
    names = []
    for _ in range(3):
        names.append(free_name(JOB, NOW, store))
        store.add(new_run(JOB, names[-1], NOW.timestamp(), "pending"))
    assert names == ["job-20260301-123005", "job-20260301-123005-2", "job-20260301-123005-3"]


def test_only_a_retry_waits_for_its_moment() -> None:
    now = NOW.timestamp()
    due = new_run(JOB, "due", now, "pending", retry=1)
    early = new_run(JOB, "early", now + 0.1, "pending", retry=1)
    running = new_run(JOB, "running", now + 5, "running", retry=1)
    planned = new_run(JOB, "planned", now + 5, "pending")
    assert startable([due, early, running, planned], NOW) == [due, running, planned]


def test_each_run_has_an_id_of_its_own_and_lines_about_it_are_labelled() -> None:
    one, two = (new_run(JOB, "name", 1.0, "skipped", ended=2.0) for _ in range(2))
    assert one.id != two.id
    assert str(uuid.UUID(one.id)) == one.id
    assert (one.job, one.status, one.retry, one.ended) == ("job", "skipped", 0, 2.0)
    assert label(one) == {"task": one.id, "task_name": "name"}
