"""What is submitted is too much, comes twice, or comes too late; on PostgreSQL.

| fault | what becomes of it |
| --- | --- |
| a million tasks | one short call, small messages, bounded memory; one more than the limit is refused by its name |
| the same job again | the same job, at whatever scheduler, and however often |
| other content under the same key | there is none: the key is the content; what changed on its way is refused |
| a result after its lease, or its job, ended | counts nowhere, and its device is told |
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.job import JobState, TaskState
from corpgrid.errors import LimitError, SignatureError
from corpgrid.stores.postgres.store import PostgresStore
from tests.postgres.fixtures import new_dsn
from tests.system.company import SCHEDULER, Company, open_folder
from tests.unit.scheduler.world import World

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


# -- a million tasks


MILLION = 1_000_000


def test_a_million_tasks_are_one_job_and_one_more_is_refused(folder: Path) -> None:
    limits = {"job_tasks": MILLION, "message_bytes": 2 << 20, "batch_bytes": 1 << 20}
    company = Company(folder, computers={}, scheduler={"store": new_dsn()}, limits=limits)
    with company, company.connect(timeout_seconds=90.0) as grid:
        process = psutil.Process(company._processes[SCHEDULER].pid)
        before = process.memory_info().rss
        with pytest.raises(LimitError, match=r"1,000,001 where limits\.job_tasks allows 1,000,000") as refused:
            grid.map(abs, range(MILLION + 1), verify="none")
        assert "several jobs" in refused.value.remedy
        assert grid.jobs() == []
        job = grid.map(abs, range(MILLION), verify="none")
        row = job.status()
        assert (row.tasks, row.counts.ready, row.state) == (MILLION, MILLION, JobState.RUNNING)
        assert process.memory_info().rss - before < 64 << 20, "it knows the job, not its tasks"
        assert grid.info().counters["commit_seconds_longest"] < 60
        assert job.cancel().state is JobState.CANCELLED


# -- the same again, and too late


@asynccontextmanager
async def world_on(dsn: str, **limits: Any) -> AsyncIterator[World]:
    """A whole scheduler over the database."""
    world = World(**limits)
    store = await PostgresStore.open(dsn, world.settings, clock=world.clock)
    world.store = store
    world.scheduler = world.make()
    try:
        async with world.running():
            yield world
    finally:
        await store.close()


async def test_the_same_job_again_is_the_same_job_at_every_scheduler() -> None:
    dsn = new_dsn()
    async with world_on(dsn) as world:
        store = await PostgresStore.open(dsn, world.settings, clock=world.clock)
        first, world.store = world.scheduler, store
        second = world.make()
        await second.start()
        try:
            envelope = await world.job(7)
            sent = [each.grid.submit_job(envelope) for each in (first, second) * 10]
            assert len({row.id for row in await asyncio.gather(*sent)}) == 1
            (row,) = await store.jobs()
            assert (row.tasks, row.counts.ready) == (7, 7)
            assert len(await store.tasks(row.id)) == 7
            assert [entry.kind for _, entry in await store.audit_log(subject=row.id)] == ["job.submitted"]
        finally:
            await second.stop()
            await store.close()


async def test_the_key_of_a_job_is_its_content_so_that_no_other_content_has_it() -> None:
    async with world_on(new_dsn()) as world:
        envelope = await world.job(3, nonce="the-same")
        other = await world.job(4, nonce="the-same")
        one, two = [await world.scheduler.grid.submit_job(each) for each in (envelope, other)]
        assert one.id != two.id
        assert (one.tasks, two.tasks) == (3, 4)
        changed = bytearray(envelope)
        changed[envelope.index(b'"payload"') + 20] ^= 1
        with pytest.raises(SignatureError):
            await world.scheduler.grid.submit_job(bytes(changed))
        assert len(await world.store.jobs()) == 2


async def test_a_result_after_its_lease_counts_nowhere_and_its_device_is_told() -> None:
    async with world_on(new_dsn(), sweep_seconds=0.02) as world:
        late, other = world.actor("ann"), world.actor("ben")
        await late.register()
        await other.register()
        job = (await world.scheduler.grid.submit_job(await world.job(3))).id
        grant = (await late.poll()).grants[0]
        for _ in range(8):  # in steps: at once it would be an outage of the scheduler
            world.clock.time += 4.0
            await other.heartbeat()
            await asyncio.sleep(0.05)
        regranted = (await other.poll()).grants[0]
        assert {task.index for task in regranted.tasks} == {0, 1, 2}
        assert (await late.submit(late.results(grant))).received == (0,)
        assert (await late.heartbeat()).lost == (grant.epoch,)
        assert await counted(world, job) == (0, 0)
        assert (await other.submit(other.results(regranted))).received == (3,)
        assert (await late.submit(late.results(grant))).received == (0,), "nor when somebody else's stands there"
        assert await counted(world, job) == (3, 3)
        assert await accepted(world, job) == {other.device}


async def test_a_result_after_its_job_ended_counts_nowhere_and_its_device_is_told() -> None:
    async with world_on(new_dsn()) as world:
        late = world.actor("ann")
        await late.register()
        job = (await world.scheduler.grid.submit_job(await world.job(3))).id
        grant = (await late.poll()).grants[0]
        await world.scheduler.grid.cancel_job(job)
        assert (await late.submit(late.results(grant))).received == (0,)
        assert (await late.heartbeat()).lost == (grant.epoch,)
        assert await counted(world, job) == (0, 0)
        assert {task.state for task in await world.store.tasks(job)} == {TaskState.CANCELLED}


async def counted(world: World, job: JobId) -> tuple[int, int]:
    """Final tasks and executions of a job."""
    row = await world.store.job(job)
    assert row is not None
    return row.counts.final, row.executions


async def accepted(world: World, job: JobId) -> set[DeviceId]:
    """Whose results its tasks have."""
    found = await world.store.ended(job, after=(0, -1), limit=100)
    assert found is not None
    return {result.device for result in found[1]}
