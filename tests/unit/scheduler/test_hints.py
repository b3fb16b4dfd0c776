"""Schedulers that share a store: what one commits, those who wait at the other hear of, or find out by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from corpgrid.domain.answers import Cursor
from corpgrid.domain.device import DeviceState
from corpgrid.domain.effects import Effects, Need, View
from corpgrid.domain.hints import Hint, hint_of
from corpgrid.domain.job import JobState
from corpgrid.errors import RefusedError
from corpgrid.ports.store import Decide
from corpgrid.scheduler import results
from corpgrid.scheduler.scheduler import Scheduler
from corpgrid.stores.memory import MemoryStore
from tests.unit.scheduler.world import World


class SharedStore:
    """One of several stores over the same tables; ``told`` are those who hear of its ticks, unless hints get lost.

    The first of them leads.
    """

    def __init__(self, tables: MemoryStore, told: list[Callable[[Hint], None]], *, lossy: bool, leads: bool) -> None:
        self._tables = tables
        self._told = told
        self._leads = leads
        self._mine: Callable[[Hint], None] | None = None
        self._lossy = lossy

    shared = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tables, name)

    def listen(self, heard: Callable[[Hint], None]) -> None:
        self._mine = heard
        self._told.append(heard)

    async def lead(self) -> bool:
        return self._leads

    async def transact(self, need: Need, decide: Decide) -> Effects:
        views: list[View] = []

        def seen(view: View) -> Effects:
            views.append(view)
            return decide(view)

        effects = await self._tables.transact(need, seen)
        for heard in [] if self._lossy else self._told:
            if heard is not self._mine:
                heard(hint_of(views[-1], effects))
        return effects


@pytest.fixture(params=[False, True], ids=["heard", "lost"])
async def two(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[World, Sequence[Scheduler]]]:
    monkeypatch.setattr(results, "_LOOK_SECONDS", 0.05)
    world = World(sweep_seconds=0.05)
    tables, told = world.store, []
    assert isinstance(tables, MemoryStore)
    async with AsyncExitStack() as stack:
        schedulers = []
        for _ in range(2):
            world.store = SharedStore(tables, told, lossy=request.param, leads=not schedulers)
            schedulers.append(world.make())
            await schedulers[-1].start()
            stack.push_async_callback(schedulers[-1].stop)
        yield world, schedulers


async def test_work_that_comes_to_one_scheduler_goes_to_a_device_that_waits_at_the_other(two) -> None:
    world, (first, second) = two
    actor = world.actor(api=second.agents)
    await actor.register()
    polling = asyncio.create_task(actor.poll(wait=20.0))
    await asyncio.sleep(0.02)
    job = await first.grid.submit_job(await world.job(3))
    (grant,) = (await asyncio.wait_for(polling, 5.0)).grants
    assert (grant.job, len(grant.tasks)) == (job.id, 3)


async def test_results_that_came_to_one_scheduler_are_read_at_the_other(two) -> None:
    world, (first, second) = two
    actor = world.actor(api=second.agents)
    await actor.register()
    job = await first.grid.submit_job(await world.job(3))
    reading = asyncio.create_task(first.grid.results(job.id, after=Cursor(), wait_seconds=20.0))
    (grant,) = (await actor.poll(wait=5.0)).grants
    await actor.submit(actor.results(grant))
    page = await asyncio.wait_for(reading, 5.0)
    assert len(page.results) == 3
    assert page.job.state is not JobState.RUNNING


async def test_a_reader_goes_home_when_its_scheduler_stops(two) -> None:
    world, (first, _) = two
    job = await first.grid.submit_job(await world.job(3))
    reading = asyncio.create_task(first.grid.results(job.id, after=Cursor(), wait_seconds=20.0))
    await asyncio.sleep(0.02)
    first.drain()
    assert not (await asyncio.wait_for(reading, 5.0)).results


async def test_a_session_moves_from_one_scheduler_to_the_other(two) -> None:
    world, (first, second) = two
    actor = world.actor(api=first.agents)
    await actor.register()
    actor.api = second.agents
    assert (await actor.heartbeat()).should_continue


async def test_a_device_that_was_paused_at_one_scheduler_is_stopped_at_the_other(two) -> None:
    world, (first, second) = two
    actor = world.actor(api=second.agents)
    await actor.register()
    await first.grid.set_device(actor.device, DeviceState.PAUSED)
    assert not (await actor.heartbeat()).should_continue


async def test_a_new_session_at_one_scheduler_ends_the_old_one_at_the_other(two) -> None:
    """At once, whether or not the other has heard of it: each tick looks at the device's row."""
    world, (first, second) = two
    actor = world.actor(api=second.agents)
    await actor.register()
    await first.grid.submit_job(await world.job(3))
    (grant,) = (await actor.poll()).grants
    new = (await first.agents.register(actor.registration(held=actor.held))).session
    for ask in (actor.heartbeat, actor.poll, lambda: actor.submit(actor.results(grant))):
        with pytest.raises(RefusedError, match="no such session"):
            await ask()
    actor.session = new
    assert (await actor.submit(actor.results(grant))).received == (3,)


async def test_a_poll_that_waits_in_a_session_that_ends_elsewhere_gets_no_work(two) -> None:
    world, (first, second) = two
    actor = world.actor(api=second.agents)
    await actor.register()
    waiting = asyncio.create_task(actor.poll(wait=20.0))
    await asyncio.sleep(0.05)
    actor.api = first.agents
    await actor.register()
    job = await second.grid.submit_job(await world.job(3))
    with pytest.raises(RefusedError, match="no such session"):
        await asyncio.wait_for(waiting, 5.0)
    (grant,) = (await actor.poll(wait=5.0)).grants
    assert (grant.job, len(grant.tasks)) == (job.id, 3)
