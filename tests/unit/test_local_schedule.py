"""The embedded schedule: cron rules, the file, planning, and what it remembers."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapters.config.credentials import LocalCredentials
from adapters.testkit.simulation import SimNode, Simulation
from adapters.transports.local.cron import Cron
from adapters.transports.local.planner import Planner
from adapters.transports.local.schedule import KEYS, parse, read
from adapters.transports.local.server import LocalServer
from adapters.transports.local.store import Run, Store
from application.ports import Identity, Report
from domain.errors import ConfigError, ConnectionLost, JournalError, NotFound, Refused
from domain.runner import Approval
from domain.status import Status
from domain.task import Action, TaskEvent

ROOT = Path(__file__).parent.parent.parent
NEW_YORK = ZoneInfo("America/New_York")


def nexts(text: str, zone: ZoneInfo, start: datetime, count: int) -> list[str]:
    cron, found = Cron(text, zone), []
    moment: datetime | None = start.replace(tzinfo=zone)
    for _ in range(count):
        assert moment is not None
        moment = cron.after(moment)
        found.append(f"{moment:%m-%d %H:%M:%S}" if moment else "never")
        if moment is None:
            break
    return found


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("*/5 * * * *", "01-01 00:05:00"), ("*/10 * * * * *", "01-01 00:00:10"), ("@hourly", "01-01 01:00:00"),
        ("@daily", "01-02 00:00:00"), ("@weekly", "01-04 00:00:00"), ("@monthly", "02-01 00:00:00"),
        ("@yearly", "01-01 00:00:00"), ("30 0 12 * * ? 2026", "01-01 12:00:30"), ("0 0 0 1 1 * 2030", "01-01 00:00:00"),
        ("0 0 29 2 *", "02-29 00:00:00"), ("0 0 13 * 5", "01-02 00:00:00"),
    ],
)  # fmt: skip
def test_the_next_moment(text: str, first: str) -> None:
    assert nexts(text, ZoneInfo("UTC"), datetime(2026, 1, 1, tzinfo=UTC), 1) == [first]


def test_a_time_that_a_clock_change_skips_runs_at_the_change() -> None:
    assert nexts("30 2 * * *", NEW_YORK, datetime(2026, 3, 7, 12, tzinfo=UTC), 2) == [
        "03-08 03:00:00",
        "03-09 02:30:00",
    ]


def test_a_time_that_a_clock_change_repeats_runs_once() -> None:
    assert nexts("30 1 * * *", NEW_YORK, datetime(2026, 10, 31, 12, tzinfo=UTC), 2) == [
        "11-01 01:30:00",
        "11-02 01:30:00",
    ]


def test_a_year_far_away_is_found_without_counting_the_seconds_until_then() -> None:
    assert nexts("* * * * * * 2026,2099", ZoneInfo("UTC"), datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), 1) == [
        "01-01 00:00:00"
    ]


def test_the_zone_of_jobs_without_one_is_the_one_that_programs_use(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"name": "j", "time": "0 3 * * *", "command": "true"}
    for named, hour in (("Asia/Tokyo", 18), (":Asia/Tokyo", 18)):
        monkeypatch.setenv("TZ", named)
        moment = parse(entry).cron.after(datetime(2026, 1, 1, 12, tzinfo=UTC))  # type: ignore[union-attr]
        assert moment == datetime(2026, 1, 1, hour, tzinfo=UTC)
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")  # no name of a zone: what the machine says counts
    assert parse(entry)


def test_a_past_year_never_comes() -> None:
    assert nexts("0 0 0 1 1 * 2020", ZoneInfo("UTC"), datetime(2026, 1, 1, tzinfo=UTC), 1) == ["never"]
    assert nexts("0 0 0 1 1 * 2027-2028", ZoneInfo("UTC"), datetime(2026, 1, 1, tzinfo=UTC), 3)[-1] == "never"


@pytest.mark.parametrize(
    "text", ["", "* *", "61 * * * *", "a b c d e", "* * * * * * * *", "0 0 0 1 1 * soon", "@never"]
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"time|year"):
        Cron(text, ZoneInfo("UTC"))


def job(**fields: Any) -> dict[str, Any]:
    return {"name": "j", "time": "*/10 * * * * *", "command": "true", "timezone": "UTC"} | fields


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"comand": "x"}, "did you mean 'command'"), ({"time": ""}, "time is missing"), ({"time": "x"}, "fields"),
        ({"timeout": "5"}, "wrong type"), ({"timeout": True}, "wrong type"), ({"timeout": -1}, "negative"),
        ({"overlap": "maybe"}, "skip, queue, replace"), ({"timezone": "Mars/Base"}, "Europe/Berlin"),
        ({"metadata": {"environment": {"A": 1}}}, "environment"), ({"command": " "}, "command is missing"),
        ({"name": "j\ud800"}, "half of a character"),
    ],
)  # fmt: skip
def test_a_broken_job_is_refused_with_its_reason(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse(job(**fields))


def test_one_broken_job_leaves_the_others_alone(tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    path.write_text(
        json.dumps({"jobs": [job(name="a"), 7, job(name="a"), job(name="b", time="?"), job(name="off", enabled=False)]})
    )
    schedule = read(path)
    assert list(schedule.jobs) == ["a"]
    assert [text.split(": ")[1] for text in schedule.problems] == ["job 2", "job 'a'", "job 'b'"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"jobs": {}}', "\xff"])
def test_a_broken_file_is_refused_as_a_whole(tmp_path: Path, text: str) -> None:
    path = tmp_path / "schedule.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"schedule\.json"):
        read(path)


def test_the_sample_that_ships_is_right() -> None:
    schedule = read(ROOT / "schedule.json")
    assert not schedule.problems
    assert {"hello", "progress"} <= set(schedule.jobs)


@contextlib.contextmanager
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The worker's loggers do not propagate once they are set up."""
    logger = logging.getLogger("worker.schedule")
    logger.addHandler(caplog.handler)
    try:
        yield
    finally:
        logger.removeHandler(caplog.handler)


