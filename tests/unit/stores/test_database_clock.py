"""A scheduler's clock goes by the database's; what people hear of the difference, and how often."""

from __future__ import annotations

import asyncio

import pytest

from corpgrid.errors import StoreError
from corpgrid.stores.postgres import clock as database_clock
from corpgrid.stores.postgres.clock import DatabaseClock, Skew, measure


class Own:
    """This machine's clock: it goes only while the database is asked."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.ticks = 0.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.ticks

    def passes(self, seconds: float) -> None:
        self.time += seconds
        self.ticks += seconds


class Database:
    """Another clock, and how long it takes to answer: on both ways the same."""

    def __init__(self, own: Own, *, ahead: float, takes: list[float]) -> None:
        self.own, self.ahead, self.takes = own, ahead, takes

    async def read(self) -> float:
        seconds = self.takes.pop(0) if self.takes else 0.0
        self.own.passes(seconds)
        time = self.own.time + self.ahead
        self.own.passes(seconds)
        return time


async def test_the_answer_that_came_fastest_counts() -> None:
    own = Own()
    skew = await measure(own, Database(own, ahead=5.0, takes=[3.0, 0.25, 1.0]).read)
    assert skew == Skew(5.0, 0.25)
    assert skew.is_worth_telling
    assert "5.0 s behind the database's" in skew.story


@pytest.mark.parametrize(
    ("skew", "worth"),
    [(Skew(0.9, 0.0), False), (Skew(-1.5, 0.1), True), (Skew(3.0, 2.5), False), (Skew(-3_600.0, 9.0), True)],
)
def test_only_what_is_surely_a_fault_is_told(skew: Skew, *, worth: bool) -> None:
    assert skew.is_worth_telling is worth


async def test_it_shows_the_databases_time_and_tells_each_difference_once() -> None:
    own, told = Own(), list[float]()
    database = Database(own, ahead=-300.0, takes=[])
    clock = DatabaseClock(own, database.read, lambda skew: told.append(skew.seconds))
    for ahead in (-300.0, -300.4, 0.1, 0.0, 7.0):
        database.ahead = ahead
        await clock.adjust()
        assert clock.now() == pytest.approx(own.now() + ahead)
    assert told == pytest.approx([-300.0, 0.1, 7.0]), "that it is gone, too"


async def test_while_the_database_is_away_the_last_difference_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_clock, "_EVERY_SECONDS", 0.001)
    own, away = Own(), asyncio.Event()
    database = Database(own, ahead=300.0, takes=[])

    async def read() -> float:
        if away.is_set():
            tried.set()
            raise StoreError("the connection failed")
        return await database.read()

    tried, clock = asyncio.Event(), DatabaseClock(own, read)
    await clock.adjust()
    away.set()
    keeping = asyncio.create_task(clock.keep())
    await asyncio.wait_for(tried.wait(), 5)
    assert clock.now() == own.now() + 300.0
    away.clear()
    database.ahead = 10.0
    async with asyncio.timeout(5):
        while clock.now() != own.now() + 10.0:  # noqa: ASYNC110 - a condition of the clock, which sets no event
            await asyncio.sleep(0.001)
    keeping.cancel()
