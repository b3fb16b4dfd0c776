"""Bugs that seeds found, each under a name: the history that showed it, or the same in a nutshell."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from corpgrid.domain.device import DeviceState
from corpgrid.domain.events import DeviceSet, Heartbeat, Swept
from corpgrid.domain.job import Limits, VerifyMode
from corpgrid.sim.report import simulate
from corpgrid.sim.scenarios import scenario
from corpgrid.sim.world import World as SimWorld
from corpgrid.stores.memory import MemoryStore
from corpgrid.stores.settings import StoreSettings
from tests.properties.grid_world import Actor, Clock, World


def small_world(*actors: Actor) -> World:
    clock = Clock()
    store = MemoryStore(StoreSettings(clock=clock, item_payload=lambda *_: b"", batch_blobs=lambda _: ()))
    return World(store, clock, list(actors), 1)


async def granted(made: World, actor: Actor) -> list[int]:
    """Poll until work comes; the epochs that the device then holds."""
    made.rng = Random(2)  # a generator under which replies arrive
    while not actor.held:
        made.poll(actor)
        await made.tick()
    return list(actor.held)


async def test_an_outage_does_not_bring_back_a_lease_that_ends_in_the_same_tick():
    """Everything, seed 3: results came in the tick that forgave an outage, and their lease stood up again for ever."""
    actor = Actor("one")
    made = small_world(actor)
    made.register(actor)
    made.submit(1, mode=VerifyMode.NONE)
    await made.tick()
    await granted(made, actor)
    while actor.held:
        made.poll(actor)  # brings the result
    made.clock.at += 30.0
    made.events.append(Swept())
    await made.tick()
    assert not made.invariants.leases


async def test_an_outage_does_not_prolong_a_lease_that_never_arrived():
    """Everything, seed 18: a lease that a poll had given up was extended, and its device was blamed for its loss."""
    actor = Actor("one")
    made = small_world(actor)
    made.register(actor)
    made.submit(1, mode=VerifyMode.NONE)
    await made.tick()
    (epoch,) = await granted(made, actor)
    actor.held.clear()  # the reply got lost
    made.rng = Random(2)
    made.poll(actor)
    made.clock.at += 30.0
    made.events.append(Swept())
    await made.tick()
    lease = made.invariants.leases.get(epoch)
    assert lease is None or lease.until == 0.0


def test_a_storm_leaves_no_lease_behind():
    """The history in which the mutant of the first of these is found, without the mutant."""
    report = simulate(scenario("storm", hours=1.0, devices=8, tasks=150), 1)
    assert report.violations == (), "\n".join([*report.story, *report.violations])


async def test_work_that_is_run_again_leaves_no_lease_behind():
    """Everything, seed 9: a trusted device's arbiter copy was not needed when the liar's result was rejected."""
    liar, trusted = Actor("liar"), Actor("trusted", trusted=True)
    made = small_world(liar, trusted)
    for actor in (liar, trusted):
        made.register(actor)
    made.submit(1, mode=VerifyMode.AUDIT, rate=1.0)
    await made.tick()
    await granted(made, liar)
    liar.kind = "noise"
    while liar.held:
        made.poll(liar)
    await made.tick()
    await granted(made, trusted)
    while trusted.held:
        made.poll(trusted)
    await made.tick()
    await granted(made, trusted)  # the arbiter's copy
    for _ in range(30):  # the liar is gone, and with it everybody who could audit
        made.clock.at += 5.0
        made.events.append(Heartbeat(ticket=made.ticket + 1, status=trusted.status()))
        await made.tick()
    made.events.append(DeviceSet(ticket=10_000, device=liar.id, state=DeviceState.REVOKED, reason="caught"))
    made.clock.at += 2.0
    await made.tick()
    made.events.append(Swept())
    await made.tick()
    assert not made.invariants.leases


def test_a_forger_holds_up_no_task_for_ever():
    """A task that failed on all other devices was given to the one whose results never count, again and again."""
    base = scenario("forger", hours=0.05, devices=4, tasks=4)
    faulty = replace(base.jobs[0], faulty=1.0, limits=Limits(max_attempts=4))
    report = simulate(replace(base, jobs=(faulty,)), 1)
    assert report.violations == ()


def test_devices_that_were_deaf_for_long_are_asked_again_when_nobody_else_is_left():
    """Partition, seed 18: all whom a result's owner left to audit it had been deaf thrice, and were asked no more.

    The one device that had not been was of that owner, and so was counted as somebody who could still take it.
    """
    world = SimWorld(scenario("calm", hours=0.3, devices=4, tasks=8, schedulers=2), 1)
    deaf = {machine.model.name for machine in world.machines if machine.model.owner != "owner-0"}
    assert len(world.machines) - len(deaf) == 2
    world.loop.call_later(11.0, world.network.deaf.update, deaf)
    world.loop.call_later(311.0, world.network.deaf.clear)
    world.run()
    assert world.violations == []
    assert world.people[0].outcome.accepted == 8
