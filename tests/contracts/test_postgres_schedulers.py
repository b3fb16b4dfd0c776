"""Many schedulers on one database: whatever they do at once, no task is leased twice, and counts are what rows say."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import pytest

from corpgrid.domain import grid
from corpgrid.domain.attempt import LIVE
from corpgrid.domain.device import Facts, PowerStatus
from corpgrid.domain.effects import Effects, View
from corpgrid.domain.events import DeviceRegistered, Event, Heartbeat, JobSubmitted, Polled, Swept
from corpgrid.domain.ids import DeviceId, JobId, KeyId
from corpgrid.domain.job import Counts, Job, JobState
from corpgrid.domain.messages import AgentStatus, Batch, Grant, Item, Outcome, PollReply, RegisterRequest
from corpgrid.errors import StaleError, StoreError
from corpgrid.stores.postgres.store import PostgresStore
from corpgrid.stores.settings import StoreSettings
from corpgrid.trust.digest import digest
from corpgrid.wire.convert import batch_blobs, encode_batch, item_payload
from tests.contracts import store_rows as rows
from tests.postgres.fixtures import clock, dsn
from tests.postgres.server import server

__all__ = ["clock", "dsn"]

CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'corpgrid' AND datname <> current_database() ORDER BY random() LIMIT 1
"""
RULES = grid.GridRules(audit_key=b"k" * 32, agree=lambda *_: False)


class Scheduler:
    """The grid's rules on a store of its own; ticks that are stale or fail are tried again, and counted."""

    def __init__(self, store: PostgresStore, seed: int) -> None:
        self.store = store
        self.rng = random.Random(seed)
        self.stale = self.failed = 0

    async def tick(self, *events: Event) -> Effects:
        def decide(view: View) -> Effects:
            return grid.decide(view, events, rng=self.rng, rules=RULES)

        while True:
            try:
                return await self.store.transact(grid.need(events, RULES), decide)
            except StaleError:
                self.stale += 1
            except StoreError:
                self.failed += 1
                await asyncio.sleep(0.05)


class Agent:
    """A device that takes work and brings results, lies now and then, or forgets; it talks to any scheduler."""

    def __init__(self, name: str, schedulers: Sequence[Scheduler], seed: int) -> None:
        self.id = DeviceId(name)
        self.schedulers = schedulers
        self.rng = random.Random(seed)
        self.held: tuple[Grant, ...] = ()

    async def register(self) -> None:
        facts = Facts(python="3.11", memory_bytes=1 << 34, disk_free_bytes=1 << 40)
        request = RegisterRequest(
            public_key=b"k" * 32, owner=self.id[:-1], site="s", name=self.id, facts=facts, power=PowerStatus(),
            boot="b", signed_at=0.0, capacity=2,
        )  # fmt: skip
        event = DeviceRegistered(ticket=1, device=self.id, request=request, session=b"s" * 32, trusted=False)
        await self.rng.choice(self.schedulers).tick(event)

    async def work(self) -> int:
        """One poll; the results that were brought."""
        epochs = tuple(grant.epoch for grant in self.held)
        status = AgentStatus(device=self.id, session="s", power=PowerStatus(), held=epochs)
        batches = tuple(self.batch(grant) for grant in self.held)
        scheduler = self.rng.choice(self.schedulers)
        if self.rng.random() < 0.2:
            await scheduler.tick(Heartbeat(ticket=1, status=status))
        poll = Polled(ticket=2, status=status, wanted=8, known_jobs=frozenset(), batches=batches, due=True)
        reply = (await scheduler.tick(poll)).replies[2]
        assert isinstance(reply, PollReply)
        self.held = reply.grants
        return sum(len(batch.items) for batch in batches)

    def batch(self, grant: Grant) -> Batch:
        items, digests = [], []
        for task in grant.tasks:
            lies = self.id.startswith("dev_c") and self.rng.random() < 0.1
            payload = b"a lie" if lies else b"%d" % task.index
            items.append(Item(task.index, task.attempt, grant.epoch, Outcome.RESULT, payload=payload))
            digests.append(digest(payload))
        return encode_batch(Batch(grant.job, self.id, tuple(items), b"s" * 64))._replace(digests=tuple(digests))


@pytest.fixture
async def schedulers(dsn: str) -> AsyncIterator[list[Scheduler]]:
    settings = StoreSettings(clock=rows.FakeClock(), item_payload=item_payload, batch_blobs=batch_blobs)
    stores = [await PostgresStore.open(dsn, settings) for _ in range(3)]
    yield [Scheduler(store, seed) for seed, store in enumerate(stores)]
    for store in stores:
        await store.close()


