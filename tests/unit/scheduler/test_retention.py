"""Jobs that ended long ago: what is gone, what stays, and what people are told."""

from __future__ import annotations

import asyncio

import pytest

from corpgrid.domain.answers import Cursor
from corpgrid.domain.job import JobState, Limits, TaskState, VerifyMode
from corpgrid.domain.messages import Outcome, OutputFile
from corpgrid.errors import CollectedError, DigestError
from corpgrid.scheduler import evidence
from corpgrid.trust.digest import digest
from tests.unit.scheduler.test_reaper import reaper
from tests.unit.scheduler.world import Actor, ManualClock, World

DAY = 86_400.0
KEEP = {"keep_seconds": 30 * DAY}


async def worked(world: World, actor: Actor, tasks: int = 3, *, mode: VerifyMode = VerifyMode.NONE, **changes: object):
    """A job all of whose results are there, with a file."""
    job = await world.scheduler.grid.submit_job(await world.job(tasks, mode=mode, **changes))
    grant = (await actor.poll(known=[])).grants[0]
    outputs = (OutputFile("a.txt", await world.blobs.put(f"file of {job.id}".encode()), 1),)
    await actor.submit(actor.results(grant, outputs=outputs))
    return job.id


async def days_pass(world: World, actor: Actor, days: float) -> None:
    world.clock.time += days * DAY
    await actor.heartbeat()


@pytest.fixture
async def actor(world: World) -> Actor:
    made = world.actor()
    await made.register()
    return made


@pytest.fixture(autouse=True)
def nothing_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a minute."""
    monkeypatch.setattr(evidence, "_AT_HAND_SECONDS", 0.0)


async def test_an_old_job_has_rows_and_no_results(world: World, actor: Actor) -> None:
    grid = world.scheduler.grid
    job = await worked(world, actor)
    before = await grid.job(job), await grid.tasks(job), await grid.attempts(job, 0)
    await days_pass(world, actor, 29.0)
    await reaper(world, **KEEP).collect()
    assert len((await grid.results(job, after=Cursor())).results) == 3
    await days_pass(world, actor, 2.0)
    await reaper(world, **KEEP).collect()
    for asking in (grid.results(job, after=Cursor()), grid.results(job, after=Cursor(0, 99)), grid.log(job, 1)):
        with pytest.raises(CollectedError, match=f"{job} are kept no more") as raised:
            await asking
        assert "keep_days" in raised.value.remedy
    assert (await grid.job(job), await grid.tasks(job), await grid.attempts(job, 0)) == before
    assert (await grid.report(job)).story[-1][1].kind == "job.collected"
    assert (await grid.explain_job(job)).summary.startswith("it has ended")
    assert world.blobs.contents == {}
    assert world.scheduler.counters.jobs_collected == 1


async def test_nobody_takes_some_results_for_all(world: World, actor: Actor) -> None:
    """A reader in the middle hears of it, however it reads on."""
    grid = world.scheduler.grid
    job = await worked(world, actor, 9)
    page = await grid.results(job, after=Cursor(), limit=4)
    await days_pass(world, actor, 31.0)
    await reaper(world, **KEEP).collect()
    with pytest.raises(CollectedError):
        await grid.results(job, after=page.cursor, limit=4)


async def test_without_a_limit_everything_is_kept(world: World, actor: Actor) -> None:
    job = await worked(world, actor)
    await days_pass(world, actor, 36_500.0)
    await reaper(world, keep_seconds=0.0).collect()
    assert len((await world.scheduler.grid.results(job, after=Cursor())).results) == 3
    assert digest(f"file of {job}".encode()) in world.blobs.contents
    assert world.scheduler.counters.jobs_collected == 0


async def test_only_the_end_of_a_job_makes_it_old(world: World, actor: Actor) -> None:
    """One that was submitted a year ago and runs has everything, and so has one that ended yesterday."""
    grid = world.scheduler.grid
    running = (await grid.submit_job(await world.job(4, not_after=world.clock.now() + 1_000 * DAY))).id
    grant = (await actor.poll()).grants[0]
    await actor.submit(actor.results(grant._replace(tasks=grant.tasks[:2])))
    await days_pass(world, actor, 365.0)
    await reaper(world, **KEEP).collect()
    page = await grid.results(running, after=Cursor())
    assert [result.payload for result in page.results] == [b"d0", b"d1"]
    assert not page.complete
    await grid.cancel_job(running)
    await days_pass(world, actor, 1.0)
    await reaper(world, **KEEP).collect()
    states = [result.state for result in (await grid.results(running, after=Cursor())).results]
    assert sorted(states) == [TaskState.CANCELLED] * 2 + [TaskState.FINAL] * 2


async def test_a_cancelled_job_that_brought_nothing_still_says_so(world: World, actor: Actor) -> None:
    grid = world.scheduler.grid
    job = (await grid.submit_job(await world.job())).id
    await grid.cancel_job(job)
    await days_pass(world, actor, 31.0)
    await reaper(world, **KEEP).collect()
    page = await grid.results(job, after=Cursor())
    assert (page.job.state, page.complete) == (JobState.CANCELLED, True)
    assert {result.state for result in page.results} == {TaskState.CANCELLED}


async def test_the_story_of_an_old_failure_is_gone_too(world: World, actor: Actor) -> None:
    grid = world.scheduler.grid
    job = (await grid.submit_job(await world.job(1, limits=Limits(max_attempts=1)))).id
    grant = (await actor.poll()).grants[0]
    told = {"outcome": Outcome.FAILED, "payload": b"", "reason": "raised", "detail": "Traceback"}
    await actor.submit(actor.results(grant, **told))
    await days_pass(world, actor, 31.0)
    await reaper(world, **KEEP).collect()
    with pytest.raises(CollectedError):
        await grid.results(job, after=Cursor())
    (task,) = await grid.tasks(job)
    assert (task.state, task.reason) == (TaskState.FAILED, "raised")


async def test_a_lost_batch_is_damage_and_no_collection(world: World, actor: Actor) -> None:
    job = await worked(world, actor)
    world.store._tables.batches.clear()  # type: ignore[attr-defined]
    with pytest.raises(DigestError, match="has lost 1 batches"):
        await world.scheduler.grid.results(job, after=Cursor())


@pytest.mark.parametrize("ahead", ["scheduler", "store"])
async def test_a_clock_that_runs_ahead_makes_no_job_old(
    world: World, actor: Actor, ahead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither that of the scheduler's machine nor that of the store alone."""
    job, made = await worked(world, actor), reaper(world, **KEEP)
    if ahead == "scheduler":
        monkeypatch.setattr(made, "_clock", ManualClock())
        made._clock.time = world.clock.time + 1_000 * DAY  # type: ignore[attr-defined]
    else:

        async def last_seen() -> float:
            return world.clock.time + 1_000 * DAY

        monkeypatch.setattr(world.store, "last_seen", last_seen)
    await made.collect()
    assert len((await world.scheduler.grid.results(job, after=Cursor())).results) == 3


