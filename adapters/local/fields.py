"""The fields of a schedule text: aliases, seconds and years, and what is wrong with them in words."""

from __future__ import annotations

import difflib
import re
from datetime import datetime

from cronsim import CronSim, CronSimError

from domain.errors import ConfigError

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FIRST_YEAR, LAST_YEAR = 1970, 2099
# What stands in a field, and how many values it has: a longer step would never be taken.
FIELDS = {
    "second": ("0 to 59", 60),
    "minute": ("0 to 59", 60),
    "hour": ("0 to 23", 24),
    "day-of-month": ("1 to 31, L (the last) or LW (the last weekday)", 31),
    "month": ("1 to 12 or JAN to DEC", 12),
    "day-of-week": ("0 to 7 or SUN to SAT, 5L (the last Friday) or 5#3 (the third)", 7),
}
SINGLE = re.compile(r"\b(\d+)-\1/\d+")  # a range of one value; cronsim would take its step from there to the end
SOME_WALL = datetime(2026, 1, 1)  # noqa: DTZ001 - for a check


def split(text: str) -> tuple[str, frozenset[int] | None]:
    """Six fields as cronsim takes them, and the years, None for all. Raises ConfigError with the reason."""
    given = text.strip().lower()
    if given.startswith("@") and given not in ALIASES:
        near = difflib.get_close_matches(given, ALIASES, 1)
        known = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(ALIASES))}"
        raise ConfigError(f"time {text!r} is not known; {known}")
    fields = ALIASES.get(given, text).replace("?", "*").split()
    years = _years(text, fields.pop()) if len(fields) == 7 else None
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise ConfigError(f"time {text!r} has {len(fields)} fields: 5, 6 (seconds first) or 7 (year last) are known")
    for (name, (_, size)), field in zip(FIELDS.items(), fields, strict=True):
        _check_steps(text, name, field, size)
    fields = [SINGLE.sub(r"\1", field) for field in fields]
    try:
        CronSim(" ".join(fields), SOME_WALL)
    except (CronSimError, ValueError) as error:
        raise ConfigError(f"time {text!r} {_reason(str(error), fields)}") from None
    return " ".join(fields), years


def _check_steps(text: str, name: str, field: str, size: int) -> None:
    for term in field.split(","):
        step = term.partition("/")[2]
        if step.isdecimal() and step.isascii() and (len(step) > 4 or int(step) > size):
            raise ConfigError(
                f"time {text!r} has a step in its {name}, {term!r}, that is longer than the {size} values of the field:"
                " it would never be taken; write a smaller one, or name the times"
            )


def _reason(error: str, fields: list[str]) -> str:
    name = error.removeprefix("Bad ")
    if name not in FIELDS:
        return f"is not a schedule: {error}"
    if name == "day-of-month":
        try:
            CronSim(" ".join([*fields[:4], "*", fields[5]]), SOME_WALL)
        except (CronSimError, ValueError):
            pass
        else:
            return f"never comes: no month {fields[4]!r} has a day {fields[3]!r}"
    field = fields[list(FIELDS).index(name)]
    return (
        f"has a {name} that is not understood, {field!r}: it takes {FIELDS[name][0]}; * for all;"
        " lists (1,3), ranges from low to high (1-5) and steps (*/5)"
    )


def _years(text: str, field: str) -> frozenset[int] | None:
    if field == "*":
        return None
    found: set[int] = set()
    try:
        for part in field.split(","):
            span, _, step = part.partition("/")
            first, dash, last = ("", "", "") if span == "*" else span.partition("-")
            low = FIRST_YEAR if span == "*" else _number(first)
            high = _number(last) if dash else LAST_YEAR if span == "*" or "/" in part else low
            width = _number(step) if "/" in part else 1
            if not FIRST_YEAR <= low <= high <= LAST_YEAR or not 0 < width <= LAST_YEAR - FIRST_YEAR:
                raise ValueError
            found |= set(range(low, high + 1, width))
    except ValueError:
        raise ConfigError(
            f"time {text!r} has a year that is not understood, {field!r}: it takes {FIRST_YEAR} to {LAST_YEAR};"
            " * for all; lists (2026,2028), ranges from low to high (2026-2030) and steps (2026/2)"
        ) from None
    return frozenset(found)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 4):
        raise ValueError(text)
    return int(text)