async def submit(scheduler: Scheduler, name: str, tasks: int, **changes: object) -> JobId:
    spec = rows.spec(tasks, **changes)
    await scheduler.tick(
        JobSubmitted(ticket=1, job=JobId(name), spec=spec, envelope=b"e", submitter=KeyId("key_a"), attachments=())
    )
    return JobId(name)


async def check(store: PostgresStore, jobs: Sequence[JobId]) -> None:
    """No task is worked on twice by one owner, every live attempt has its lease, and counts are what rows say."""
    view = await rows.tick(store, rows.need(devices=[device.id for device in await store.devices()]))
    live: Counter[int] = Counter()
    on: Counter[DeviceId] = Counter()
    for job in jobs:
        row = await store.job(job)
        assert row is not None
        tasks = await store.tasks(job, limit=100_000)
        states = Counter(task.state for task in tasks)
        assert row.counts == Counts(**{state.value: count for state, count in states.items()})
        assert row.unsettled == sum(not task.settled for task in tasks)
        for task in tasks:
            attempts = await store.attempts(job, task.index)
            assert [attempt.number for attempt in attempts] == list(range(task.attempts))
            epochs = [attempt.epoch for attempt in attempts]
            assert epochs == sorted(epochs), "the epochs of a task rise"
            working = [attempt for attempt in attempts if attempt.state in LIVE]
            assert len(working) == task.live
            assert len({attempt.owner for attempt in working}) == len(working)
            live.update(attempt.epoch for attempt in working)
            on.update(attempt.device for attempt in working)
    assert live == {epoch: lease.remaining for epoch, lease in view.leases.items()}
    assert {device: row.leased for device, row in view.devices.items() if row.leased} == on


@pytest.mark.parametrize("jobs", [1, 4])
async def test_work_done_through_three_schedulers_at_once(schedulers: list[Scheduler], jobs: int) -> None:
    names = await work(schedulers, jobs=jobs, tasks=120)
    await check(schedulers[1].store, names)


async def test_work_goes_on_while_connections_are_cut(schedulers: list[Scheduler]) -> None:
    """A tick that failed is tried again with the same events, as agents would send them again."""
    over = asyncio.Event()

    async def cut() -> None:
        while not over.is_set():
            await asyncio.sleep(0.05)
            await asyncio.to_thread(server().sql, CUT)

    cutting = asyncio.create_task(cut())
    names = await work(schedulers, jobs=6, tasks=1200)
    over.set()
    await cutting  # not cancelled: its last cut would go on in its thread
    assert any(scheduler.failed for scheduler in schedulers)
    await until_it_answers(schedulers[1].store)
    await check(schedulers[1].store, names)


async def until_it_answers(store: PostgresStore) -> None:
    """Connections that the last cut met fail once more, at their next use."""
    async with asyncio.timeout(10.0):
        for _ in range(3):
            with suppress(StoreError):
                await store.devices()
            await asyncio.sleep(0.1)
        await store.devices()


async def work(schedulers: list[Scheduler], *, jobs: int, tasks: int) -> list[JobId]:
    """Have agents do jobs until all have ended."""
    agents = [Agent(f"dev_{owner}{number}", schedulers, number) for owner in "abc" for number in range(3)]
    await asyncio.gather(*(agent.register() for agent in agents))
    each = tasks // jobs
    names = await asyncio.gather(*(submit(schedulers[number % 3], f"job_{number}", each) for number in range(jobs)))
    over = asyncio.Event()

    async def run(agent: Agent) -> int:
        done = 0
        while not over.is_set():
            done += await agent.work()
            await asyncio.sleep(agent.rng.random() * 0.01)
        return done

    async def sweep(scheduler: Scheduler) -> None:
        while not over.is_set():
            await scheduler.tick(Swept(ticket=3))
            await asyncio.sleep(0.05)

    async def watch() -> list[Job]:
        while True:
            await asyncio.sleep(0.1)
            try:
                found = [await schedulers[0].store.job(name) for name in names]
            except StoreError:
                continue
            if all(job is not None and job.state is not JobState.RUNNING for job in found):
                over.set()
                return found

    async with asyncio.timeout(60):
        ended, *_ = await asyncio.gather(watch(), *map(run, agents), *map(sweep, schedulers))
    assert sum(job.counts.final + job.counts.failed for job in ended) == each * jobs
    return names
