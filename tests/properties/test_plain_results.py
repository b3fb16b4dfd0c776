"""Results taken as plain leave every row as it is when each of them is judged by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpgrid.domain.effects import Effects
from corpgrid.domain.job import VerifyMode
from corpgrid.domain.plain_results import PlainResults
from corpgrid.stores.memory import MemoryStore
from corpgrid.stores.settings import StoreSettings
from tests.properties.grid_world import Actor, Clock, World

UNORDERED = ("tasks", "attempts", "new_attempts")


class Recorded(World):
    """A grid that keeps the effects of all its ticks."""

    ticks: list[dict[str, Any]]

    async def tick(self) -> Effects:
        effects = await super().tick()
        rows = {name: getattr(effects, name) for name in effects.__dataclass_fields__}
        self.ticks.append({name: sorted(found) if name in UNORDERED else found for name, found in rows.items()})
        return effects


async def play(kinds: list[str], trusted: int, mode: VerifyMode, rate: float | None, seed: int) -> list[dict[str, Any]]:
    clock = Clock()
    store = MemoryStore(StoreSettings(clock=clock, item_payload=lambda *_: b"", batch_blobs=lambda _: ()))
    actors = [Actor(f"{kind}{place}", kind, trusted=place < trusted) for place, kind in enumerate(kinds)]
    made = Recorded(store, clock, actors, seed)
    made.ticks = []
    for job_mode in (mode, VerifyMode.NONE):
        made.submit(60, mode=job_mode, rate=rate)
    await made.run(15)
    await made.run(10, faults=False)
    return made.ticks


@given(
    st.lists(st.sampled_from(["honest", "honest", "liar", "sleeper", "crasher"]), min_size=1, max_size=6),
    st.integers(0, 2),
    st.sampled_from(VerifyMode),
    st.sampled_from([None, 0.0, 0.3, 1.0]),
    st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_plain_results_leave_what_judging_each_leaves(kinds, trusted, mode, rate, seed):
    quick = asyncio.run(play(kinds, trusted, mode, rate, seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlainResults, "of", lambda *_: None)
        assert quick == asyncio.run(play(kinds, trusted, mode, rate, seed))


def test_some_results_are_plain_and_some_are_not():
    taken = Counter[bool]()
    take = PlainResults.take
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlainResults, "take", lambda *given: taken.update([found := take(*given)]) or found)
        asyncio.run(play(["honest"] * 4, 0, VerifyMode.AUDIT, 0.1, 7))
    assert min(taken[True], taken[False]) > 20
