"""Several schedulers on one database: an outage is one of all of them, and is forgiven once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from corpgrid.domain.effects import Effects, Need, View
from corpgrid.domain.leases import outage_seconds
from corpgrid.errors import StaleError
from corpgrid.stores.postgres.store import PostgresStore
from tests.contracts.store_rows import START, FakeClock, device, hand_out, need, new_job, tick
from tests.postgres.fixtures import clock, dsn, open_store

__all__ = ["clock", "dsn"]

ALLOWED = 5.0
TTL = 20.0


@pytest.fixture
async def stores(dsn: str, clock: FakeClock) -> AsyncIterator[list[PostgresStore]]:
    opened = [await open_store(dsn, clock) for _ in range(3)]
    yield opened
    for store in opened:
        await store.close()


async def forgiving(store: PostgresStore, wanted: Need) -> View:
    """One tick of a scheduler, tried again while it is stale: an outage is forgiven, as the rules do."""
    views: list[View] = []

    def decide(view: View) -> Effects:
        views.append(view)
        seconds = outage_seconds(now=view.now, last_tick=view.last_tick, allowed_seconds=ALLOWED)
        extended = [lease._replace(until=lease.until + seconds) for lease in view.leases.values()] if seconds else []
        return Effects(extend_leases_seconds=seconds, leases=tuple(extended))

    for _ in range(10):
        try:
            await store.transact(wanted, decide)
        except StaleError:
            continue
        return views[-1]
    raise AssertionError("the tick is stale for ever")


async def leased(store: PostgresStore) -> None:
    """A device that holds a lease, and one that holds another."""
    on = [device("dev_a"), device("dev_b")]
    await tick(store, effects=Effects(devices=tuple(on), new_jobs=(new_job("job_a", 5), new_job("job_b", 5))))
    await hand_out(store, "job_a", [0], on[0], ttl=TTL)
    await hand_out(store, "job_b", [0], on[1], ttl=TTL)


async def untils(store: PostgresStore) -> set[float]:
    view = await forgiving(store, need(devices=["dev_a", "dev_b"]))
    return {lease.until for lease in view.leases.values()}


async def test_who_slept_while_others_ticked_sees_no_outage(stores: list[PostgresStore], clock: FakeClock) -> None:
    awake, asleep, _ = stores
    await leased(asleep)
    for _ in range(60):
        clock.time += 1.0
        await forgiving(awake, Need())
    for wanted in (need(sweep=10), need(devices=["dev_a"]), Need()):
        view = await forgiving(asleep, wanted)
        assert view.now - view.last_tick <= 1.0
    assert await untils(awake) == {START + TTL}
    assert len((await forgiving(asleep, need(sweep=10))).expired) == 2


@pytest.mark.parametrize("outage", [6.0, 60.0, 3_600.0])
async def test_an_outage_of_all_is_forgiven_once(stores: list[PostgresStore], clock: FakeClock, outage: float) -> None:
    """All come back at the same moment, and each looks at other rows."""
    await leased(stores[0])
    for store in stores:
        await forgiving(store, Need())
    clock.time += outage
    asked = (need(sweep=10), need(devices=["dev_a"]), Need())
    views = await asyncio.gather(*(forgiving(store, wanted) for store, wanted in zip(stores, asked, strict=True)))
    assert [view.last_tick for view in views].count(START) == 1, (
        "one of them saw the outage in the tick that it committed"
    )
    assert await untils(stores[0]) == {START + TTL + outage}
    clock.time += TTL
    assert len((await tick(stores[0], need(sweep=10))).expired) == 2


async def test_a_store_that_is_opened_knows_when_others_ticked(
    stores: list[PostgresStore], dsn: str, clock: FakeClock
) -> None:
    await leased(stores[0])
    clock.time += 7.0
    opened = await open_store(dsn, clock)
    assert (await forgiving(opened, Need())).last_tick == START
    await opened.close()
