from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from corpgrid.domain.answers import Cursor
from corpgrid.domain.device import DeviceState
from corpgrid.domain.ids import DeviceId, Digest, JobId
from corpgrid.domain.job import Arguments, JobState, TaskState
from corpgrid.errors import (
    ConflictError,
    DigestError,
    ExpiredError,
    LimitError,
    NotFoundError,
    SignatureError,
    UntrustedKeyError,
    UsageError,
)
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import verify_job
from corpgrid.trust.keys import Keyring, PrivateKey
from tests.unit.scheduler.world import World

NO_JOB, NO_DEVICE = JobId("job_nothing"), DeviceId("dev_nothing")


# -- admission


async def test_submitting_the_same_envelope_again_is_the_same_job(world: World) -> None:
    envelope = await world.job()
    first = await world.scheduler.grid.submit_job(envelope)
    assert await world.scheduler.grid.submit_job(envelope) == first
    assert await world.scheduler.grid.jobs() == [first]
    assert await world.store.envelope(first.id) == envelope


async def asked_for(world: World, monkeypatch: pytest.MonkeyPatch, *, jobs: int) -> list[int]:
    """How many blobs each of some jobs of the same code made the blob store look for."""
    asked: list[Digest] = []
    missing = world.blobs.missing

    async def counted(digests: Sequence[Digest]) -> list[Digest]:
        asked.extend(digests)
        return await missing(digests)

    monkeypatch.setattr(world.blobs, "missing", counted)
    counts = []
    for number in range(jobs):
        envelope = await world.job(3 + number)
        asked.clear()
        await world.scheduler.grid.submit_job(envelope)
        counts.append(len(asked))
    return counts


async def test_code_that_was_found_a_moment_ago_is_not_looked_for_again(world: World, monkeypatch) -> None:
    first, second, third = await asked_for(world, monkeypatch, jobs=3)
    assert first > second == third > 0


async def test_without_grace_everything_is_looked_for_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(collect_grace_seconds=0.0).running() as world:
        first, second, third = await asked_for(world, monkeypatch, jobs=3)
        assert first == second == third > 0


async def test_a_job_of_a_stranger_is_refused(world: World) -> None:
    envelope = await world.job()
    world.keyring = Keyring()
    with pytest.raises(UntrustedKeyError):
        await world.scheduler.grid.submit_job(envelope, blobs=[b"and nothing is stored for a stranger"])
    assert digest(b"and nothing is stored for a stranger") not in world.blobs.contents


async def test_a_job_that_expired_is_refused(world: World) -> None:
    envelope = await world.job()
    world.clock.time += 7_200.0
    with pytest.raises(ExpiredError):
        await world.scheduler.grid.submit_job(envelope)


async def test_what_is_no_envelope_is_refused(world: World) -> None:
    with pytest.raises(SignatureError):
        await world.scheduler.grid.submit_job(b"no envelope")


@pytest.mark.parametrize("which", ["bundle", "page list", "page", "input", "wheel"])
async def test_every_blob_of_a_job_must_be_stored(world: World, which: str) -> None:
    envelope = await world.job(250, inputs={"data.bin": await world.blobs.put(b"input")})
    spec = verify_job(envelope, keyring=world.keyring, now=world.clock.now()).spec
    page_list = world.blobs.contents[spec.arguments.pages]
    gone = {
        "bundle": spec.bundle,
        "page list": spec.arguments.pages,
        "page": Digest(page_list[64:96]),
        "input": digest(b"input"),
        "wheel": digest(b"a wheel"),
    }[which]
    content = world.blobs.contents.pop(gone)
    with pytest.raises(ConflictError, match="not stored") as refusal:
        await world.scheduler.grid.submit_job(envelope)
    assert gone.hex() in str(refusal.value)
    assert (await world.scheduler.grid.submit_job(envelope, blobs=[content])).tasks == 250


async def test_the_page_list_must_have_the_length_that_the_tasks_need(world: World) -> None:
    page_list = await world.blobs.put(digest(b"one page"))
    envelope = await world.job(arguments=Arguments(tasks=300, page_tasks=100, pages=page_list))
    with pytest.raises(DigestError, match="page list"):
        await world.scheduler.grid.submit_job(envelope)


async def test_a_bundle_of_a_stranger_is_refused(world: World) -> None:
    signer, world.person = world.person, PrivateKey.generate()
    foreign = await world.job()
    spec = verify_job(foreign, keyring=Keyring([world.person.public]), now=world.clock.now()).spec
    world.person = signer
    envelope = await world.job(bundle=spec.bundle)
    with pytest.raises(UntrustedKeyError):
        await world.scheduler.grid.submit_job(envelope)


async def test_a_bundle_whose_signer_is_trusted_no_more_is_refused(world: World) -> None:
    submitter, author = world.person, PrivateKey.generate()
    world.keyring = Keyring([submitter.public, author.public])
    world.person = author
    bundle = verify_job(await world.job(), keyring=world.keyring, now=world.clock.now()).spec.bundle
    world.person = submitter
    await world.scheduler.grid.submit_job(await world.job(bundle=bundle))
    world.keyring = Keyring([submitter.public])
    with pytest.raises(UntrustedKeyError):
        await world.scheduler.grid.submit_job(await world.job(bundle=bundle))


