"""What a waiting reader is told from a commit is what the store has, and it is told without a reading."""

from __future__ import annotations

import asyncio

import pytest

from corpgrid.domain.answers import Cursor
from corpgrid.domain.job import JobState, Limits, VerifyMode
from corpgrid.domain.messages import Outcome
from corpgrid.scheduler.news import MOST_TASKS
from tests.unit.scheduler.world import World


@pytest.mark.parametrize("tasks", [1, 5, MOST_TASKS, MOST_TASKS + 1])
@pytest.mark.parametrize("outcome", [Outcome.RESULT, Outcome.FAILED])
async def test_a_waiting_reader_hears_what_is_stored(
    world: World, monkeypatch: pytest.MonkeyPatch, tasks: int, outcome: Outcome
) -> None:
    actor = world.actor()
    await actor.register()
    envelope = await world.job(tasks, mode=VerifyMode.NONE, limits=Limits(max_attempts=1))
    job = (await world.scheduler.grid.submit_job(envelope)).id
    grant = (await actor.poll()).grants[0]
    waiting = asyncio.create_task(world.scheduler.grid.results(job, after=Cursor(), wait_seconds=60))
    await asyncio.sleep(0.01)
    reads = 0
    ended = world.store.ended

    async def counted(*asked, **options):
        nonlocal reads
        reads += 1
        return await ended(*asked, **options)

    monkeypatch.setattr(world.store, "ended", counted)
    await actor.submit(
        actor.results(
            grant, **({} if outcome is Outcome.RESULT else {"outcome": outcome, "payload": b"", "reason": "raised"})
        )
    )
    told = await waiting
    assert reads == (0 if tasks <= MOST_TASKS else 1)
    assert told == await world.scheduler.grid.results(job, after=Cursor())
    assert told.complete
    assert told.job.state is (JobState.DONE if outcome is Outcome.RESULT else JobState.FAILED)
    assert len(told.results) == tasks


@pytest.mark.parametrize("limit", [1, 3])
async def test_a_short_page_is_read(world: World, limit: int) -> None:
    actor = world.actor()
    await actor.register()
    job = (await world.scheduler.grid.submit_job(await world.job(3, mode=VerifyMode.NONE))).id
    grant = (await actor.poll()).grants[0]
    waiting = asyncio.create_task(world.scheduler.grid.results(job, after=Cursor(), limit=limit, wait_seconds=60))
    await asyncio.sleep(0.01)
    await actor.submit(actor.results(grant))
    told = await waiting
    assert told == await world.scheduler.grid.results(job, after=Cursor(), limit=limit)
    assert len(told.results) == limit


async def test_the_rest_of_a_job_is_told_where_some_ended_before(world: World) -> None:
    actor = world.actor()
    await actor.register()
    job = (await world.scheduler.grid.submit_job(await world.job(4, mode=VerifyMode.NONE))).id
    grant = (await actor.poll()).grants[0]
    await actor.submit(actor.results(grant._replace(tasks=grant.tasks[:1])))
    first = await world.scheduler.grid.results(job, after=Cursor())
    waiting = asyncio.create_task(world.scheduler.grid.results(job, after=first.cursor, wait_seconds=60))
    await asyncio.sleep(0.01)
    await actor.submit(actor.results(grant._replace(tasks=grant.tasks[1:])))
    assert [result.index for result in (await waiting).results] == [1, 2, 3]
