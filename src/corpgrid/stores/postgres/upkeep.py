"""What the one that leads does for the database beside the ticks: notes how the grid stands, throws away what is old.

* It is done in small transactions, so that no tick waits for it for long.
* Each looks first whether this store still leads, and nobody takes the lead before it ends: one that slept in the
  middle writes nothing more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from corpgrid.ports.host import Clock
from corpgrid.stores.collecting import DETAIL, collect
from corpgrid.stores.postgres.database import Pool, Session
from corpgrid.stores.postgres.driver import translated
from corpgrid.stores.postgres.lead import Lead
from corpgrid.stores.settings import StoreSettings

METRICS_SECONDS = 60.0
METRICS_KEPT_SECONDS = 30 * 86_400.0


class Upkeep:
    """The upkeep of one database.

    Args:
        pool: where a connection is borrowed.
        lead: who may do it.
        place: the database, for messages.
        settings: when a device is seen.
        clock: the store's time; None for the database's.
    """

    def __init__(self, pool: Pool, lead: Lead, *, place: str, settings: StoreSettings, clock: Clock | None) -> None:
        self._pool = pool
        self._lead = lead
        self._place = place
        self._settings = settings
        self._clock = clock

    async def run(self) -> None:
        """``Store.upkeep``.

        Raises:
            StaleError: another leads.
        """
        async with self._leading() as session:
            (now,) = await session.row("clock") if self._clock is None else (self._clock.now(),)
            await session.run("add_metrics", now, METRICS_SECONDS, now - self._settings.seen_within_seconds)
            await session.run("drop_old_metrics", now - METRICS_KEPT_SECONDS)
            await session.run("drop_old_schedulers", now - METRICS_KEPT_SECONDS)

    async def collect(self, ended_before: float, now: float) -> int:
        """``Store.collect``: nothing that a tick reads and does not find missing.

        Raises:
            StaleError: another leads.
        """

        async def look(statement: str, after: int) -> list[tuple[int, bool]]:
            async with self._session() as session:
                return [(key, old) for key, old in await session.rows(statement, after, ended_before)]

        async def mark(jobs: Sequence[int]) -> int:
            async with self._leading() as session:
                locked = [number for (number,) in await session.rows("lock_ended_jobs", list(jobs), ended_before)]
                return len(await session.rows("mark_collected", locked, now, DETAIL))

        async def drop(statement: str, keys: Sequence[int]) -> None:
            async with self._leading() as session:
                await session.run(statement, list(keys), ended_before)

        return await collect(look, mark, drop)

    @asynccontextmanager
    async def _leading(self) -> AsyncIterator[Session]:
        """A transaction of the leader's."""
        async with self._session() as session:
            await session.begin()
            try:
                await self._lead.require(session)
                yield session
                await session.commit()
            except BaseException:
                await session.undo()
                raise

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        with translated(self._place):
            connection = await self._pool.acquire()
        try:
            yield Session(connection, self._place)
        finally:
            await self._pool.release(connection)
