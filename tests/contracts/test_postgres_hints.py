"""Two stores on one database: each hears where the other's ticks changed something, also after a lost connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import asyncpg
import pytest

from corpgrid.domain.effects import Effects, Need
from corpgrid.domain.hints import Hint
from corpgrid.domain.ids import DeviceId
from corpgrid.errors import StaleError
from corpgrid.stores.postgres import hints as postgres_hints
from corpgrid.stores.postgres.store import PostgresStore
from tests.contracts import store_rows as rows
from tests.contracts.store_rows import FakeClock
from tests.postgres.fixtures import clock, dsn, open_store

__all__ = ["clock", "dsn"]


@pytest.fixture
async def two(
    dsn: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    monkeypatch.setattr(postgres_hints, "_AGAIN_SECONDS", 0.05)
    stores = [await open_store(dsn, clock), await open_store(dsn, clock)]
    yield stores[0], stores[1]
    for store in stores:
        await store.close()


async def until(met: Callable[[], object]) -> None:
    async with asyncio.timeout(10.0):
        while not met():  # noqa: ASYNC110 - nothing else tells that a hint has arrived
            await asyncio.sleep(0.01)


async def put(store: PostgresStore, name: str) -> None:
    with suppress(StaleError):  # the other ticked in between
        await store.transact(Need(), lambda _: Effects())
    await store.transact(Need(devices=frozenset({DeviceId(name)})), lambda _: Effects(devices=(rows.device(name),)))


async def test_each_hears_what_the_other_commits_and_not_itself(two: tuple[PostgresStore, PostgresStore]) -> None:
    one, other = two
    heard: dict[str, list[Hint]] = {"one": [], "other": []}
    one.listen(heard["one"].append)
    other.listen(heard["other"].append)
    await until(lambda: heard["one"] and heard["other"])
    await put(one, "dev_by_one")
    await until(lambda: any("dev_by_one" in hint.devices for hint in heard["other"]))
    await put(other, "dev_by_other")
    await until(lambda: any("dev_by_other" in hint.devices for hint in heard["one"]))
    assert not any("dev_by_one" in hint.devices for hint in heard["one"])


async def test_a_lost_connection_is_made_again_and_what_was_missed_is_looked_for(
    two: tuple[PostgresStore, PostgresStore], dsn: str
) -> None:
    one, other = two
    heard: list[Hint] = []
    other.listen(heard.append)
    await until(lambda: heard)
    heard.clear()
    connection = await asyncpg.connect(dsn)
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
    )
    await connection.execute(cut)
    await connection.close()
    await until(lambda: any(hint.work for hint in heard))
    await put(one, "dev_after")
    await until(lambda: any("dev_after" in hint.devices for hint in heard))
