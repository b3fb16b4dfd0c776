"""What a commit says of a job that it ended is what the store then has, whichever way the job came to its end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpgrid.domain.effects import Effects, View
from corpgrid.domain.events import JobSubmitted
from corpgrid.domain.ids import Digest, JobId
from corpgrid.domain.job import VerifyMode
from corpgrid.scheduler.news import News, news_of
from corpgrid.stores.memory import MemoryStore
from corpgrid.stores.settings import StoreSettings
from tests.properties.grid_world import Actor, Clock, World


class Told(World):
    """A grid that compares what each commit says with what is stored; ``settled`` were ended by the store itself."""

    told: set[JobId]
    settled: set[JobId]

    def submit(self, tasks: int, **policy: Any) -> JobId:
        job = super().submit(tasks, **policy)
        event = self.events.pop()
        assert isinstance(event, JobSubmitted)
        self.events.append(replace(event, spec=replace(event.spec, bundle=Digest(b"b" * 32))))
        return job

    def check(self, view: View, effects: Effects) -> None:
        super().check(view, effects)
        self.news = news_of(view, effects)
        self.settled.update(set(self.news) & set(effects.finalised))

    async def tick(self) -> Effects:
        effects = await super().tick()
        for job, news in self.news.items():
            found = await self.store.ended(job, after=(0, 0), limit=1_000)
            assert found is not None
            assert news == News(*found)
            self.told.add(job)
        return effects


async def play(kinds: list[str], mode: VerifyMode, rate: float | None, seed: int, probation_tasks: int = 10) -> Told:
    clock = Clock()
    store = MemoryStore(StoreSettings(clock=clock, item_payload=lambda *_: b"", batch_blobs=lambda _: ()))
    actors = [Actor(f"{kind}{place}", kind, trusted=not place) for place, kind in enumerate(kinds)]
    made = Told(store, clock, actors, seed)
    made.rules = replace(made.rules, probation_tasks=probation_tasks)
    made.told, made.settled, made.news = set(), set(), {}
    for tasks in (1, 1, 2, 5):
        made.submit(tasks, mode=mode, rate=rate)
        await made.run(4)
    await made.run(10, faults=False)
    return made


@given(
    st.lists(st.sampled_from(["honest", "honest", "liar", "sleeper", "crasher"]), min_size=1, max_size=6),
    st.sampled_from(VerifyMode),
    st.sampled_from([None, 0.0, 1.0]),
    st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_a_commit_says_is_what_is_stored(kinds, mode, rate, seed):
    asyncio.run(play(kinds, mode, rate, seed))


def test_jobs_of_all_kinds_are_told():
    for mode in VerifyMode:
        worlds = [asyncio.run(play(["honest"] * 4, mode, 0.0, seed, probation_tasks=1)) for seed in range(8)]
        assert sum(len(made.told) for made in worlds) > 4, mode
        if mode is VerifyMode.AUDIT:
            assert any(made.settled for made in worlds)
