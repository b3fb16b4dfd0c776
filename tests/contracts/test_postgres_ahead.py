"""A store keeps its promises on a database that a newer program has migrated meanwhile.

That program may have added what a step of a rolling upgrade may add: columns with defaults, tables, indexes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from corpgrid.domain.device import Facts, Gpu
from corpgrid.domain.effects import AuditEntry, Checkpoint, Effects, Standing
from corpgrid.domain.ids import JobId
from corpgrid.domain.job import JobState, TaskState
from corpgrid.stores.postgres.store import PostgresStore
from tests.contracts.store import StoreContract
from tests.contracts.store_rows import (
    START,
    FakeClock,
    bring_back,
    device,
    hand_out,
    key,
    named,
    need,
    new_job,
    rev_up,
    tick,
)
from tests.postgres.fixtures import clock, dsn, open_store

__all__ = ["clock", "dsn"]

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename"
READ_WHOLE = {"device_gpus", "leases", "standings"}
"""Their rows are read as they are: a column more is no step for a rolling upgrade (``tests/migration``)."""


async def widen(dsn: str) -> None:
    """Give every table a column and an index more, and the database a table more."""
    connection = await asyncpg.connect(dsn)
    for (table,) in await connection.fetch(TABLES):
        if table not in READ_WHOLE:
            await connection.execute(f"ALTER TABLE {table} ADD COLUMN from_the_future text NOT NULL DEFAULT 'x'")
        await connection.execute(f"CREATE INDEX future_of_{table} ON {table} ((1))")
    await connection.execute("CREATE TABLE futures (number integer PRIMARY KEY)")
    await connection.close()


class TestWidened(StoreContract):
    """Opened after the step."""

    @pytest.fixture
    async def store(self, dsn: str, clock: FakeClock) -> AsyncIterator[PostgresStore]:
        await (await open_store(dsn, clock)).close()
        await widen(dsn)
        store = await open_store(dsn, clock)
        yield store
        await store.close()


async def test_a_store_that_is_open_does_not_notice(dsn: str, clock: FakeClock) -> None:
    store = await open_store(dsn, clock)
    await live(store, "before")
    await widen(dsn)
    await live(store, "after")
    await store.close()


async def live(store: PostgresStore, name: str) -> None:
    """Something of everything."""
    on = replace(device(f"dev_{name}"), facts=Facts(gpus=(Gpu(backend="cuda", name="H100"),)))
    new = new_job(name, 6)._replace(attachments=((named(f"page {name}"), b"page"),))
    await tick(store, effects=Effects(devices=(on,), new_jobs=(new,)))
    await hand_out(store, name, [0, 1], on)
    number = await bring_back(store, name, [0, 1], on)
    await hand_out(store, name, [2], on)
    notes = Effects(
        standings=(Standing(on.id, named("bundle"), named("shape"), 2, 1),),
        checkpoints=(Checkpoint(JobId(name), 2, 0, 7, named("checkpoint"), START),),
        audit=(AuditEntry(START, "job.submitted", name, "key_a"),),
    )
    await tick(store, effects=notes)
    view = await tick(store, need(devices=[on.id], jobs=[name], tasks=[key(name, 0), key(name, 2)], ready=9, sweep=9))
    assert view.devices[on.id] == on
    assert {task for task in view.ready if task[0] == name} == {key(name, index) for index in (3, 4, 5)}
    assert len(view.attempts) == 2
    assert len(view.leases) == 1
    assert [row.index for row in await store.tasks(JobId(name))] == list(range(6))
    assert [row.batch for row in await store.provisional(JobId(name))] == [number] * 2
    assert await store.attached(named(f"page {name}")) == b"page"
    assert await store.device(on.id) == on
    assert len(await store.checkpoints(JobId(name), 2)) == 1
    assert len(await store.audit_log(subject=name)) == 1
    assert named("checkpoint") in [digest async for digest in await store.referenced()]
    assert await store.lead()
    await store.upkeep()
    row = await rev_up(store, name, state=JobState.CANCELLED)
    await tick(store, effects=Effects(jobs=(row,), cancelled=(JobId(name),)))
    assert {task.state for task in await store.tasks(JobId(name))} == {TaskState.CANCELLED}
