from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from corpgrid.domain.device import DeviceState, PowerStatus
from corpgrid.domain.ids import Digest, Epoch
from corpgrid.domain.messages import CheckpointRequest, OutputFile, PollReply
from corpgrid.errors import (
    ConflictError,
    ExpiredError,
    MalformedDataError,
    RefusedError,
    SignatureError,
    UnavailableError,
)
from corpgrid.trust.digest import digest
from corpgrid.trust.keys import PrivateKey
from tests.unit.scheduler.world import World

ABSENT = Digest(bytes(32))


# -- registration


async def test_the_sessions_secret_is_told_and_not_kept(world: World) -> None:
    actor = world.actor()
    reply = await actor.register()
    row = await world.store.device(actor.device)
    assert row is not None
    assert reply.session.encode() not in row.session
    assert row.session == digest(reply.session.encode())
    assert reply.settings == world.rules.settings


async def test_a_device_must_hold_its_key(world: World) -> None:
    actor = world.actor()
    forged = replace(actor.registration(), owner="somebody else")
    with pytest.raises(SignatureError):
        await world.scheduler.agents.register(forged)
    assert await world.store.device(actor.device) is None


async def test_a_registration_of_another_day_is_refused(world: World) -> None:
    request = world.actor().registration()
    world.clock.time += 86_400.0
    with pytest.raises(ExpiredError, match="clock"):
        await world.scheduler.agents.register(request)


@pytest.mark.parametrize("trusted", [True, False])
async def test_the_operator_says_which_devices_are_trusted(world: World, *, trusted: bool) -> None:
    actor = world.actor(trusted=trusted)
    await actor.register()
    assert (await world.scheduler.grid.device(actor.device)).trusted is trusted


async def test_registering_again_ends_the_old_session(world: World) -> None:
    actor = world.actor()
    old = (await actor.register()).session
    await actor.heartbeat()
    await actor.register()
    actor.session = old
    with pytest.raises(RefusedError, match="session"):
        await actor.heartbeat()


@pytest.mark.parametrize("session", ["", "secret-2", "x" * 4_000])
async def test_every_request_needs_the_sessions_secret(world: World, session: str) -> None:
    actor = world.actor()
    await actor.register()
    actor.session = session
    checkpoint = CheckpointRequest(
        status=actor.status(), job="job_a", index=0, attempt=0, epoch=Epoch(1), step=1, blob=ABSENT
    )
    for request in (
        actor.heartbeat(),
        actor.poll(),
        actor.submit(),
        world.scheduler.agents.checkpoint(checkpoint),
    ):
        with pytest.raises(RefusedError):
            await request


async def test_a_device_that_nobody_knows_is_refused(world: World) -> None:
    with pytest.raises(RefusedError):
        await world.actor().heartbeat()


async def test_a_session_outlives_the_scheduler(world: World) -> None:
    actor = world.actor()
    await actor.register()
    second = world.make()
    await second.start()
    actor.api = second.agents
    assert (await actor.heartbeat()).should_continue
    await second.stop()


# -- work


async def test_work_comes_with_the_specification_that_the_agent_does_not_know(world: World) -> None:
    actor = world.actor()
    await actor.register()
    envelope = await world.job(4)
    job = await world.scheduler.grid.submit_job(envelope)
    reply = await actor.poll(wanted=2)
    assert reply.specs == {job.id: envelope}
    assert [task.index for grant in reply.grants for task in grant.tasks] == [0, 1]
    done = actor.results(reply.grants[0])
    again = await actor.poll(wanted=2, batches=[done], known=[job.id])
    assert again.received == (2,)
    assert again.specs == {}
    assert [task.index for grant in again.grants for task in grant.tasks] == [2, 3]


async def test_a_waiting_poll_gets_the_job_that_is_submitted(world: World) -> None:
    actor = world.actor()
    await actor.register()
    polling = asyncio.create_task(actor.poll(wait=20.0))
    await asyncio.sleep(0.01)
    assert not polling.done()
    job = await world.scheduler.grid.submit_job(await world.job())
    assert [grant.job for grant in (await polling).grants] == [job.id]


async def test_a_poll_that_brings_results_is_answered_at_once(world: World) -> None:
    actor = world.actor()
    await actor.register()
    await world.scheduler.grid.submit_job(await world.job(1))
    grant = (await actor.poll()).grants[0]
    reply = await asyncio.wait_for(actor.poll(wait=20.0, batches=[actor.results(grant)]), 1.0)
    assert (reply.received, reply.grants) == ((1,), ())


async def test_a_poll_waits_no_longer_than_it_wants(world: World) -> None:
    actor = world.actor()
    await actor.register()
    assert await asyncio.wait_for(actor.poll(wait=0.02), 1.0) == PollReply()


async def test_on_battery_a_device_is_told_to_stop(world: World) -> None:
    actor = world.actor()
    await actor.register()
    actor.power = PowerStatus(on_ac_power=False, battery_percent=50.0)
    reply = await asyncio.wait_for(actor.poll(wait=20.0), 1.0)
    assert not reply.should_continue
    assert "Battery" in reply.message


async def test_a_paused_device_that_waits_for_leave_hears_of_it_at_once(world: World) -> None:
    actor = world.actor()
    await actor.register()
    await world.scheduler.grid.set_device(actor.device, DeviceState.PAUSED)
    waiting = asyncio.create_task(actor.poll(wanted=0, wait=20.0))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await world.scheduler.grid.set_device(actor.device, DeviceState.ACTIVE)
    assert (await asyncio.wait_for(waiting, 5.0)).should_continue


