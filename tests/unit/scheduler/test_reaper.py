from __future__ import annotations

import asyncio

import pytest

from corpgrid.domain.ids import Digest
from corpgrid.domain.job import TaskState
from corpgrid.domain.leases import OUTAGE_LONGEST_SECONDS
from corpgrid.errors import StoreError, UnavailableError
from corpgrid.scheduler.limits import SchedulerLimits
from corpgrid.scheduler.reaper import Reaper
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import verify_job
from tests.unit.scheduler.world import World


def reaper(world: World, **limits: float) -> Reaper:
    """The world's reaper with a pace of its own."""
    made = world.scheduler._reaper
    made._limits = SchedulerLimits(**{"sweep_seconds": 1_000.0, "collect_seconds": 0.0, **limits})
    return made


async def time_passes(world: World, seconds: float) -> None:
    """Second by second, with a sweep in each: the grid is there all the time."""
    for _ in range(int(seconds)):
        world.clock.time += 1.0
        await reaper(world).sweep()


async def test_a_lease_that_ran_out_gives_its_tasks_back(world: World) -> None:
    actor = world.actor()
    await actor.register()
    job = await world.scheduler.grid.submit_job(await world.job())
    await actor.poll()
    await time_passes(world, world.rules.settings.lease_ttl_seconds + 1.0)
    tasks = await world.scheduler.grid.tasks(job.id)
    assert {task.state for task in tasks} <= {TaskState.READY, TaskState.WAITING}


async def test_a_waiting_poll_gets_the_tasks_that_another_lost(world: World) -> None:
    lost, other = world.actor("anna"), world.actor("ben")
    await lost.register()
    await other.register()
    await world.scheduler.grid.submit_job(await world.job())
    await lost.poll()
    polling = asyncio.create_task(other.poll(wait=20.0))
    await asyncio.sleep(0.01)
    await time_passes(world, world.rules.settings.lease_ttl_seconds + 1.0)
    await time_passes(world, 30.0)
    await other.heartbeat()
    await time_passes(world, 30.0)
    reply = await asyncio.wait_for(polling, 1.0)
    assert [len(grant.tasks) for grant in reply.grants] == [3]


async def test_an_idle_grid_is_left_alone(world: World) -> None:
    before = world.scheduler.counters.ticks
    await reaper(world).sweep()
    assert (world.scheduler.counters.ticks, world.scheduler.counters.sweeps) == (before, 0)


async def test_leases_outlive_an_outage_of_the_scheduler() -> None:
    world = World()
    async with world.running():
        actor = world.actor()
        await actor.register()
        job = await world.scheduler.grid.submit_job(await world.job())
        grant = (await actor.poll()).grants[0]
    world.clock.time += 3_600.0
    world.scheduler = world.make()
    async with world.running():
        await time_passes(world, 5.0)
        assert {task.state for task in await world.scheduler.grid.tasks(job.id)} == {TaskState.LEASED}
        actor.api = world.scheduler.agents
        assert (await actor.submit(actor.results(grant))).received == (3,)


async def test_a_new_store_knows_of_no_outage(world: World) -> None:
    assert await world.store.last_seen() > 0.0
    assert await reaper(world).forgive_outage() == 0.0
    world.clock.time += 3.0
    assert await reaper(world).forgive_outage() == 3.0, "who starts forgives a short one too"
    world.clock.time += 10 * OUTAGE_LONGEST_SECONDS
    assert await reaper(world).forgive_outage() == OUTAGE_LONGEST_SECONDS


@pytest.mark.parametrize("slept_seconds", [4.0, 6.0, 3_600.0])
@pytest.mark.parametrize("first", ["sweep", "another's call"])
async def test_a_scheduler_that_slept_takes_no_lease_away(world: World, slept_seconds: float, first: str) -> None:
    """Whatever the first tick after it is about, and however many sweeps follow."""
    actor, other = world.actor(), world.actor("ben")
    await actor.register()
    await other.register()
    job = await world.scheduler.grid.submit_job(await world.job())
    await actor.poll()
    await time_passes(world, 2.0)
    world.clock.time += slept_seconds
    if first != "sweep":
        await other.heartbeat()
    await time_passes(world, 10.0)
    assert {task.state for task in await world.scheduler.grid.tasks(job.id)} == {TaskState.LEASED}


