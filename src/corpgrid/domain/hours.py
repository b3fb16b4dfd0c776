"""The hours of the week in which an owner lends a machine.

    hours = parse("mon-fri 19:00-07:00, sat-sun")
    hours.covers(minute_of_week(weekday=0, minute=20 * 60))     # Monday, 20:00: True

Rules:

* A week has 10,080 minutes, from Monday 00:00, in the machine's local time.
* An interval holds its start and not its end.  ``19:00-07:00`` ends on the next day and belongs to the day on which it
  starts; ``sun 19:00-07:00`` ends on Monday.
* Days without times are whole days, times without days are every day.  ``always`` and ``never`` are words.
* Intervals are sorted, merged and never empty, so that two texts that mean the same are equal values, and
  ``parse(hours.text()) == hours``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from corpgrid.errors import UsageError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
WEEK_MINUTES = len(DAYS) * DAY_MINUTES

_Interval = tuple[int, int]
_Piece = tuple[int, int, int]
"""A day, and the minutes of that day at which a stretch starts and ends; an end before the start is the next day's."""

_ENTRY = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))?)?\s*(?:(?P<start>\d{1,2}:\d{2})-(?P<end>\d{1,2}:\d{2}))?"
)
_REMEDY = "Write hours as in `mon-fri 19:00-07:00, sat-sun`, `22:00-06:00`, `always` or `never`."


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of the week, as disjoint intervals of minutes; by default all of them."""

    intervals: tuple[_Interval, ...] = ((0, WEEK_MINUTES),)

    def covers(self, minute: int) -> bool:
        """Whether a minute of the week lies within these hours."""
        return any(start <= minute < end for start, end in self.intervals)

    def minutes_to_change(self, minute: int) -> int | None:
        """Minutes from the start of ``minute`` until ``covers`` changes its answer; None: it never does."""
        starts = {start for start, _ in self.intervals}
        ends = {end % WEEK_MINUTES for _, end in self.intervals}
        edges = starts ^ ends  # an edge that is both is the week's seam, where nothing changes
        return min(((edge - minute - 1) % WEEK_MINUTES + 1 for edge in edges), default=None)

    def text(self) -> str:
        """The shortest text that we know for these hours; ``parse`` reads it back."""
        if not self.intervals:
            return "never"
        if self == Hours():
            return "always"
        days_of: dict[_Interval, list[int]] = {}
        for day, start, end in _pieces(self.intervals):
            days_of.setdefault((start, end), []).append(day)
        return ", ".join(_entry_text(run, times) for times, days in days_of.items() for run in _runs(sorted(days)))


def minute_of_week(*, weekday: int, minute: int) -> int:
    """The minute of the week, given the day (0 is Monday) and the minute of that day."""
    assert 0 <= weekday < len(DAYS)
    assert 0 <= minute < DAY_MINUTES
    return weekday * DAY_MINUTES + minute


def moment_text(minute: int) -> str:
    """``fri 19:00`` for a minute of the week."""
    day, of_day = divmod(minute % WEEK_MINUTES, DAY_MINUTES)
    return f"{DAYS[day]} {_time_text(of_day)}"


def parse(text: str) -> Hours:
    """Read hours.

    Raises:
        UsageError: the text is not hours; the message names the entry.
    """
    words = text.strip().lower()
    if words == "always":
        return Hours()
    if words == "never":
        return Hours(())
    return _merge(interval for entry in words.split(",") for interval in _entry(entry.strip()))


def _entry(entry: str) -> Iterator[_Interval]:
    """The intervals of one entry: one for each of its days."""
    match = _ENTRY.fullmatch(entry)
    if not entry or match is None:
        raise UsageError(f"{entry!r} is not a part of a week", remedy=_REMEDY)
    start, minutes = 0, DAY_MINUTES
    if match["start"] is not None:
        start, end = _minute(match["start"], most=DAY_MINUTES - 1), _minute(match["end"], most=DAY_MINUTES)
        if start == end:
            raise UsageError(f"{entry!r} starts and ends at the same time", remedy="A whole day is 00:00-24:00.")
        minutes = (end - start) % DAY_MINUTES or DAY_MINUTES
    for day in _days(match["first"], match["last"]):
        yield day * DAY_MINUTES + start, day * DAY_MINUTES + start + minutes


def _days(first: str | None, last: str | None) -> Iterator[int]:
    """Days from ``first`` to ``last``, over the weekend if need be; every day without ``first``."""
    if first is None:
        return iter(range(len(DAYS)))
    low, high = _day(first), _day(last or first)
    return ((low + step) % len(DAYS) for step in range((high - low) % len(DAYS) + 1))


def _day(name: str) -> int:
    if name not in DAYS:
        raise UsageError(f"{name!r} is not a day", remedy=f"Days are {', '.join(DAYS)}.")
    return DAYS.index(name)


def _minute(text: str, *, most: int) -> int:
    """The minute of the day of ``HH:MM``."""
    hours, minutes = (int(part) for part in text.split(":"))
    if minutes >= 60 or hours * 60 + minutes > most:
        raise UsageError(f"{text!r} is not a time of day here", remedy="Times are 00:00 to 23:59; an end may be 24:00.")
    return hours * 60 + minutes


def _merge(intervals: Iterable[_Interval]) -> Hours:
    """Cut intervals at the week's seam, sort them and join those that touch."""
    merged: list[_Interval] = []
    for start, end in sorted(cut for interval in intervals for cut in _at_seam(interval)):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return Hours(tuple(merged))


def _at_seam(interval: _Interval) -> tuple[_Interval, ...]:
    start, end = interval
    if end <= WEEK_MINUTES:
        return (interval,)
    return (start, WEEK_MINUTES), (0, end - WEEK_MINUTES)


def _pieces(intervals: tuple[_Interval, ...]) -> Iterator[_Piece]:
    """Stretches of at most a day each, as a person would write them down."""
    joined = list(intervals)
    if len(joined) > 1 and joined[0][0] == 0 and joined[-1][1] == WEEK_MINUTES:
        _, early_end = joined.pop(0)
        joined[-1] = (joined[-1][0], WEEK_MINUTES + early_end)
    for start, end in joined:
        at = start
        while at < end:
            day, from_minute = divmod(at, DAY_MINUTES)
            midnight = (day + 1) * DAY_MINUTES
            until = end if end - at < DAY_MINUTES else midnight
            to_minute = until - day * DAY_MINUTES
            yield day % len(DAYS), from_minute, to_minute if to_minute <= DAY_MINUTES else to_minute - DAY_MINUTES
            at = until


def _runs(days: list[int]) -> Iterator[tuple[int, int]]:
    """First and last day of every run of days that follow each other."""
    first = last = days[0]
    for day in days[1:]:
        if day != last + 1:
            yield first, last
            first = day
        last = day
    yield first, last


def _entry_text(run: tuple[int, int], times: _Interval) -> str:
    first, last = run
    days = DAYS[first] if first == last else f"{DAYS[first]}-{DAYS[last]}"
    clock = f"{_time_text(times[0])}-{_time_text(times[1])}"
    if times == (0, DAY_MINUTES):
        return days
    return clock if run == (0, len(DAYS) - 1) else f"{days} {clock}"


def _time_text(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