async def test_a_paused_device_that_waited_long_enough_is_still_paused(world: World) -> None:
    actor = world.actor()
    await actor.register()
    await world.scheduler.grid.set_device(actor.device, DeviceState.PAUSED)
    assert not (await actor.poll(wanted=0, wait=0.1)).should_continue


async def test_a_waiting_poll_hears_that_its_device_was_paused(world: World) -> None:
    actor = world.actor()
    await actor.register()
    polling = asyncio.create_task(actor.poll(wait=20.0))
    await asyncio.sleep(0.01)
    await world.scheduler.grid.set_device(actor.device, DeviceState.PAUSED, reason="holidays")
    reply = await asyncio.wait_for(polling, 1.0)
    assert not reply.should_continue
    assert "holidays" in reply.message


async def test_a_waiting_poll_hears_that_its_device_went_on_battery(world: World) -> None:
    actor = world.actor()
    await actor.register()
    polling = asyncio.create_task(actor.poll(wait=20.0))
    await asyncio.sleep(0.01)
    on_battery = replace(actor, power=PowerStatus(on_ac_power=False))
    assert not (await on_battery.heartbeat()).should_continue
    assert not (await asyncio.wait_for(polling, 1.0)).should_continue


# -- results


async def _granted(world: World, tasks: int = 3):
    actor = world.actor()
    await actor.register()
    await world.scheduler.grid.submit_job(await world.job(tasks))
    return actor, (await actor.poll()).grants[0]


async def test_results_can_come_without_a_poll(world: World) -> None:
    actor, grant = await _granted(world)
    assert (await actor.submit(actor.results(grant))).received == (3,)


async def test_results_that_were_changed_on_the_way_are_refused(world: World) -> None:
    actor, grant = await _granted(world)
    batch = actor.results(grant)
    lie = batch._replace(items=(batch.items[0]._replace(payload=b"dlie"), *batch.items[1:]), content=b"changed")
    with pytest.raises(SignatureError):
        await actor.submit(lie)
    assert world.scheduler.counters.batches_refused == 1
    assert (await actor.submit(batch)).received == (3,)


async def test_results_of_another_device_are_refused(world: World) -> None:
    actor, grant = await _granted(world)
    other = world.actor("ben")
    await other.register()
    with pytest.raises(RefusedError, match="brings results of"):
        await other.submit(actor.results(grant))


async def test_results_signed_by_a_stranger_are_refused(world: World) -> None:
    actor, grant = await _granted(world)
    stranger = replace(actor, key=PrivateKey.generate())
    batch = stranger.results(grant)._replace(device=actor.device)
    with pytest.raises(SignatureError):
        await actor.submit(batch)


async def test_an_attempt_stands_in_a_batch_once(world: World) -> None:
    actor, grant = await _granted(world)
    items = actor.results(grant).items
    batch = actor.results(grant)._replace(items=(*items, items[0]), content=b"other")
    with pytest.raises(MalformedDataError, match="twice"):
        await actor.submit(batch)


@pytest.mark.parametrize(
    "names",
    [{"payload": b"", "blob": ABSENT}, {"outputs": (OutputFile("a.txt", ABSENT, 3),)}],
    ids=["result", "output"],
)
async def test_results_may_name_only_stored_blobs(world: World, names: dict[str, object]) -> None:
    actor, grant = await _granted(world, tasks=1)
    with pytest.raises(ConflictError, match="not stored"):
        await actor.submit(actor.results(grant, **names))
    world.blobs.contents[ABSENT] = b"now it is"
    assert (await actor.submit(actor.results(grant, **names))).received == (1,)


async def test_the_same_results_again_count_no_more_and_do_no_harm(world: World) -> None:
    actor, grant = await _granted(world)
    batch = actor.results(grant)
    assert (await actor.submit(batch)).received == (3,)
    assert (await actor.submit(batch)).received == (0,)


# -- checkpoints


async def test_a_checkpoint_must_be_stored_before_it_is_reported(world: World) -> None:
    actor, grant = await _granted(world)
    blob = digest(b"state")
    request = CheckpointRequest(
        status=actor.status(), job=grant.job, index=0, attempt=0, epoch=grant.epoch, step=1, blob=blob
    )
    with pytest.raises(ConflictError, match="not stored"):
        await world.scheduler.agents.checkpoint(request)
    await world.scheduler.agents.put_blob(b"state")
    assert (await world.scheduler.agents.checkpoint(request)).should_continue
    assert [row.blob for row in await world.store.checkpoints(grant.job, 0)] == [blob]


# -- the end


async def test_draining_lets_polls_come_home_and_takes_results(world: World) -> None:
    actor, grant = await _granted(world)
    other = world.actor("ben")
    await other.register()
    polling = asyncio.create_task(other.poll(wait=20.0))
    await asyncio.sleep(0.01)
    world.scheduler.drain()
    assert await asyncio.wait_for(polling, 1.0) == PollReply()
    assert (await actor.submit(actor.results(grant))).received == (3,)


async def test_a_stopped_scheduler_says_so() -> None:
    world = World()
    async with world.running():
        actor = world.actor()
        await actor.register()
    with pytest.raises(UnavailableError, match="stopping"):
        await actor.heartbeat()
