"""A scheduler's clock: that of its store, so that leases and all that is judged of them go by one clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from corpgrid.host.clock import SystemClock
from corpgrid.ports.host import Clock
from corpgrid.ports.store import Store

log = logging.getLogger(__name__)


@asynccontextmanager
async def clock_of(store: Store) -> AsyncIterator[Clock]:
    """The clock of a store within the block: this machine's for an embedded one, the database's for a shared one."""
    own = SystemClock()
    if not store.shared:
        yield own
        return
    from corpgrid.stores.postgres.clock import REMEDY, DatabaseClock, Skew  # noqa: PLC0415 - its driver is an extra
    from corpgrid.stores.postgres.store import PostgresStore  # noqa: PLC0415 - as above

    def told(skew: Skew) -> None:
        if skew.is_worth_telling:
            log.warning("%s skew_seconds=%+.3f: %s", skew.story, skew.seconds, REMEDY)
        else:
            log.info("this machine's clock agrees with the database's again skew_seconds=%+.3f", skew.seconds)

    assert isinstance(store, PostgresStore), "the only shared store"
    clock = DatabaseClock(own, store.time, told)
    await clock.adjust()
    keeping = asyncio.create_task(clock.keep(), name="clock")
    try:
        yield clock
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
