"""Hours of the week: what a text means, and that reading and writing it lose nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.domain.hours import DAY_MINUTES, DAYS, WEEK_MINUTES, Hours, minute_of_week, moment_text, parse
from corpgrid.errors import UsageError

days = st.sampled_from(DAYS)
times = st.integers(0, DAY_MINUTES - 1)


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@st.composite
def entries(draw: st.DrawFn) -> tuple[str, set[int]]:
    """One entry of a text, and the minutes it means, worked out minute by minute."""
    named = draw(st.booleans())
    first, last = draw(days), draw(days)
    low, high = DAYS.index(first), DAYS.index(last)
    chosen = [(low + step) % 7 for step in range((high - low) % 7 + 1)] if named else list(range(7))
    start, end = 0, DAY_MINUTES
    text = f"{first}-{last}" if named else ""
    if not named or draw(st.booleans()):
        start, end = draw(times), draw(st.integers(0, DAY_MINUTES))
        if start == end:
            end = (start + 1) % DAY_MINUTES
        text = f"{text} {clock(start)}-{clock(end)}"
    length = (end - start) % DAY_MINUTES or DAY_MINUTES
    minutes = {(day * DAY_MINUTES + start + step) % WEEK_MINUTES for day in chosen for step in range(length)}
    return text, minutes


texts = st.lists(entries(), min_size=1, max_size=4)
schedules = texts.map(lambda parts: parse(",".join(text for text, _ in parts)))


@given(texts)
def test_a_text_covers_exactly_the_minutes_that_it_means(parts: list[tuple[str, set[int]]]) -> None:
    hours = parse(",".join(text for text, _ in parts))
    meant = set().union(*(minutes for _, minutes in parts))
    assert {minute for start, end in hours.intervals for minute in range(start, end)} == meant


@given(st.one_of(schedules, st.just(Hours()), st.just(Hours(()))))
def test_reading_what_was_written_gives_the_same_hours(hours: Hours) -> None:
    assert parse(hours.text()) == hours


@given(schedules)
def test_intervals_are_sorted_apart_and_inside_the_week(hours: Hours) -> None:
    edges = [edge for interval in hours.intervals for edge in interval]
    assert edges == sorted(set(edges))
    assert edges[0] >= 0
    assert edges[-1] <= WEEK_MINUTES


@given(schedules, st.integers(0, WEEK_MINUTES - 1))
def test_nothing_changes_before_the_next_change_and_something_does_then(hours: Hours, minute: int) -> None:
    now = hours.covers(minute)
    wait = hours.minutes_to_change(minute)
    if wait is None:
        assert all(hours.covers(other) == now for other in range(WEEK_MINUTES))
        return
    assert 1 <= wait <= WEEK_MINUTES
    assert all(hours.covers((minute + step) % WEEK_MINUTES) == now for step in range(wait))
    assert hours.covers((minute + wait) % WEEK_MINUTES) != now


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("mon-fri 19:00-07:00, sat-sun", "mon-thu 19:00-07:00, fri 19:00-24:00, sat-sun"),
        ("sat-mon, tue 00:00-07:00", "mon, sat-sun, tue 00:00-07:00"),
        ("22:00-06:00", "22:00-06:00"),
        ("Sun 23:00-01:00", "sun 23:00-01:00"),
        ("fri-mon", "mon, fri-sun"),
        ("mon-sun", "always"),
        ("00:00-24:00", "always"),
        ("always", "always"),
        ("never", "never"),
        ("mon 8:00-12:00, mon 12:00-17:00", "mon 08:00-17:00"),
        ("wed 18:00-00:00", "wed 18:00-24:00"),
    ],
)
def test_hours_are_written_as_a_person_would(text: str, written: str) -> None:
    assert parse(text).text() == written


def test_an_interval_over_midnight_belongs_to_the_day_on_which_it_starts() -> None:
    hours = parse("fri 19:00-07:00")
    assert hours.covers(minute_of_week(weekday=5, minute=6 * 60 + 59))
    assert not hours.covers(minute_of_week(weekday=5, minute=7 * 60))
    assert not hours.covers(minute_of_week(weekday=4, minute=6 * 60))


def test_an_interval_over_the_end_of_the_week_goes_on_on_monday() -> None:
    hours = parse("sun 22:00-02:00")
    assert hours.covers(minute_of_week(weekday=6, minute=23 * 60))
    assert hours.covers(minute_of_week(weekday=0, minute=0))
    assert hours.minutes_to_change(minute_of_week(weekday=6, minute=22 * 60)) == 240


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "''"),
        ("mon,,tue", "''"),
        ("mo", "'mo'"),
        ("mon-tag", "'tag'"),
        ("mon 25:00-26:00", "'25:00'"),
        ("mon 24:00-25:00", "'24:00'"),
        ("mon 12:60-13:00", "'12:60'"),
        ("mon 12:00-24:01", "'24:01'"),
        ("mon 09:00-09:00", "'mon 09:00-09:00'"),
        ("mon 09:00", "'mon 09:00'"),
        ("always, mon", "'always'"),
    ],
)
def test_a_text_that_is_not_hours_is_refused_by_name_with_a_way_out(text: str, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert named in str(caught.value)
    assert caught.value.remedy


def test_moments_read_like_a_calendar() -> None:
    assert moment_text(minute_of_week(weekday=4, minute=19 * 60)) == "fri 19:00"
    assert moment_text(WEEK_MINUTES) == "mon 00:00"
