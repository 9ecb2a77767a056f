"""Cron text to moments. The arithmetic is cronsim's; aliases, seconds and years are understood here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo

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
LAST_YEAR = 2099


class Cron:
    """A schedule text: five fields, six with the seconds first, seven with the year last; or an alias.

    Local times that a clock change skips run at the change; those that it repeats run once.
    """

    def __init__(self, text: str, zone: tzinfo) -> None:
        """Raises ConfigError with the reason."""
        fields = ALIASES.get(text.strip().lower(), text).replace("?", "*").split()
        self._years: frozenset[int] | None = None
        if len(fields) == 7:
            self._years = _years(fields.pop())
        if len(fields) not in (5, 6):
            raise ConfigError(
                f"time {text!r} has {len(fields)} fields: 5, 6 (seconds first) or 7 (year last) are known"
            )
        self._text = " ".join(fields)
        self._zone = zone
        try:
            CronSim(self._text, datetime(2026, 1, 1, tzinfo=zone))
        except CronSimError as error:
            raise ConfigError(f"time {text!r} is not a schedule: {error}") from None

    def after(self, moment: datetime) -> datetime | None:
        """The first moment later than ``moment``; None if there is none."""
        return next(self._moments(moment), None)

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """All moments later than ``start`` and not later than ``end``."""
        for moment in self._moments(start):
            if moment > end:
                return
            yield moment

    def _moments(self, start: datetime) -> Iterator[datetime]:
        at = start.astimezone(self._zone)
        if self._years is None:
            yield from CronSim(self._text, at)
            return
        for year in sorted(self._years):
            if year < at.year:
                continue
            # From year to year: the moments of those in between are not worth counting.
            first = datetime(year, 1, 1, tzinfo=self._zone) - timedelta(seconds=1)
            for moment in CronSim(self._text, max(at, first)):
                if moment.year != year:
                    break
                yield moment


def _years(field: str) -> frozenset[int] | None:
    if field == "*":
        return None
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        try:
            low = 1970 if first == "*" else int(first)
            high = LAST_YEAR if first == "*" or (step and not last) else int(last or first)
            found |= set(range(low, min(high, LAST_YEAR) + 1, int(step or 1)))
        except ValueError:
            raise ConfigError(f"year {field!r} is not a year, a list, a range or a step") from None
    if not found:
        raise ConfigError(f"year {field!r} names no year")
    return frozenset(found)
