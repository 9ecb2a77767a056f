"""Schedules across every change of every local clock, against a reckoning that knows nothing of cronsim."""

from __future__ import annotations

import bisect
import io
import itertools
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, available_timezones

import pytest

from adapters.local.cron import Cron
from domain.errors import ConfigError

HOUR, DAY = 3600, 86400
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
ZONES = sorted(available_timezones() - {"localtime"})


@dataclass(frozen=True)
class Plan:
    """A schedule as sets; times are seconds since 1970 that a local clock shows."""

    text: str
    fixed: bool
    times: tuple[int, ...]  # seconds of a day
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    both: bool  # day and weekday have to match, not one of them
    years: frozenset[int] | None

    def on(self, day: int) -> bool:
        """Whether the day, counted from 1970, is one of its days."""
        at = date(1970, 1, 1) + timedelta(days=day)
        matches = (at.day in self.days, at.isoweekday() % 7 in self.weekdays)
        right = all(matches) if self.both else any(matches)
        return right and at.month in self.months and (self.years is None or at.year in self.years)

    def within(self, first: int, last: int) -> Iterator[int]:
        for day in range(first // DAY, last // DAY + 1):
            if self.on(day):
                low = bisect.bisect_left(self.times, first - day * DAY)
                high = bisect.bisect_right(self.times, last - day * DAY)
                yield from (day * DAY + time for time in self.times[low:high])


def offset(zone: tzinfo, at: int) -> int:
    found = (EPOCH + timedelta(seconds=at)).astimezone(zone).utcoffset()
    assert found is not None
    return int(found.total_seconds())


def changes(zone: tzinfo, first: int, last: int) -> list[int]:
    """The moments in between at which the clock is set. No two of them are within two days of each other."""
    found = []
    for at in range(first, last, 2 * DAY):
        low, high, before = at, min(at + 2 * DAY, last), offset(zone, at)
        if offset(zone, high) != before:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
            found.append(high)
    return found


def reckoned(plan: Plan, zone: tzinfo, sets: list[int], first: int, last: int) -> list[int]:
    """What runs later than ``first`` and not later than ``last``; ``sets`` are the changes of the clock in between.

    The clock shows nothing at ``first`` that it has shown before.
    """
    found: set[int] = set()
    shown = first + offset(zone, first)
    for start, end in itertools.pairwise([first + 1, *sets, last + 1]):
        ahead = offset(zone, start)
        if plan.fixed:  # once, as soon as the clock shows it or more
            found |= {max(wall - ahead, start) for wall in plan.within(shown + 1, end - 1 + ahead)}
            shown = max(shown, end - 1 + ahead)
        else:
            found |= {wall - ahead for wall in plan.within(start + ahead, end - 1 + ahead)}
    return sorted(found)


def walked(plan: Plan, zone: tzinfo, first: int, last: int) -> list[int]:
    """The same, second by second."""
    found = []
    shown = first + offset(zone, first)
    for at in range(first + 1, last + 1):
        wall = at + offset(zone, at)
        if plan.fixed:
            if any(True for _ in plan.within(shown + 1, wall)):
                found.append(at)
            shown = max(shown, wall)
        elif any(True for _ in plan.within(wall, wall)):
            found.append(at)
    return found


def moments(plan: Plan, zone: tzinfo, first: int, last: int, most: int | None = None) -> list[int]:
    start, end = (EPOCH + timedelta(seconds=it) for it in (first, last))
    try:
        cron = Cron(plan.text, zone)
    except ConfigError as error:
        if "never comes" in str(error):
            return []
        raise
    return [int((at - EPOCH).total_seconds()) for at in itertools.islice(cron.between(start, end), most)]


KINDS = ("one", "list", "step", "from step", "range", "range step")


def field(
    draw: random.Random, low: int, high: int, near: int, some: float, kinds: int = len(KINDS)
) -> tuple[str, frozenset[int]]:
    """A field's text and what it means; ``near`` is likely among it; with the chance ``some`` it is not all."""
    everything = range(low, high + 1)
    if draw.random() > some:
        return "*", frozenset(everything)
    kind = draw.choice(KINDS[:kinds])
    first, step = draw.randint(low, near), draw.randint(1 + high // 6, high // 2)
    last = draw.randint(near, high)
    if kind == "one":
        return str(near), frozenset([near])
    if kind == "list":
        few = sorted({near, first, last})
        return ",".join(map(str, few)), frozenset(few)
    if kind == "range":
        return f"{first}-{last}", frozenset(range(first, last + 1))
    if kind == "step":
        return f"*/{step}", frozenset(everything[::step])
    if kind == "range step":
        return f"{first}-{last}/{step}", frozenset(range(first, last + 1, step))
    return f"{first}/{step}", frozenset(range(first, high + 1, step))


def drawn(draw: random.Random, wall: int) -> Plan:
    """A schedule of 5, 6 or 7 fields that is likely to have something to do when a clock shows ``wall``."""
    near = EPOCH + timedelta(seconds=wall)
    count = draw.choice([5, 6, 7])
    second = field(draw, 0, 59, near.second, 0.98, 4) if count > 5 else ("0", frozenset([0]))
    minute = field(draw, 0, 59, near.minute, 0.8)
    hour = field(draw, 0, 23, near.hour, 0.8)
    day, month = field(draw, 1, 31, near.day, 0.2), field(draw, 1, 12, near.month, 0.2)
    weekday, numbers = field(draw, 0, 7, near.isoweekday(), 0.2)
    weekdays = frozenset(number % 7 for number in numbers)
    years = frozenset([near.year, near.year + draw.randint(0, 3)]) if draw.random() < 0.5 else None
    fields = [*([second[0]] if count > 5 else []), minute[0], hour[0], day[0], month[0]]
    fields.append(NAMES[int(weekday) % 7] if weekday.isdecimal() else weekday)
    if count == 7:
        fields.append(",".join(map(str, sorted(years))) if years else "*")
    times = tuple(h * HOUR + m * 60 + s for h in sorted(hour[1]) for m in sorted(minute[1]) for s in sorted(second[1]))
    both = day[0].startswith("*") or weekday.startswith("*")
    fixed = "*" not in minute[0] + hour[0]
    return Plan(" ".join(fields), fixed, times, day[1], month[1], weekdays, both, years if count == 7 else None)


def around(draw: random.Random, zone: tzinfo, at: int) -> tuple[Plan, int, int]:
    """A schedule for a change of the clock, and the two moments between which it is looked at."""
    size = offset(zone, at) - offset(zone, at - 1)
    wall = at + offset(zone, draw.choice([at, at - 1])) + draw.randint(-abs(size) - HOUR, abs(size) + HOUR)
    return drawn(draw, wall), at - abs(size) - 2 * HOUR, at + abs(size) + 2 * HOUR


def compare(draw: random.Random, zone: tzinfo, sets: list[int], at: int, name: str) -> int:
    plan, first, last = around(draw, zone, at)
    right = reckoned(plan, zone, [it for it in sets if first < it <= last], first, last)
    told = f"{plan.text!r} in {name} at {EPOCH + timedelta(seconds=at)}"
    assert moments(plan, zone, first, last) == right, told
    # It goes on alike from any moment, also from one that the clock shows for the second time.
    start = draw.randint(first, last)
    assert moments(plan, zone, start, last) == [it for it in right if it > start], told
    return len(right)


def all_zones(first: int, last: int) -> tuple[int, int, int]:
    """How many changes, how many of them with runs, and how many runs were compared."""
    draw = random.Random(first)  # the same schedules each time
    counts = []
    for name in ZONES:
        zone = ZoneInfo(name)
        sets = changes(zone, year(first), year(last))
        counts += [compare(draw, zone, sets, at, name) for at in sets]
    return len(counts), sum(count > 0 for count in counts), sum(counts)


def year(number: int) -> int:
    return int((datetime(number, 1, 1, tzinfo=UTC) - EPOCH).total_seconds())


def test_every_zone_of_these_years_runs_what_its_clock_shows() -> None:
    schedules, busy, runs = all_zones(2025, 2028)
    assert schedules > 900
    assert busy > schedules / 2
    assert runs > schedules


@pytest.mark.torture("every change of every zone's clock since 1970, as a schedule sees it")
@pytest.mark.timeout(1200)
def test_every_zone_since_1970_runs_what_its_clock_showed() -> None:
    schedules, busy, runs = all_zones(1970, 2045)
    assert schedules > 30_000
    assert busy > schedules / 2
    assert runs > schedules


@pytest.mark.parametrize("name", ["Europe/Berlin", "Australia/Lord_Howe", "Antarctica/Troll"])
def test_a_walk_second_by_second_finds_the_same(name: str) -> None:
    zone, draw = ZoneInfo(name), random.Random(name)
    sets = changes(zone, year(2026), year(2027))
    for at in sets:
        for _ in range(4):
            plan, first, last = around(draw, zone, at)
            assert moments(plan, zone, first, last) == walked(plan, zone, first, last), plan.text


def made_zone(at: int, before: int, after: int) -> ZoneInfo:
    """A zone whose clock is set once."""
    types = struct.pack(">lBB", before, 0, 0) + struct.pack(">lBB", after, 0, 4)
    head = b"TZif2" + bytes(15)
    table = struct.pack(">6l", 0, 0, 0, 1, 2, 8)
    data = struct.pack(">q", at) + b"\1" + types + b"AAA\0BBB\0"
    empty = struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lBB", before, 0, 0) + b"AAA\0"
    return ZoneInfo.from_file(io.BytesIO(head + empty + head + table + data + b"\n\n"))


@pytest.mark.parametrize("size", [1200, 1800, HOUR, 5400, 2 * HOUR, 3 * HOUR, 12 * HOUR, DAY])
@pytest.mark.parametrize("way", [1, -1])
def test_a_gap_or_an_overlap_at_any_hour(size: int, way: int) -> None:
    draw = random.Random(size * way)
    for hour, count in itertools.product(range(24), range(3)):
        at = year(2026) + draw.randint(0, 364) * DAY + hour * HOUR + draw.choice([0, 0, 1800, 1, 3599])
        base = draw.randint(-8, 8) * HOUR - way * size // 2
        zone = made_zone(at, base, base + way * size)
        assert changes(zone, at - 3 * DAY, at + 3 * DAY) == [at]
        compare(draw, zone, [at], at, f"a clock set by {way * size} s in hour {hour}, {count}")


def test_rare_schedules_are_found_across_months_and_changes() -> None:
    draw = random.Random(7)
    for _ in range(150):
        name = draw.choice(ZONES)
        zone = ZoneInfo(name)
        first = year(2025) + draw.randint(0, 600) * DAY
        while changes(zone, first - 3 * DAY, first + DAY):
            first += DAY
        plan = drawn(draw, first + draw.randint(0, 900) * DAY + draw.randint(0, DAY))
        last = first + max(3, min(1400, 20_000 // len(plan.times))) * DAY
        right = reckoned(plan, zone, changes(zone, first, last), first, last)[:20]
        assert moments(plan, zone, first, last, 20) == right, (plan.text, name)