def test_the_guide_to_the_schedule_is_right_and_names_every_key(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "schedule.md").read_text()
    (tmp_path / "schedule.json").write_text(text.split("```json")[1].split("```")[0])
    schedule = read(tmp_path / "schedule.json")
    assert (list(schedule.jobs), schedule.problems) == (["backup", "health"], ())
    assert {key for key in KEYS if f"| `{key}` |" not in text} == set()


# -- planning, in virtual time -----------------------------------------------------------------------------------------


class Local:
    """A local server in virtual time that a test moves by hand."""

    def __init__(self, tmp_path: Path, *jobs: dict[str, Any]) -> None:
        self.path = tmp_path / "schedule.json"
        self.write(*jobs)
        self.database = tmp_path / "history.sqlite"
        self.world = Simulation(1)
        self.node: SimNode = self.world.node("local")
        self.open()

    def write(self, *jobs: dict[str, Any]) -> None:
        self.path.write_text(json.dumps({"jobs": jobs}))

    def open(self) -> None:
        self.store = Store(self.database)
        credentials = LocalCredentials(Path("/nowhere"), {})
        self.server = LocalServer(self.node, Planner(self.path, self.store, 100), self.store, credentials)
        self.server.connect(Identity("w", "w", tasks=("command", "script")))

    def restart(self) -> None:
        self.store.close()
        self.open()

    def after(self, seconds: float) -> list[TaskEvent]:
        self.world.time += seconds
        return list(self.server.receive(0))

    def names(self, seconds: float, action: Action = Action.RUN) -> list[str]:
        return [task.name for event in self.after(seconds) if event.action is action for task in event.tasks]

    def finish(self, task_id: str, status: Status = Status.SUCCESS) -> None:
        self.server.send(Report(task_id, status, "{}"))

    def begin(self, events: list[TaskEvent]) -> str:
        task = events[0].tasks[0]
        self.server.send(Report(task.id, Status.RUNNING))
        return task.id


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    made: list[Local] = []

    def build(*jobs: dict[str, Any]) -> Local:
        made.append(Local(tmp_path, *jobs))
        made[-1].after(0)
        return made[-1]

    yield build
    for local in made:
        local.store.close()


