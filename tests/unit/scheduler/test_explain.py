from __future__ import annotations

import pytest

from corpgrid.domain.answers import Explanation
from corpgrid.domain.device import DeviceState
from corpgrid.domain.feasibility import Refusal
from corpgrid.domain.job import Requirements, VerifyMode
from corpgrid.scheduler.explain import _REMEDIES
from tests.unit.scheduler.world import World


async def why(world: World, **changes: object) -> Explanation:
    job = await world.scheduler.grid.submit_job(await world.job(**changes))
    return await world.scheduler.grid.explain_job(job.id)


async def test_without_devices_it_says_that_none_has_joined(world: World) -> None:
    told = await why(world)
    assert told.summary == "of 3 tasks: none begun; 3 want a device (no device has joined the grid)"
    assert told.obstacles == ()


async def test_each_obstacle_counts_its_devices_and_says_what_would_help(world: World) -> None:
    for owner in ("anna", "ben", "carl"):
        actor = world.actor(owner)
        await actor.register()
    await world.scheduler.grid.set_device(actor.device, DeviceState.PAUSED, reason="holidays")
    told = await why(world, requirements=Requirements(labels=("lab",)))
    assert [(obstacle.reason, obstacle.devices) for obstacle in told.obstacles] == [("labels", 3)]
    told = await why(world)
    assert [(obstacle.reason, obstacle.devices) for obstacle in told.obstacles] == [("paused", 1)]
    assert "holidays" in told.obstacles[0].detail
    assert "resume" in told.obstacles[0].remedy


async def test_a_device_that_is_silent_is_named(world: World) -> None:
    await world.actor().register()
    world.clock.time += 120.0
    told = await why(world)
    assert [obstacle.reason for obstacle in told.obstacles] == ["not_seen"]


async def test_progress_is_told(world: World) -> None:
    actor = world.actor()
    await actor.register()
    job = await world.scheduler.grid.submit_job(await world.job(10))
    grant = (await actor.poll(wanted=4)).grants[0]
    await actor.submit(actor.results(grant._replace(tasks=grant.tasks[:1])))
    told = await world.scheduler.grid.explain_job(job.id)
    assert told.summary.startswith("of 10 tasks: 1 final, 3 running; 6 want a device (1 device")


async def test_results_that_wait_for_an_audit_say_whose_device_is_missing(world: World) -> None:
    actor = world.actor("anna")
    await actor.register()
    job = await world.scheduler.grid.submit_job(await world.job(mode=VerifyMode.AUDIT))
    await actor.submit(actor.results((await actor.poll()).grants[0]))
    told = await world.scheduler.grid.explain_job(job.id)
    assert "wait to be audited" in told.summary
    assert [obstacle.reason for obstacle in told.obstacles] == ["same_owner"]
    assert "another owner" in told.obstacles[0].remedy


async def test_an_ended_job_says_how_it_ended(world: World) -> None:
    job = await world.scheduler.grid.submit_job(await world.job())
    await world.scheduler.grid.cancel_job(job.id, reason="a mistake")
    told = await world.scheduler.grid.explain_job(job.id)
    assert told.summary == "it has ended (cancelled): 0 of 3 tasks are final, 3 cancelled; a mistake"


async def test_a_device_says_why_it_has_no_work(world: World) -> None:
    actor = world.actor("anna")
    await actor.register()
    grid = world.scheduler.grid
    assert "no task wants a device" in (await grid.explain_device(actor.device)).summary
    await why(world, requirements=Requirements(labels=("lab",)))
    await why(world)
    told = await grid.explain_device(actor.device)
    assert "could work on 1 of 2 jobs" in told.summary
    assert [obstacle.reason for obstacle in told.obstacles] == ["labels"]
    await grid.set_device(actor.device, DeviceState.PAUSED, reason="holidays")
    told = await grid.explain_device(actor.device)
    assert told.summary == "pc of anna is paused: holidays"
    assert [obstacle.reason for obstacle in told.obstacles] == ["paused"]


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (VerifyMode.NONE, "nobody checked them"),
        (VerifyMode.TRUSTED, "operator's own devices"),
        (VerifyMode.AUDIT, "whatever rate a liar chooses"),
        (VerifyMode.QUORUM, "what most of its copies say"),
    ],
)
async def test_a_report_says_how_far_results_can_be_believed(world: World, mode: VerifyMode, words: str) -> None:
    job = await world.scheduler.grid.submit_job(await world.job(mode=mode))
    report = await world.scheduler.grid.report(job.id)
    assert words in report.standing
    assert (report.mode, report.executions_per_task) == (mode, 0.0)
    assert [entry.kind for _, entry in report.story] == ["job.submitted"]


async def test_a_report_counts_executions(world: World) -> None:
    actor = world.actor()
    await actor.register()
    job = await world.scheduler.grid.submit_job(await world.job())
    await actor.submit(actor.results((await actor.poll()).grants[0]))
    report = await world.scheduler.grid.report(job.id)
    assert report.executions_per_task == 1.0
    assert report.standing.startswith("3 of 3 results are final")


def test_remedies_are_for_refusals_that_there_are() -> None:
    assert set(_REMEDIES) <= set(Refusal)
    assert all(remedy.endswith(".") for remedy in _REMEDIES.values())
