"""A lease lasts for its time while the grid is there: what no scheduler served does not count, all else does.

The rules over a real store, with any pauses between ticks.  Which scheduler ticks makes no difference to the rules, so
a pause of one of several is no pause as long as another ticks.
"""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpgrid.domain.events import Heartbeat, Swept
from corpgrid.domain.job import VerifyMode
from corpgrid.domain.leases import OUTAGE_LONGEST_SECONDS, outage_seconds
from corpgrid.stores.memory import MemoryStore
from corpgrid.stores.settings import StoreSettings
from tests.properties.grid_world import Actor, Clock, World

TTL = 20.0
PAUSES = st.sampled_from([1.0, 1.0, 2.0, 4.0, 5.0, 5.5, 19.0, 60.0, 3_600.0, OUTAGE_LONGEST_SECONDS])
TICKS = st.sampled_from(["sweep", "sweep", "first", "second", "another's"])


async def holders() -> tuple[World, list[Actor]]:
    """A grid of three, of whom two hold a lease each that began now."""
    clock = Clock()
    store = MemoryStore(StoreSettings(clock=clock, item_payload=lambda *_: b"", batch_blobs=lambda _: ()))
    actors = [Actor("first"), Actor("second"), Actor("another's")]
    made = World(store, clock, actors, 1)
    for actor in actors:
        made.register(actor)
    made.submit(100, mode=VerifyMode.NONE)
    await made.tick()
    for actor in actors[:2]:
        made.rng = Random(2)  # a generator under which replies arrive
        made.poll(actor)
        await made.tick()
        assert actor.held
    return made, actors


def holds(made: World, actor: Actor) -> bool:
    return any(lease.device == actor.id for lease in made.invariants.leases.values())


async def play(story: list[tuple[float, str]]) -> None:
    made, actors = await holders()
    served, renewed = 0.0, dict.fromkeys(["first", "second"], 0.0)
    for pause, what in story:
        made.clock.at += pause
        served += pause if pause <= made.rules.outage_seconds else 0.0
        if what == "sweep":
            made.events.append(Swept())
        else:
            actor = next(actor for actor in actors if actor.name == what)
            made.events.append(Heartbeat(ticket=made.ticket + 1, status=actor.status()))
        await made.tick()
        for actor in actors[:2]:
            if what == actor.name and holds(made, actor):
                renewed[what] = served
            alive = served - renewed[actor.name] < TTL
            assert holds(made, actor) or not alive, f"{actor.name} lost its lease early in {story}"
            if what == "sweep":
                assert alive == holds(made, actor), f"{actor.name} keeps its lease for too long in {story}"


@given(st.lists(st.tuples(PAUSES, TICKS), max_size=40))
@settings(max_examples=150, deadline=None)
def test_a_lease_lasts_for_the_time_that_the_grid_was_there(story):
    asyncio.run(play(story))


def test_a_grid_that_ticks_forgives_nothing():
    """One scheduler sleeps for an hour, another ticks each second: no lease lasts a second longer for that."""
    asyncio.run(play([(1.0, "another's")] * 3_600 + [(1.0, "sweep")]))


@pytest.mark.parametrize("what", ["sweep", "second", "another's"])
def test_an_outage_is_seen_whatever_the_first_tick_is_about(what):
    asyncio.run(play([(3_600.0, what), (1.0, "sweep"), (1.0, "sweep")]))


@given(st.floats(0, 1e10), st.floats(0, 1e10), st.floats(0, 100))
def test_an_outage_is_the_gap_or_nothing(now, last_tick, allowed):
    seconds = outage_seconds(now=now, last_tick=last_tick, allowed_seconds=allowed)
    assert 0.0 <= seconds <= min(max(now - last_tick, 0.0), OUTAGE_LONGEST_SECONDS)
    assert (seconds > 0.0) == (last_tick > 0.0 and now - last_tick > allowed)