async def test_a_scheduler_that_slept_while_another_worked_gives_nobody_more_time() -> None:
    """Two on one store: one stands still, and its first tick afterwards is no different from the other's."""
    async with World().running() as world:
        actor = world.actor()
        await actor.register()
        job = await world.scheduler.grid.submit_job(await world.job())
        await actor.poll()
        asleep, awake = world.scheduler, world.make()
        await awake.start()
        world.scheduler = awake
        await time_passes(world, world.rules.settings.lease_ttl_seconds - 1.0)
        world.scheduler = asleep
        await time_passes(world, 2.0)
        assert {task.state for task in await asleep.grid.tasks(job.id)} <= {TaskState.READY, TaskState.WAITING}
        await awake.stop()


async def test_while_the_store_fails_no_lease_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise StoreError("disk full")

    async with World(store_pause_seconds=0.0, store_pause_longest_seconds=0.0).running() as world:
        actor = world.actor()
        await actor.register()
        job = await world.scheduler.grid.submit_job(await world.job())
        await actor.poll()
        await time_passes(world, 1.0)
        with monkeypatch.context() as failing:
            failing.setattr(world.store, "transact", fail)
            for _ in range(30):
                with pytest.raises(UnavailableError):
                    await time_passes(world, 1.0)
        await time_passes(world, 10.0)
        assert {task.state for task in await world.scheduler.grid.tasks(job.id)} == {TaskState.LEASED}


async def test_a_clock_that_stepped_back_is_no_outage(world: World) -> None:
    await world.actor().register()
    world.clock.time -= 1_000.0
    assert await reaper(world).forgive_outage() == 0.0


async def test_no_blob_of_a_running_job_is_collected(world: World) -> None:
    envelope = await world.job(250, inputs={"data.bin": await world.blobs.put(b"input")})
    spec = verify_job(envelope, keyring=world.keyring, now=world.clock.now()).spec
    page_list = world.blobs.contents[spec.arguments.pages]
    job = await world.scheduler.grid.submit_job(envelope)
    await world.blobs.put(b"garbage")
    await reaper(world).collect()
    needed = {spec.bundle, spec.arguments.pages, digest(b"input"), digest(b"a wheel")}
    needed |= {Digest(page_list[start : start + 32]) for start in range(0, len(page_list), 32)}
    assert set(world.blobs.contents) == needed
    assert world.scheduler.counters.blobs_collected == 1
    await world.scheduler.grid.cancel_job(job.id)
    await reaper(world).collect()
    assert digest(b"a wheel") not in world.blobs.contents


async def test_nothing_is_collected_when_it_is_not_known_what_a_job_needs(world: World) -> None:
    await world.scheduler.grid.submit_job(await world.job())
    await world.blobs.put(b"garbage")
    spec = (await world.scheduler.grid.jobs())[0]
    envelope = await world.store.envelope(spec.id)
    assert envelope is not None
    pages = verify_job(envelope, keyring=world.keyring, now=world.clock.now()).spec.arguments.pages
    del world.blobs.contents[pages]
    before = dict(world.blobs.contents)
    with pytest.raises(Exception, match="no such blob"):
        await reaper(world).collect()
    assert world.blobs.contents == before


async def test_it_goes_on_after_a_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = iter([StoreError("disk full"), AssertionError()])
    went_on = asyncio.Event()

    async def fail() -> None:
        error = next(tries, None)
        if error is not None:
            raise error
        went_on.set()

    made = reaper(world, sweep_seconds=0.001)
    monkeypatch.setattr(made, "sweep", fail)
    running = asyncio.create_task(made.run())
    await asyncio.wait_for(went_on.wait(), 5.0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
