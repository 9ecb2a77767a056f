"""The embedded schedule: cron rules, the file, planning, and what it remembers."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.config.load import load
from adapters.local.claims import LocalClaims
from adapters.local.cron import Cron
from adapters.local.logs import LocalLogs
from adapters.local.planner import Planner
from adapters.local.schedule import KEYS, parse, read
from adapters.local.server import LocalServer
from adapters.local.store import Run, Store
from adapters.observability.metrics import MemoryMetrics
from adapters.plugin import Surroundings
from adapters.runtime.threads import ThreadRuntime
from adapters.testkit.simulation import SimNode, Simulation
from application.ports import Identity, LogPiece, Offer, Receipt, Report, Stop, Verb
from domain.errors import ConfigError, ConnectionLost, JournalError, NotFound, Refused
from domain.runner import Approval
from domain.status import Status
from domain.task import Action, Task
from tests.support.log_history import History

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
    ("text", "reason"),
    [
        ("", "has 0 fields"), ("* *", "has 2 fields"), ("* * * *", "has 4 fields"), ("* * * * * * * *", "has 8 fields"),
        ("61 * * * *", "minute that is not understood, '61': it takes 0 to 59"), ("a b c d e", "minute"),
        ("0 0 0 1 1 * soon", "year"), ("@never", "known are @annually"), ("@dayly", "did you mean '@daily'"),
        ("@reboot", "known are"), ("@every 5m", "known are"), ("*/90 * * * *", "step in its minute, '\\*/90'"),
        ("0 */25 * * *", "hour"), ("5/70 0 0 * * *", "second"), ("0 0 */32 * *", "day-of-month"), ("0 0 1 */13 *", "month"),
        ("0 0 * * */8", "day-of-week"), ("0,*/90 * * * *", "minute"), ("*/0 * * * *", "minute"), ("*/1e3 * * * *", "minute"),
        ("0 0 15W * *", "LW"), ("0 0 * * 5#6", "5#3"), ("0 0 * * L", "5L"), ("0 22-2 * * *", "low to high"),
        ("0 0 30 2 *", "no month '2' has a day '30'"), ("0 0 0 29 2 * 2027", "never comes"), ("0 0 0 31 4 ? 2027", "never comes"),
        ("0 0 0 29,30 2 * 2026-2027", "never comes"), ("0 0 0 1 1 * 1969", "1970 to 2099"), ("0 0 0 1 1 * 2100", "year"),
        ("0 0 0 1 1 * 2028-2026", "low to high"), ("0 0 0 1 1 * 2_027", "year"), ("0 0 0 1 1 * 2026/0", "year"),
        ("0 0 0 1 1 * 27", "year"), ("0 0 0 1 1 * -5", "year"), ("0 0 0 1 1 * 2026-", "year"), ("0 0 0 1 1 * ٢٠٢٧", "year"),
        ("9" * 5000 + " * * * *", "is not a schedule"), ("* * * * ²L", "day-of-week"), ("*/" + "9" * 5000 + " * * * *", "minute"),
        ("1, * * * *", "minute"), ("0 0 L/2/2 * *", "day-of-month"),
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"^time .*{reason}"):
        Cron(text, ZoneInfo("UTC"))


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("0 0 L * *", "01-31 00:00:00"), ("0 0 LW * *", "01-30 00:00:00"), ("0 0 * * 5L", "01-30 00:00:00"),
        ("0 0 * * 5#3", "01-16 00:00:00"), ("*/60 * * * *", "01-01 01:00:00"), ("5-5/10 * * * *", "01-01 00:05:00"),
        ("0 0 0 29 2 * 2027-2028", "02-29 00:00:00"), ("0 0 29 feb mon", "02-02 00:00:00"),
    ],
)  # fmt: skip
def test_what_is_rare_is_a_schedule_all_the_same(text: str, first: str) -> None:
    assert nexts(text, ZoneInfo("UTC"), datetime(2026, 1, 1, tzinfo=UTC), 1) == [first]


@given(st.text("0123456789*/,-?#LWlw@ ²MONFEB", max_size=40))
def test_any_text_is_a_schedule_or_is_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        Cron(text, ZoneInfo("UTC")).after(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("year", [1970, 2020, 9990, 9999])
def test_a_moment_of_any_clock_has_a_next_one_or_none(year: int) -> None:
    moment = datetime(year, 12, 31, 23, 59, 58, tzinfo=UTC)
    for zone in ("UTC", "Pacific/Kiritimati", "America/Adak"):
        for text in ("* * * * * *", "0 0 1 1 *", "* * 29 2 *"):
            following = Cron(text, ZoneInfo(zone)).after(moment)
            assert following is None or following > moment


def job(**fields: Any) -> dict[str, Any]:
    return {"name": "j", "time": "*/10 * * * * *", "command": "true", "timezone": "UTC"} | fields


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"comand": "x"}, "did you mean 'command'"), ({"time": ""}, "time is missing"), ({"time": "x"}, "fields"),
        ({"Command": "x"}, "did you mean 'command'"), ({"zzz": 1}, "known are name, time"), ({"name": 5}, "must be a text"),
        ({"name": "  "}, "name is missing"), ({"retry_delay": math.nan}, "retry_delay is nan"),
        ({"retry_delay": math.inf}, "retry_delay is inf"), ({"retry_delay": -0.5}, "retry_delay must not be negative"),
        ({"retry_delay": 10**400}, "retry_delay must not be more"), ({"timeout": 10**20}, "timeout must not be more"),
        ({"timeout": 1.5}, "must be a whole number"), ({"max_retry": None}, "it is null"),
        ({"args": {"a": [{"b": math.nan}]}}, "args.a.1.b is nan"), ({"overlap": "Skip"}, "did you mean 'skip'"),
        ({"timezone": "Europe/Berln"}, "did you mean 'Europe/Berlin'"), ({"timezone": "Europe"}, "'Europe' is unknown"),
        ({"timezone": "europe/berlin"}, "did you mean 'Europe/Berlin'"), ({"timezone": "../etc/passwd"}, "unknown"),
        ({"timezone": "/etc/localtime"}, "unknown"), ({"timezone": "x" * 5000}, "unknown"), ({"timezone": "a\0b"}, "unknown"),
        ({"args": json.loads("[" * 60 + "]" * 60)}, "nested deeper than 50"),
        ({"timeout": "5"}, "wrong type"), ({"timeout": True}, "wrong type"), ({"timeout": -1}, "negative"),
        ({"overlap": "maybe"}, "skip, queue, replace"), ({"timezone": "Mars/Base"}, "Europe/Berlin"),
        ({"metadata": {"environment": {"A": 1}}}, "environment"), ({"command": " "}, "command is missing"),
        ({"name": "j\ud800"}, "half of a character"),
    ],
)  # fmt: skip
def test_a_broken_job_is_refused_with_its_reason(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse(job(**fields))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", [True, 5, 1.5, "text", [], {}, None])
def test_a_value_of_the_wrong_type_is_told_with_its_key(key: str, value: object) -> None:
    kind = KEYS[key]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(value) not in kinds:
        with pytest.raises(ConfigError, match=f"^{key} has the wrong type: it is .* and must be "):
            parse(job() | {key: value})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"jobs": [], "Jobs": []}', "unknown key 'Jobs' beside 'jobs': .*did you mean 'jobs'"),
        ('{"jobs": [], "timezone": "Europe/Berlin"}', "'timezone' .* write 'timezone' into each job"),
        ('{"jobs": [], "time_zone": "Europe/Berlin"}', "write 'timezone' into each job"),
        ('{"jobs": [], "version": 1}', "'version' .* take it out"),
        ('{"jobs": [{"name": "a", "name": "b", "time": "* * * * *", "command": "x"}]}', "job 'b': tells 'name' twice"),
        ('{"jobs": [{"name": "a", "time": "* * * * *", "category": "http", "args": {"x": 1, "x": 2}}]}', "args tells 'x' twice"),
        ('{"jobs": [{"name": "a", "time": "* * * * *", "command": "x", "retry_delay": NaN}]}', "job 'a': retry_delay is nan"),
        ('{"jobs": [{"name": "a", "time": "* * * * *", "command": "x", "retry_delay": 1e999}]}', "retry_delay is inf"),
        ('{"jobs": [{"name": "a", "time": "0 0 0 1 1 * 1970", "command": "x"}]}', "job 'a': .*is over and never comes again"),
        ('{"jobs": [null]}', "job 1: is null and not an object such as"), ('{"jobs": [7]}', "is a whole number and not"),
    ],
)  # fmt: skip
def test_what_nobody_can_mean_is_told_with_file_and_key(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "schedule.json"
    path.write_text(text)
    (problem,) = read(path, now=datetime(2026, 1, 1, tzinfo=UTC)).problems
    assert re.match(f"{path}: .*{reason}", problem), problem


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"Jobs": []}', "'Jobs' must be called 'jobs'"), ('{"JOBS": [], "x": 1}', "'JOBS' must be called 'jobs'"),
        ('{"jobs": [], "jobs": []}', "tells 'jobs' twice"), ('{"jobs": null}', 'must hold {"jobs"'),
        ('{"jobs": [' + "9" * 5000 + "]}", "more digits"),
    ],
)  # fmt: skip
def test_a_file_whose_jobs_cannot_be_told_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "schedule.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"{path}: .*{reason}"):
        read(path)


def test_a_job_whose_last_time_was_missed_is_caught_up_although_it_is_over(make: Any) -> None:
    local = make(job(time="0 0 12 1 6 * 2026", catch_up="once"))
    local.store.close()
    local.world.time += (datetime(2026, 6, 1, 13, tzinfo=UTC) - local.node.wall()).total_seconds()
    local.open()
    assert local.names(1) == ["j-20260601-120000"]


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


# -- planning, in virtual time -------------------------------------------------------------------------------------


class Local:
    """A local server in virtual time that a test moves by hand."""

    def __init__(self, tmp_path: Path, *jobs: dict[str, Any]) -> None:
        self.path = tmp_path / "schedule.json"
        self.write(*jobs)
        self.database = tmp_path / "history.sqlite"
        self.world = Simulation(1)
        self.node: SimNode = self.world.node("local")
        self.ahead = timedelta(0)  # how far its wall clock is ahead
        wall = self.node.wall
        self.node.wall = lambda: wall() + self.ahead  # type: ignore[method-assign]
        self.open()

    def write(self, *jobs: dict[str, Any]) -> None:
        self.path.write_text(json.dumps({"jobs": jobs}))

    def open(self) -> None:
        self.store = Store(self.database)
        self.logs = LocalLogs(self.store)
        self.server = LocalServer(self.node, Planner(self.path, self.store, 100), self.store, self.logs)
        self.server.connect(Identity("w", "w", tasks=("command", "script")))

    def restart(self) -> None:
        self.store.close()
        self.open()

    def events(self, seconds: float) -> Sequence[Offer | Stop]:
        self.world.time += seconds
        return self.server.receive(100, 0)

    def after(self, seconds: float) -> list[Task]:
        """The tasks that are offered."""
        return [event.task for event in self.events(seconds) if isinstance(event, Offer)]

    def names(self, seconds: float) -> list[str]:
        return [task.name for task in self.after(seconds)]

    def finish(self, task_id: str, status: Status = Status.SUCCESS) -> Receipt:
        return self.server.publish(Report(task_id, Verb.ENDED, status, output="{}"), "t")

    def begin(self, tasks: list[Task]) -> str:
        assert self.server.running(tasks[0].id, "t") is Receipt.CONFIRMED
        return tasks[0].id

    def append(self, run: str, offset: int, text: str, ended: bool = False) -> int:
        """Returns up to where the history has the log."""
        return self.logs.append(LogPiece(run, offset, text.encode(), ended, History())).offset


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
    assert [task.name for task in again] == first
    run = local.begin(again)
    assert local.server.fetch(run).status is Status.RUNNING
    assert local.names(0.1) == []


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
def test_overlap_does_what_it_says(make: Any, overlap: str) -> None:
    local = make(job(overlap=overlap))
    run = local.begin(local.after(10.5))
    assert local.events(10) == ([Stop(run, Action.STOP)] if overlap == "replace" else [])
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
        local.finish(run.id)
    local.restart()
    assert len(local.names(5 * 3600 + 1800)) == runs


def test_an_hour_that_a_clock_change_repeats_loses_no_run(make: Any) -> None:
    local = make()
    local.world.time += (datetime(2026, 11, 1, 4, 45, tzinfo=UTC) - local.node.wall()).total_seconds()
    local.write(job(time="*/30 * * * *", timezone="America/New_York"))
    local.after(0)
    seen = []
    for _ in range(8):  # until 1:45 in winter time
        for task in local.after(900):
            seen.append(task.name)
            local.finish(task.id)
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
    (task,) = local.after(24 * 3600 - 995)
    local.finish(task.id, Status.FAILED)
    local.restart()
    assert local.names(290) == []
    assert local.names(20) == [f"{task.name}-retry-1"]


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
    assert [len(tasks) for tasks in (first, second, third)] == [1, 1, 1]
    assert [run.status for run in local.store.recent(3)] == ["pending", "skipped", "skipped"]


def test_what_waits_for_a_job_that_is_gone_is_ended(make: Any) -> None:
    local = make(job())
    local.after(10.5)
    local.write(job(name="other"))
    local.after(1)
    assert [run.status for run in local.store.recent(3)] == ["skipped"]


@pytest.mark.parametrize(("policy", "runs"), [("once", 1), ("skip", 0)])
def test_what_a_previous_run_did_not_start_is_missed_too(make: Any, policy: str, runs: int) -> None:
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
    (task,) = local.after(24 * 3600 - 995)
    name = task.name
    local.finish(task.id, Status.FAILED)
    for number in (1, 2):
        (task,) = local.after(5.5)
        assert task.name == f"{name}-retry-{number}"
        local.finish(task.id, Status.ERROR)
    assert local.names(60) == []


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.STOPPED, Status.SUCCESS])
def test_other_ends_are_not_retried(make: Any, status: Status) -> None:
    local = make(job(time="0 0 * * *", max_retry=2, retry_delay=1))
    (task,) = local.after(24 * 3600 - 995)
    local.finish(task.id, status)
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
    assert local.finish(run, Status.FAILED) is Receipt.CONFIRMED
    assert local.finish(run, Status.SUCCESS) is Receipt.SUPERSEDED
    assert local.finish(run, Status.FAILED) is Receipt.CONFIRMED, "the same end may come again"
    assert local.server.running(run, "t") is Receipt.SUPERSEDED
    task = local.server.fetch(run)
    assert (task.status, task.ended) == (Status.FAILED, True)
    assert [it.id for it in local.server.of_worker("w", None, 10)] == [run]


def test_a_run_that_is_handed_back_is_offered_again(make: Any) -> None:
    local = make(job())
    run = local.begin(local.after(10.5))
    assert local.server.hand_back(Report(run, Verb.HANDED_BACK), "t") is Receipt.CONFIRMED
    assert len(local.names(0.1)) == 1


def test_an_offer_that_was_declined_comes_again_when_the_worker_wishes(make: Any) -> None:
    local = make(job(time="0 * * * *"))
    (offer,) = local.events(3600 - 995)
    local.server.decline(offer, "no room", 20.0)
    assert local.names(15) == []
    assert local.names(5.5) == [offer.task.name]


def test_what_nobody_has_planned_is_superseded(make: Any) -> None:
    server = make(job()).server
    assert server.running("nobody", "t") is Receipt.SUPERSEDED
    assert server.publish(Report("nobody", Verb.ENDED, Status.SUCCESS), "t") is Receipt.SUPERSEDED
    assert server.hand_back(Report("nobody", Verb.HANDED_BACK), "t") is Receipt.CONFIRMED


def test_a_run_has_one_owner_whose_claim_expires(make: Any) -> None:
    local = make(job())
    claims = LocalClaims(local.node, local.server)
    (offer,) = local.events(10.5)
    claim = claims.claim(offer, "one", 10, 1)
    assert claim is not None
    assert (claim.token, claim.task) == ("one", local.server.fetch(offer.task.id))
    assert claims.claim(offer, "two", 10, 1) is None
    assert claims.claim(offer, "one", 10, 1), "after a lost answer the same token is the same claim"
    assert claims.extend(offer.task.id, "one", 10, 1)
    assert not claims.extend(offer.task.id, "two", 10, 1)
    local.world.time += 9.9
    assert claims.claim(offer, "two", 10, 1) is None
    assert claims.settle(offer.task.id, "one", 1)
    assert not claims.settle(offer.task.id, "one", 1)
    assert claims.claim(offer, "two", 10, 1)
    local.world.time += 10.1
    assert not claims.extend(offer.task.id, "two", 10, 1)
    assert claims.claim(offer, "three", 10, 1)


def test_logs_grow_and_a_piece_that_comes_again_stands_there_once(make: Any) -> None:
    local = make(job())
    run = local.begin(local.after(10.5))
    assert local.append(run, 0, "日\n") == 4
    assert local.append(run, 4, "x") == 5
    assert local.append(run, 0, "日\n") == 5, "the server has more than that already"
    assert local.append(run, 4, "xyz") == 7
    assert local.append(run, 7, "", ended=True) == 7
    assert local.store.log(run) == "日\nxyz"
    assert local.append("nobody", 0, "x") == 1, "a run that is trimmed away has no log, and that is no reason to wait"


def test_what_needs_a_server_says_so(make: Any, tmp_path: Path) -> None:
    file = tmp_path / "config_worker.json"
    file.write_text('{"transport": "local"}')
    with contextlib.ExitStack() as stack:
        loaded = load(str(file), environment={})
        around = Surroundings(loaded, ThreadRuntime(), MemoryMetrics(), tmp_path, stack, lambda _: None)
        server = loaded.transport.open(around)
        with pytest.raises(Refused, match="server that takes approvals"):
            server.approvals.create_approval("t", Approval("x", "", "{}", ("u",), (), False, 1, "{}"))
        server.approvals.cancel_approval("a")
        with pytest.raises(NotFound):
            server.read_back.fetch("nobody")  # type: ignore[union-attr]
        with pytest.raises(NotFound):
            server.credentials.credential("c")
        assert server.scripts.category("git").check == ""


def test_a_closed_schedule_says_so_and_a_stop_reaches_its_run(make: Any) -> None:
    local = make(job())
    local.server.stop("t")
    local.server.stop("u", force=True)
    assert local.events(0) == [Stop("t", Action.STOP), Stop("u", Action.KILL)]
    local.server.ping()
    assert local.server.silence() == 0
    local.server.close()
    with pytest.raises(ConnectionLost):
        local.server.receive(1, 0)
    for call in (local.server.running, local.server.publish, local.server.hand_back):
        with pytest.raises(ConnectionLost):
            call(Report("t", Verb.ENDED, Status.SUCCESS) if call != local.server.running else "t", "t")


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


def test_an_end_and_its_retry_are_stored_together_or_not_at_all(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    local = make(job(max_retry=1))
    run = local.begin(local.after(10.5))
    with monkeypatch.context() as patched:
        patched.setattr(local.store, "trim", lambda _: (_ for _ in ()).throw(JournalError("the disk is full")))
        with pytest.raises(ConnectionLost):
            local.finish(run, Status.FAILED)
    assert [it.status for it in local.store.live()] == ["running"]
    local.finish(run, Status.FAILED)
    assert [(it.status, it.retry) for it in local.store.live()] == [("pending", 1)]


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


# -- a clock that is set -------------------------------------------------------------------------------------------


def finished(local: Local, seconds: float) -> list[str]:
    """What runs within ``seconds``, each at once and successfully."""
    names = []
    for _ in range(round(seconds)):
        for task in local.after(1):
            names.append(task.name)
            local.finish(task.id)
    return names


@pytest.mark.parametrize("ahead", [timedelta(days=1461), timedelta(days=1), timedelta(hours=4), timedelta(minutes=10)])
@pytest.mark.parametrize("while_running", [True, False])
@pytest.mark.parametrize("time", ["*/5 * * * * *", "0-59/5 * 0-23 * * *"])
def test_a_clock_that_was_ahead_silences_nothing(
    make: Any, caplog: pytest.LogCaptureFixture, ahead: timedelta, while_running: bool, time: str
) -> None:
    local = make()
    local.ahead = ahead
    local.write(job(time=time))
    assert len(finished(local, 10)) >= 1
    local.ahead = timedelta(0)
    with heard(caplog):
        if not while_running:
            local.restart()
        assert len(finished(local, 20)) >= 4
    assert "go on from the present: the clock was ahead" in caplog.text
    assert ("the clock was set back by" in caplog.text) is while_running
    assert "missed" not in caplog.text


def at_hour(local: Local, hour: float) -> None:
    midnight = datetime(2026, 6, 1, tzinfo=UTC)
    local.world.time += (midnight + timedelta(hours=hour) - local.node.wall()).total_seconds()


@pytest.mark.parametrize(("back", "again"), [(0.5, 0), (2.5, 0), (3.5, 1), (24, 1)])
@pytest.mark.parametrize("restarted", [True, False])
def test_a_fixed_time_runs_again_only_where_the_clock_was_wrong_by_hours(
    make: Any, back: float, again: int, restarted: bool
) -> None:
    local = make()
    at_hour(local, 0)
    local.write(job(time="0 12 * * *"))
    local.after(0)
    at_hour(local, 12)
    assert len(finished(local, 60)) == 1
    local.ahead = -timedelta(hours=back)
    if restarted:
        local.restart()
    local.after(1)
    at_hour(local, 11.999)
    assert len(finished(local, 60)) == again
    local.world.time += 12 * 3600
    local.after(1)
    at_hour(local, 36)
    assert len(finished(local, 5)) == 1, "the next day is as ever"


def test_a_fixed_time_that_never_ran_runs_although_the_clock_has_shown_it(make: Any) -> None:
    local = make()
    at_hour(local, 13)
    local.write(job(time="0 12 * * *"))  # the worker begins with a clock that is ahead
    local.after(0)
    local.ahead = -timedelta(hours=2)
    local.after(1)
    at_hour(local, 12)
    assert len(finished(local, 5)) == 1


def test_a_retry_waits_no_longer_than_its_pause_when_the_clock_is_set_back(make: Any) -> None:
    local = make(job(time="0 0 * * *", max_retry=1, retry_delay=30))
    (task,) = local.after(24 * 3600 - 995)
    local.finish(task.id, Status.FAILED)
    local.ahead = -timedelta(days=300)
    assert finished(local, 20) == []
    assert len(finished(local, 15)) == 1


def test_a_run_that_a_clock_far_ahead_made_due_does_not_run_at_another_time(make: Any) -> None:
    local = make()
    local.ahead = timedelta(days=1000)
    local.write(job(time="0 0 * * *"))
    local.after(1)
    local.world.time += 24 * 3600 - 995
    assert len(local.after(0)) == 1  # offered, and not begun
    local.ahead = timedelta(0)
    local.restart()
    assert local.names(1) == []
    assert [run.status for run in local.store.recent(3)] == ["skipped"]


def test_a_small_correction_of_the_clock_runs_nothing_twice(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    local = make(job())
    before = finished(local, 30)
    local.ahead = -timedelta(seconds=12)
    with heard(caplog):
        after = finished(local, 60)
    assert len({*before, *after}) == len(before) + len(after) == 7
    assert caplog.text == ""


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "time", ["30 2 * * *", "0 30 2 * * *", "0 30 2 * * * 2026", "0 30 2 ? * * *", "15,45 30 2 * * *"]
)
def test_seconds_and_years_change_nothing_about_a_clock_change(time: str) -> None:
    cron = Cron(time, BERLIN)
    spring = list(cron.between(datetime(2026, 3, 28, 12, tzinfo=BERLIN), datetime(2026, 3, 29, 12, tzinfo=BERLIN)))
    assert [f"{it:%H:%M}" for it in spring] == ["03:00"]
    autumn = list(cron.between(datetime(2026, 10, 24, 12, tzinfo=BERLIN), datetime(2026, 10, 25, 12, tzinfo=BERLIN)))
    assert {f"{it:%H:%M%z}" for it in autumn} == {"02:30+0200"}
    assert len(autumn) == (2 if "," in time else 1)


@pytest.mark.parametrize("minute", [1, 29, 31, 59])
@pytest.mark.parametrize("time", ["30 2 * * *", "0 30 2 * * *", "0 30 2 * * * *"])
def test_a_start_in_the_hour_that_a_clock_change_repeats_runs_nothing_and_misses_nothing(
    make: Any, caplog: pytest.LogCaptureFixture, time: str, minute: int
) -> None:
    local = make()
    start = datetime(2026, 10, 25, 1, minute, tzinfo=UTC)  # 02:00+01:00 and these minutes
    local.world.time += (start - local.node.wall()).total_seconds()
    local.write(job(time=time, timezone="Europe/Berlin"))
    with heard(caplog):
        local.after(0)
        assert finished(local, 3600) == []
        assert "missed" not in caplog.text
        local.world.time += (datetime(2026, 10, 26, 1, 29, 59, tzinfo=UTC) - local.node.wall()).total_seconds()
        assert finished(local, 3) == ["j-20261026-023000"]


def test_a_restart_after_the_first_of_two_equal_hours_runs_nothing_again(make: Any) -> None:
    local = make()
    local.world.time += (datetime(2026, 10, 25, 0, 29, 55, tzinfo=UTC) - local.node.wall()).total_seconds()
    local.write(job(time="30 2 * * *", timezone="Europe/Berlin"))
    local.after(0)
    assert finished(local, 10) == ["j-20261025-023000"]
    local.world.time += 3000
    local.restart()
    assert finished(local, 3600) == []


# -- output in the worker's log ------------------------------------------------------------------------------------


@pytest.fixture
def shown() -> Iterator[list[str]]:
    """The lines of output in the worker's log, each with what it is called."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("worker.output")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.mark.parametrize("size", [7, 1000, 10**6])
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("".join(f"{number} of 2000\r" for number in range(1950, 2001)) + "\nend\n", ["2000 of 2000", "end"]),
        ("".join(f"\r{number} of 2000" for number in range(1950, 2001)), ["2000 of 2000"]),
        ("a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i\n", ["a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i"]),
        ("one\r\ntwo\r\n\r\nthree", ["one", "two", "", "three"]), ("a\n\nb\n", ["a", "", "b"]),
        ("x" * 9000 + "\nend\n", None),
    ],
)  # fmt: skip
def test_a_line_of_output_is_a_line_of_the_log(
    make: Any, shown: list[str], text: str, lines: list[str] | None, size: int
) -> None:
    local = make(job())
    run = local.begin(local.after(10.5))
    for start in range(0, len(text), size):
        local.append(run, len(text[:start].encode()), text[start : start + size])
    local.finish(run)
    if lines is None:
        assert "".join(line.removeprefix("| ") for line in shown) == text.replace("\n", "")
    else:
        assert shown == [f"| {line}" for line in lines]
    assert local.store.log(run) == text, "the history holds it as it was"
    local.append(run, len(text.encode()), "late")
    assert shown[-1] == "| late"


def test_a_clock_that_goes_back_runs_nothing_again() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    cron = Cron("* * * * *", ZoneInfo("UTC"))
    assert cron.after(start) == start + timedelta(minutes=1)