def test_a_due_job_is_offered_until_somebody_starts_it(make: Any) -> None:
    local = make(job())
    assert local.names(5) == []
    first = local.names(5.5)
    assert len(first) == 1
    assert local.names(1) == []
    again = local.after(3)
    assert [task.name for task in again[0].tasks] == first
    run = local.begin(again)
    assert local.server.fetch(run).status is Status.RUNNING
    assert local.names(0.1) == []


@pytest.mark.parametrize(("overlap", "events"), [("skip", []), ("queue", []), ("replace", [Action.STOP])])
def test_overlap_does_what_it_says(make: Any, overlap: str, events: list[Action]) -> None:
    local = make(job(overlap=overlap))
    run = local.begin(local.after(10.5))
    assert [event.action for event in local.after(10)] == events
    local.finish(run, Status.STOPPED if overlap == "replace" else Status.SUCCESS)
    follow_up = local.names(0.1)
    assert len(follow_up) == (0 if overlap == "skip" else 1)  # never two of one job at a time
    statuses = sorted(run.status for run in local.store.recent(10))
    assert (
        statuses
        == {"skip": ["skipped", "success"], "queue": ["pending", "success"], "replace": ["pending", "stopped"]}[overlap]
    )


@pytest.mark.parametrize(("policy", "runs"), [("once", 1), ("skip", 0)])
def test_missed_runs_are_caught_up_once_or_skipped(make: Any, policy: str, runs: int) -> None:
    local = make(job(time="0 * * * *", catch_up=policy))
    for run in local.after(3600):
        local.finish(run.tasks[0].id)
    local.restart()
    assert len(local.names(5 * 3600 + 1800)) == runs


def test_an_hour_that_a_clock_change_repeats_loses_no_run(make: Any) -> None:
    local = make()
    local.world.time += (datetime(2026, 11, 1, 4, 45, tzinfo=UTC) - local.node.wall()).total_seconds()
    local.write(job(time="*/30 * * * *", timezone="America/New_York"))
    local.after(0)
    seen = []
    for _ in range(8):  # until 1:45 in winter time
        for event in local.after(900):
            seen += [task.name for task in event.tasks]
            local.finish(event.tasks[0].id)
    assert seen == [
        "j-20261101-010000", "j-20261101-013000", "j-20261101-010000-0500", "j-20261101-013000-0500",
    ]  # fmt: skip