async def test_only_so_many_blobs_come_with_a_job() -> None:
    async with World(submit_blobs=2).running() as world:
        with pytest.raises(LimitError, match="submit_blobs"):
            await world.scheduler.grid.submit_job(await world.job(), blobs=[b"1", b"2", b"3"])


# -- jobs, tasks, attempts


async def test_cancelling_ends_a_job_and_doing_it_again_changes_nothing(world: World) -> None:
    job = await world.scheduler.grid.submit_job(await world.job())
    cancelled = await world.scheduler.grid.cancel_job(job.id, reason="a mistake")
    assert (cancelled.state, cancelled.reason) == (JobState.CANCELLED, "a mistake")
    assert await world.scheduler.grid.cancel_job(job.id) == cancelled
    tasks = await world.scheduler.grid.tasks(job.id)
    assert {task.state for task in tasks} == {TaskState.CANCELLED}


async def test_lists_are_cut_and_continued(world: World) -> None:
    job = await world.scheduler.grid.submit_job(await world.job(250))
    tasks = await world.scheduler.grid.tasks(job.id, after=100, limit=5)
    assert [task.index for task in tasks] == [101, 102, 103, 104, 105]
    assert await world.scheduler.grid.tasks(job.id, states=[TaskState.FINAL]) == []
    assert await world.scheduler.grid.jobs(states=[JobState.DONE]) == []


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_list_of_nothing_cannot_be_asked_for(world: World, limit: int) -> None:
    with pytest.raises(UsageError, match="limit"):
        await world.scheduler.grid.jobs(limit=limit)


async def test_what_there_is_not_is_not_found(world: World) -> None:
    grid = world.scheduler.grid
    job = await grid.submit_job(await world.job(3))
    for asking in (
        grid.job(NO_JOB),
        grid.cancel_job(NO_JOB),
        grid.tasks(NO_JOB),
        grid.attempts(NO_JOB, 0),
        grid.attempts(job.id, 3),
        grid.results(NO_JOB, after=Cursor()),
        grid.provisional(NO_JOB, after=Cursor()),
        grid.log(NO_JOB, 0),
        grid.log(job.id, 3),
        grid.explain_job(NO_JOB),
        grid.report(NO_JOB),
        grid.device(NO_DEVICE),
        grid.set_device(NO_DEVICE, DeviceState.PAUSED),
        grid.explain_device(NO_DEVICE),
    ):
        with pytest.raises(NotFoundError):
            await asking


async def test_attempts_are_listed(world: World) -> None:
    actor = world.actor()
    await actor.register()
    job = await world.scheduler.grid.submit_job(await world.job(2))
    assert await world.scheduler.grid.attempts(job.id, 1) == []
    await actor.poll()
    (attempt,) = await world.scheduler.grid.attempts(job.id, 1)
    assert attempt.device == actor.device


# -- devices


async def test_people_see_no_trace_of_a_sessions_secret(world: World) -> None:
    actor = world.actor()
    await actor.register()
    grid = world.scheduler.grid
    shown = [
        *await grid.devices(),
        await grid.device(actor.device),
        await grid.set_device(actor.device, DeviceState.DRAINING),
    ]
    assert [row.session for row in shown] == [b""] * 3
    assert (await actor.heartbeat()).should_continue


async def test_a_state_that_the_chart_forbids_is_a_conflict(world: World) -> None:
    actor = world.actor()
    await actor.register()
    await world.scheduler.grid.set_device(actor.device, DeviceState.REVOKED, reason="sold")
    with pytest.raises(ConflictError):
        await world.scheduler.grid.set_device(actor.device, DeviceState.ACTIVE)


async def test_info_names_limits_and_counters(world: World) -> None:
    await world.scheduler.grid.submit_job(await world.job())
    info = await world.scheduler.grid.info()
    assert info.limits["page_results"] == world.limits.page_results
    assert info.limits["inline_bytes"] == world.rules.settings.inline_bytes
    assert info.counters["ticks"] >= 1
    assert (info.now, info.started_at) == (world.clock.time, world.clock.time)


# -- blobs


async def test_blobs_go_straight_to_their_store(world: World, tmp_path) -> None:
    grid = world.scheduler.grid
    name = await grid.put_blob(b"content")
    (tmp_path / "a").write_bytes(b"from a file")
    other = await grid.put_blob_file(tmp_path / "a")
    await grid.fetch_blob(other, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"from a file"
    assert await grid.get_blob(name) == b"content"
    assert await grid.missing_blobs([name, Digest(bytes(32)), other]) == [Digest(bytes(32))]


async def test_many_submit_at_once_and_nobody_is_lost(world: World) -> None:
    envelopes = [await world.job(2) for _ in range(30)]
    jobs = await asyncio.gather(*map(world.scheduler.grid.submit_job, [*envelopes, *envelopes]))
    assert len({job.id for job in jobs}) == 30
    assert jobs[:30] == [replace(job) for job in jobs[30:]]
    assert len(await world.scheduler.grid.jobs()) == 30
