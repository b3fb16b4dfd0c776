"""What only one scheduler does: it goes where the lead goes, and what a former leader still sends is left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from corpgrid.domain.effects import Effects, Need, View
from corpgrid.domain.hints import Hint
from corpgrid.domain.job import TaskState
from corpgrid.errors import MigrationError, StaleError, StoreError
from corpgrid.ports.store import Decide
from corpgrid.scheduler import duties
from corpgrid.scheduler.scheduler import Scheduler
from corpgrid.stores.memory import MemoryStore
from corpgrid.trust.digest import digest
from tests.unit.scheduler.world import World

NOBODY = -1


class Leads:
    """Who of those on one store leads; ``error``: what asking ends with."""

    def __init__(self) -> None:
        self.leader = 0
        self.error: StoreError | None = None
        self.upkeeps: list[int] = []


class SharedStore:
    """One of several stores over the same tables; a sweep of one that does not lead is told so, as by a real store."""

    shared = True

    def __init__(self, tables: MemoryStore, leads: Leads, number: int) -> None:
        self._tables = tables
        self._leads = leads
        self._number = number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tables, name)

    def listen(self, heard: Callable[[Hint], None]) -> None:
        """All hints get lost."""

    async def lead(self) -> bool:
        if self._leads.error is not None:
            raise self._leads.error
        return self._leads.leader == self._number

    async def upkeep(self) -> None:
        self._leads.upkeeps.append(self._number)

    async def transact(self, need: Need, decide: Decide) -> Effects:
        def told(view: View) -> Effects:
            return decide(replace(view, leads=self._leads.leader == self._number))

        return await self._tables.transact(need, told)


class Office:
    """Two schedulers on one store."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.leads = Leads()
        assert isinstance(world.store, MemoryStore)
        self.tables = world.store
        self.schedulers = [self.make(number) for number in range(2)]

    def make(self, number: int) -> Scheduler:
        self.world.store = SharedStore(self.tables, self.leads, number)  # type: ignore[assignment]
        return self.world.make()

    @property
    def sweeps(self) -> list[int]:
        return [scheduler.counters.sweeps for scheduler in self.schedulers]

    async def swept_by(self, number: int) -> None:
        """Wait until it sweeps."""
        before = self.sweeps[number]
        await until(lambda: self.sweeps[number] > before + 1)


async def until(met: Callable[[], object]) -> None:
    async with asyncio.timeout(5.0):
        while not met():  # noqa: ASYNC110 - counters set no event
            await asyncio.sleep(0.005)


@asynccontextmanager
async def open_office(monkeypatch: pytest.MonkeyPatch, **limits: float) -> AsyncIterator[Office]:
    monkeypatch.setattr(duties, "LEAD_SECONDS", 0.01)
    monkeypatch.setattr(duties, "UPKEEP_SECONDS", 0.01)
    office = Office(World(**{"sweep_seconds": 0.01, **limits}))
    async with AsyncExitStack() as stack:
        for scheduler in office.schedulers:
            await scheduler.start()
            stack.push_async_callback(scheduler.stop)
        yield office


@pytest.fixture
async def office(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    async with open_office(monkeypatch) as office:
        yield office


async def test_one_sweeps_and_another_goes_on_when_it_has_the_lead(office: Office) -> None:
    await office.schedulers[0].grid.submit_job(await office.world.job())
    await office.swept_by(0)
    assert office.sweeps[1] == 0
    office.leads.leader = 1
    await office.swept_by(1)
    before = office.sweeps[0]
    await office.swept_by(1)
    assert office.sweeps[0] == before


async def test_the_upkeep_goes_with_the_lead(office: Office) -> None:
    await until(lambda: len(office.leads.upkeeps) > 2)
    assert set(office.leads.upkeeps) == {0}
    office.leads.leader = 1
    await until(lambda: 1 in office.leads.upkeeps)
    await asyncio.sleep(0.05)
    office.leads.upkeeps.clear()
    await until(lambda: len(office.leads.upkeeps) > 2)
    assert set(office.leads.upkeeps) == {1}


async def test_while_nobody_can_tell_nobody_leads(office: Office) -> None:
    await office.schedulers[0].grid.submit_job(await office.world.job())
    await office.swept_by(0)
    office.leads.error = StoreError("the connection is lost")
    await until(lambda: office.schedulers[0]._duties._term is None)
    before = office.sweeps
    await asyncio.sleep(0.05)
    assert office.sweeps == before
    office.leads.error = None
    await office.swept_by(0)


async def test_a_program_that_is_too_old_for_its_store_ends(office: Office) -> None:
    office.leads.error = MigrationError("it was migrated")
    for scheduler in office.schedulers:
        with pytest.raises(MigrationError):
            await asyncio.wait_for(scheduler.failed(), 5.0)


async def test_a_bug_in_what_the_leader_does_ends_its_scheduler(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise AssertionError

    monkeypatch.setattr(office.schedulers[1]._reaper, "run", fail)
    office.leads.leader = 1
    with pytest.raises(AssertionError):
        await asyncio.wait_for(office.schedulers[1].failed(), 5.0)


async def test_what_a_former_leader_sweeps_is_left_out_of_its_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of that tick is not."""
    async with open_office(monkeypatch, sweep_seconds=1_000.0) as office:
        first, _ = office.schedulers
        lost, other = (office.world.actor(owner, api=first.agents) for owner in ("anna", "ben"))
        await lost.register()
        await other.register()
        job = await first.grid.submit_job(await office.world.job())
        await lost.poll()
        for _ in range(10):  # its lease runs out while others are heard of
            office.world.clock.time += office.world.rules.settings.lease_ttl_seconds / 8
            await other.heartbeat()
        office.leads.leader = NOBODY
        late, beat = await asyncio.gather(first._reaper.sweep(), other.heartbeat(), return_exceptions=True)
        assert isinstance(late, StaleError)
        assert beat.should_continue
        assert {task.state for task in await first.grid.tasks(job.id)} == {TaskState.LEASED}
        office.leads.leader = 0
        await first._reaper.sweep()
        assert TaskState.LEASED not in {task.state for task in await first.grid.tasks(job.id)}


async def test_a_poll_that_waits_where_nobody_leads_finds_work_also_when_hints_are_lost(office: Office) -> None:
    first, second = office.schedulers
    actor = office.world.actor(api=second.agents)
    await actor.register()
    waiting = asyncio.create_task(actor.poll(wait=20.0))
    await asyncio.sleep(0.05)
    job = await first.grid.submit_job(await office.world.job(3))
    (grant,) = (await asyncio.wait_for(waiting, 5.0)).grants
    assert (grant.job, len(grant.tasks)) == (job.id, 3)


async def test_an_idle_grid_is_left_alone(office: Office) -> None:
    before = [scheduler.counters.ticks for scheduler in office.schedulers]
    await asyncio.sleep(0.1)
    assert [scheduler.counters.ticks for scheduler in office.schedulers] == before


async def test_one_that_slept_over_the_reading_of_what_is_needed_deletes_no_blob(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_office(monkeypatch) as office:
        first, _ = office.schedulers
        garbage = await office.world.blobs.put(b"garbage")
        office.leads.leader = 1
        await until(lambda: first._duties._term is None)
        with pytest.raises(StaleError, match="another scheduler leads"):
            await first._reaper.collect()
        assert garbage in office.world.blobs.contents
        office.leads.leader = 0
        await first._reaper.collect()
        assert digest(b"garbage") not in office.world.blobs.contents