def test_a_category_that_this_worker_does_not_take_is_a_mistake(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    with heard(caplog):
        local = make(job(name="typo", category="comand"), job(), job(name="s", category="script", args={}))
    assert [name.split("-")[0] for name in local.names(10.5)] == ["j", "s"]
    assert "job 'typo': category 'comand' is not in worker.tasks; did you mean 'command'?" in caplog.text


def test_one_schedule_may_serve_several_workers(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    with heard(caplog):
        local = make(job(name="other", metadata={"worker_select": ["x"]}), job(metadata={"worker_select": ["w"]}))
    assert [run.split("-")[0] for run in local.names(10.5)] == ["j"]
    assert "other" not in caplog.text


def test_new_times_count_from_the_change_on(make: Any) -> None:
    local = make(job(time="0 0 1 1 *", catch_up="once"))
    local.after(3 * 3600)
    local.write(job(time="0 * * * *", catch_up="once"))
    assert local.names(1) == []
    assert len(local.names(3600)) == 1


def test_a_changed_command_leaves_the_times_alone(make: Any) -> None:
    local = make(job())
    local.after(5)
    local.write(job(command="false"))
    assert len(local.names(5.5)) == 1


def test_a_retry_survives_a_restart(make: Any) -> None:
    local = make(job(name="x-retry-y", time="0 0 * * *", max_retry=1, retry_delay=300))
    (event,) = local.after(24 * 3600 - 995)
    local.finish(event.tasks[0].id, Status.FAILED)
    local.restart()
    assert local.names(290) == []
    assert local.names(20) == [f"{event.tasks[0].name}-retry-1"]


def test_a_retry_waits_until_the_regular_run_is_over(make: Any) -> None:
    local = make(job(max_retry=1, retry_delay=12))
    local.finish(local.begin(local.after(10.5)), Status.FAILED)
    regular = local.begin(local.after(10))
    assert local.names(5) == []  # the retry is due by now
    local.finish(regular)
    assert local.names(0.1)[0].endswith("-retry-1")


def test_a_replaced_run_that_had_not_begun_does_not_run_later(make: Any) -> None:
    local = make(job(overlap="replace"))
    first, second, third = local.after(10.5), local.after(10), local.after(10)
    assert [len(events) for events in (first, second, third)] == [1, 1, 1]
    assert [run.status for run in local.store.recent(3)] == ["pending", "skipped", "skipped"]


def test_what_waits_for_a_job_that_is_gone_is_ended(make: Any) -> None:
    local = make(job())
    local.after(10.5)
    local.write(job(name="other"))
    local.after(1)
    assert [run.status for run in local.store.recent(3)] == ["skipped"]


@pytest.mark.parametrize(("policy", "runs"), [("once", 1), ("skip", 0)])
def test_what_a_former_life_did_not_start_is_missed_too(make: Any, policy: str, runs: int) -> None:
    local = make(job(time="0 * * * *", catch_up=policy))
    assert len(local.names(3600 - 995)) == 1
    local.store.close()
    local.world.time += 1800
    local.open()
    assert len(local.names(0)) == runs


def test_a_restart_runs_no_moment_twice(make: Any) -> None:
    local = make(job())
    first = local.names(10.5)
    for run in local.store.live():
        local.finish(run.id)
    local.restart()
    assert local.names(0.5) == []
    assert len(first) == 1


def test_a_failure_is_retried_as_often_as_allowed(make: Any) -> None:
    local = make(job(time="0 0 * * *", max_retry=2, retry_delay=5))
    (event,) = local.after(24 * 3600 - 995)
    name = event.tasks[0].name
    local.finish(event.tasks[0].id, Status.FAILED)
    for number in (1, 2):
        (event,) = local.after(5.5)
        assert event.tasks[0].name == f"{name}-retry-{number}"
        local.finish(event.tasks[0].id, Status.ERROR)
    assert local.names(60) == []


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.STOPPED, Status.SUCCESS])
def test_other_ends_are_not_retried(make: Any, status: Status) -> None:
    local = make(job(time="0 0 * * *", max_retry=2, retry_delay=1))
    (event,) = local.after(24 * 3600 - 995)
    local.finish(event.tasks[0].id, status)
    assert local.names(60) == []


def test_a_changed_file_counts_at_once_and_a_broken_one_changes_nothing(make: Any) -> None:
    local = make(job())
    local.write(job(name="other"))
    local.after(1)
    assert local.names(10)[0].startswith("other-")
    local.path.write_text("{broken")
    local.after(1)
    assert local.names(10)[0].startswith("other-")
    local.path.unlink()
    local.after(1)
    for run in local.store.live():
        local.finish(run.id)
    assert local.names(20)[0].startswith("other-")


def test_the_first_end_counts(make: Any) -> None:
    local = make(job())
    run = local.begin(local.after(10.5))
    local.finish(run, Status.FAILED)
    local.finish(run, Status.SUCCESS)
    task = local.server.fetch(run)
    assert (task.status, task.ended) == (Status.FAILED, True)
    assert [it.id for it in local.server.of_worker("w", None, 10)] == [run]


def test_a_run_that_is_handed_back_is_offered_again(make: Any) -> None:
    local = make(job())
    run = local.begin(local.after(10.5))
    local.server.send(Report(run, Status.PENDING))
    assert len(local.names(0.1)) == 1