async def test_a_collection_that_is_cut_off_goes_on_the_next_time(world: World, actor: Actor) -> None:
    """Rows first, then blobs: whatever stops it, nobody misses something of which nothing says why."""
    job = await worked(world, actor)
    await days_pass(world, actor, 31.0)
    made = reaper(world, **KEEP)

    async def hang(*_: object, **_limits: object) -> int:
        return await asyncio.Future()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made._blobs, "collect", hang)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await made.collect()
    with pytest.raises(CollectedError):
        await world.scheduler.grid.results(job, after=Cursor())
    assert digest(f"file of {job}".encode()) in world.blobs.contents
    await made.collect()
    assert world.blobs.contents == {}


async def test_what_is_kept_for_a_short_time_is_looked_for_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    collected = asyncio.Event()

    async def collect() -> None:
        collected.set()

    made = reaper(World(), keep_seconds=0.01, collect_seconds=3_600.0)
    monkeypatch.setattr(made, "collect", collect)
    running = asyncio.create_task(made.run())
    await asyncio.wait_for(collected.wait(), 5.0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_the_late_result_of_an_old_job_disturbs_nobody(world: World, actor: Actor) -> None:
    """A device wakes after a month with a copy that nobody wants any more."""
    other = world.actor("ben")
    await other.register()
    job = (await world.scheduler.grid.submit_job(await world.job(1))).id
    late = (await actor.poll()).grants[0]
    await world.scheduler.grid.cancel_job(job)
    await days_pass(world, other, 31.0)
    await reaper(world, **KEEP).collect()
    assert (await actor.submit(actor.results(late))).received == (0,)
    assert await worked(world, other)
