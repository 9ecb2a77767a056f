"""Cron text to moments. Which wall times a text names is cronsim's matter; which moments these are is decided here."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta, tzinfo

from cronsim import CronSim

from adapters.local.fields import split
from domain.errors import ConfigError

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
# No clock change is longer than a day, and no two are nearer than a week: between a moment and the next one it is
# enough to look for changes this near to either.
NEAR = 3 * DAY
# Yields moments; returns where to go on, a moment and the wall time behind which to look, or None for nowhere.
Search = Generator[datetime, None, tuple[datetime, datetime] | None]
BEFORE_ALL = datetime(1969, 12, 30, tzinfo=UTC)  # no year of a schedule is earlier than 1970


class Cron:
    """A schedule text: five fields, six with the seconds first, seven with the year last; or an alias.

    A ``fixed`` time, one with no ``*`` in its minute and hour, runs at the first moment at which the local clock shows
    it or a later time: at the change where a clock change skips it, and once, the first time, where one repeats it.
    Any other runs whenever the local clock shows it: by elapsed time, with no double and no gap of its own.
    """

    def __init__(self, text: str, zone: tzinfo) -> None:
        """Raises ConfigError with the reason; also for what never comes."""
        self._text, self._years = split(text)
        minute, hour = self._text.split()[1:3]
        self.fixed = "*" not in minute + hour
        self.zone = zone
        if self.after(BEFORE_ALL) is None:
            raise ConfigError(f"time {text!r} never comes: there is no such day in these months and years")

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
        at = start.astimezone(UTC).replace(microsecond=0)
        try:
            found: tuple[datetime, datetime] | None = (at, self._wall(at))
            while found is not None:
                found = yield from self._until_change(*found)
        except OverflowError:  # behind the last year that a datetime can tell
            return

    def _until_change(self, at: datetime, behind: datetime) -> Search:
        """The moments after ``at`` whose wall times are later than ``behind``, until the clock changes."""
        offset = self._offset(at)
        for wall in self._walls(behind):
            moment = (wall - offset).replace(tzinfo=UTC)
            if change := self._change(at, min(moment, at + NEAR)):
                return (yield from self._over(change, offset, wall))
            if moment - at > NEAR:  # nothing comes until shortly before; changes on the way there do not matter
                return moment - NEAR, self._wall(moment - NEAR)
            at = moment
            local = moment.astimezone(self.zone)
            if not (self.fixed and local.fold):
                yield local
        # What a clock change repeats may come once more.
        change = self._change(at, at + NEAR)
        return (yield from self._over(change, offset, None)) if change else None

    def _over(self, change: datetime, offset: timedelta, wall: datetime | None) -> Search:
        """Across a change of the clock from ``offset``, where ``wall`` comes next; returns where to go on."""
        new = self._wall(change)
        if self.fixed and wall is not None and wall <= new and self._offset(change) > offset:
            yield change.astimezone(self.zone)
            return change, new
        return change, new - SECOND

    def _change(self, at: datetime, until: datetime) -> datetime | None:
        """The first moment after ``at``, and not later than ``until``, with another offset than at ``at``."""
        offset = self._offset(at)
        low, high = at, min(at + DAY, until)
        while self._offset(high) == offset:
            if high >= until:
                return None
            low, high = high, min(high + DAY, until)
        while high - low > SECOND:
            middle = low + (high - low) // SECOND // 2 * SECOND
            low, high = (middle, high) if self._offset(middle) == offset else (low, middle)
        return high

    def _offset(self, at: datetime) -> timedelta:
        return at.astimezone(self.zone).utcoffset() or timedelta(0)

    def _wall(self, at: datetime) -> datetime:
        return at.astimezone(self.zone).replace(tzinfo=None)

    def _walls(self, behind: datetime) -> Iterator[datetime]:
        """The wall times later than ``behind``; as a library without zones sees them."""
        if self._years is None:
            yield from CronSim(self._text, behind)
            return
        for year in sorted(self._years):
            if year < behind.year:
                continue
            # From year to year: the moments of those in between are not worth counting.
            for wall in CronSim(self._text, max(behind, datetime(year, 1, 1) - SECOND)):  # noqa: DTZ001 - a wall time
                if wall.year != year:
                    break
                yield wall