def test_locks_have_one_owner_and_expire(make: Any) -> None:
    server = make(job()).server
    value = server.acquire("k", 10, 1)
    assert server.acquire("k", 10, 1) is None
    assert server.refresh("k", value, 10, 1)
    assert not server.refresh("k", "other", 10, 1)
    server.release("k", value, 1)
    server.release("k", value, 1)
    assert server.acquire("k", 10, 1)


def test_logs_grow_and_tell_their_size(make: Any) -> None:
    local = make(job())
    run = local.begin(local.after(10.5))
    assert local.server.append(run, "日\n") == 4
    assert local.server.append(run, "x") == 5
    assert local.server.read(run) == "日\nx".encode()
    local.server.replace(run, "y")
    assert local.store.log(run) == "y"
    assert local.server.append(run, "z") == 2


def test_what_needs_a_server_says_so(make: Any) -> None:
    server = make(job()).server
    with pytest.raises(Refused, match="API server"):
        server.create_approval("t", Approval("x", "", "{}", ("u",), (), False, 1, "{}"))
    server.cancel_approval("a")
    with pytest.raises(NotFound):
        server.fetch("nobody")
    with pytest.raises(NotFound):
        server.credential("c")
    assert server.category("git").check == ""


def test_a_closed_schedule_says_so_and_a_stop_reaches_its_run(make: Any) -> None:
    local = make(job())
    local.server.stop("t")
    assert local.after(0)[0].action is Action.STOP
    local.server.ping()
    assert local.server.silence() == 0
    local.server.close()
    with pytest.raises(ConnectionLost):
        local.server.receive(0)
    with pytest.raises(ConnectionLost):
        local.server.send(Report("t", Status.RUNNING))


def test_the_history_is_bounded_and_a_damaged_one_is_told(make: Any, tmp_path: Path) -> None:
    local = make(job())
    for number in range(5):
        local.store.end(local.begin(local.after(10.5 if not number else 10)), "success", "", "", number)
    local.store.trim(2)
    assert len(local.store.recent(10)) == 2
    (tmp_path / "bad.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(JournalError, match="move it away"):
        Store(tmp_path / "bad.sqlite")


def test_the_logs_of_the_history_are_bounded_in_bytes(tmp_path: Path) -> None:
    store = Store(tmp_path / "h.sqlite", logs=1000)
    for number in range(5):
        store.add(Run(f"r{number}", "j", f"n{number}", number, "pending", "", 0, "", None))
        store.append_log(f"r{number}", "x" * 400)
        store.end(f"r{number}", "success", "", "", number)
        store.trim(100)
    assert [store.log_size(f"r{number}") for number in range(5)] == [0, 0, 0, 400, 400]
    assert len(store.recent(10)) == 5
    assert store.append_log("nobody", "x") == 0
    store.close()


def test_a_moment_that_cannot_be_stored_is_planned_again(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    local = make(job(), job(name="k"))
    add, failing = local.store.add, [True]

    def full(run: Run) -> None:
        if run.job == "k" and failing:
            failing.clear()
            raise JournalError("the disk is full")
        add(run)

    monkeypatch.setattr(local.store, "add", full)
    with pytest.raises(ConnectionLost, match="disk is full"):
        local.after(10.5)
    assert local.store.live() == []
    assert [name.split("-")[0] for name in local.names(0.1)] == ["j", "k"]


def test_a_schedule_that_could_not_be_taken_in_is_taken_in_later(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    local = make()
    see = local.store.see
    monkeypatch.setattr(local.store, "see", lambda *_: (_ for _ in ()).throw(JournalError("the disk is full")))
    local.write(job())
    with pytest.raises(ConnectionLost):
        local.after(1)
    monkeypatch.setattr(local.store, "see", see)
    local.after(1)
    assert len(local.names(10)) == 1


def test_a_clock_that_goes_back_runs_nothing_again() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    cron = Cron("* * * * *", ZoneInfo("UTC"))
    assert cron.after(start) == start + timedelta(minutes=1)
