"""The whole rules over a real store: safety after each tick, liveness once the faults stop."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpgrid.domain.job import TaskState, VerifyMode
from corpgrid.ports.store import Store
from corpgrid.stores.memory import MemoryStore
from corpgrid.stores.settings import StoreSettings
from tests.properties.grid_world import Actor, Clock, World


async def world(actors: list[Actor], seed: int, store: Store | None = None) -> World:
    clock = Clock()
    store = store or MemoryStore(StoreSettings(clock=clock, item_payload=lambda *_: b"", batch_blobs=lambda _: ()))
    return World(store, clock, actors, seed)


def crew(*kinds: str, trusted: int = 1) -> list[Actor]:
    actors = [Actor(f"{kind}{place}", kind) for place, kind in enumerate(kinds)]
    return actors + [Actor(f"trusted{place}", trusted=True) for place in range(trusted)]


async def check_credit(made: World) -> None:
    """What was taken of each device, and nothing else, counts for it, and for the job."""
    taken: Counter[str] = Counter()
    for job in made.jobs:
        of_job: Counter[str] = Counter()
        for task in await made.store.tasks(job, limit=100):
            attempts = await made.store.attempts(job, task.index)
            of_job.update(attempt.device for attempt in attempts if attempt.digest)
        row = await made.store.job(job)
        assert row is not None
        assert row.executions == of_job.total()
        taken += of_job
    assert {row.id: row.completed for row in await made.store.devices() if row.completed} == dict(taken)


async def play(kinds: list[str], mode: VerifyMode, seed: int) -> None:
    made = await world(crew(*["honest"] * 6, *kinds), seed)
    jobs = [made.submit(30, mode=mode, rate=1.0, max_total=100, max_error=50)]
    await made.run(25)
    jobs.append(made.submit(5, mode=VerifyMode.NONE))
    await made.run(10)
    await made.settle()
    for job in jobs:
        await made.check_replicas(job)
        row = await made.store.job(job)
        assert sum(row.counts) == row.tasks
        assert row.unsettled == 0
        tasks = await made.store.tasks(job, limit=100)
        assert sum(task.state is TaskState.FINAL for task in tasks) == row.counts.final
    await check_credit(made)
    if mode is not VerifyMode.TIERS:
        assert await made.wrong_accepted(jobs[0]) == 0
    honest = {actor.id for actor in made.actors.values() if actor.kind == "honest"}
    assert not honest & made.quarantined


@given(
    st.lists(st.sampled_from(["honest", "liar", "sleeper", "crasher"]), min_size=2, max_size=6),
    st.sampled_from([VerifyMode.AUDIT, VerifyMode.QUORUM, VerifyMode.TIERS]),
    st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_grid_is_safe_and_comes_to_an_end(kinds, mode, seed):
    asyncio.run(play(kinds, mode, seed))


def test_a_dispute_that_nobody_can_settle_ends_after_a_while():
    async def scenario() -> None:
        made = await world([Actor("one", "noise"), Actor("two", "noise")], 3)
        jobs = [made.submit(4, mode=mode, rate=1.0) for mode in (VerifyMode.AUDIT, VerifyMode.QUORUM)]
        await made.run(30, faults=False)
        for job in jobs:
            assert (await made.store.job(job)).unsettled
        made.clock.at += made.rules.dispute_seconds
        await made.settle()
        for job in jobs:
            tasks = await made.store.tasks(job)
            assert {task.reason for task in tasks if task.state is TaskState.FAILED} == {"no_agreement"}
        assert not made.quarantined

    asyncio.run(scenario())
