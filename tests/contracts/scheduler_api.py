"""What ``SchedulerApi`` and ``GridApi`` promise, whatever stands between the caller and the scheduler.

A ``Link`` holds both, over some transport, to the scheduler of a ``World``.  Every answer and every error must be the
one that the scheduler itself gives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from corpgrid.domain.answers import Cursor
from corpgrid.domain.attempt import AttemptState
from corpgrid.domain.device import DeviceState, PowerStatus
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId
from corpgrid.domain.job import JobState, Limits, TaskState, VerifyMode
from corpgrid.domain.messages import CheckpointRequest, Outcome, OutputFile
from corpgrid.errors import CorpGridError, DigestError, NotFoundError, RefusedError
from corpgrid.ports.api import GridApi, SchedulerApi
from corpgrid.trust.digest import digest
from tests.unit.scheduler.world import Actor, World

Question = Callable[[GridApi, Actor], Awaitable[Any]]
NO_JOB, NO_DEVICE = JobId("job_nothing"), DeviceId("dev_nothing")
ABSENT = Digest(bytes(32))


@dataclass
class Link:
    """A way to a scheduler."""

    world: World
    agents: SchedulerApi
    grid: GridApi

    async def worked(self, tasks: int = 4, **job: Any):
        """An agent, the job of which it brought all results but the last, and the grant of that one."""
        actor = self.world.actor("anna", api=self.agents)
        await actor.register()
        row = await self.grid.submit_job(await self.world.job(tasks, **job))
        grant = (await actor.poll()).grants[0]
        outputs = (OutputFile("out/a.txt", await self.agents.put_blob(b"a file"), 6),)
        most = grant._replace(tasks=grant.tasks[:-1])
        await actor.submit(actor.results(most, outputs=outputs, log=b"printed\n", log_dropped=3))
        return actor, row.id, grant._replace(tasks=grant.tasks[-1:])


QUESTIONS: dict[str, Callable[[GridApi, Actor, JobId], Awaitable[Any]]] = {
    "job": lambda api, _actor, job: api.job(job),
    "jobs": lambda api, _actor, _job: api.jobs(states=[JobState.RUNNING, JobState.DONE], limit=5),
    "tasks": lambda api, _actor, job: api.tasks(job, states=[TaskState.FINAL, TaskState.LEASED], after=0, limit=2),
    "attempts": lambda api, _actor, job: api.attempts(job, 1),
    "results": lambda api, _actor, job: api.results(job, after=Cursor(), limit=2),
    "results after": lambda api, _actor, job: api.results(job, after=Cursor(1, 1)),
    "provisional": lambda api, _actor, job: api.provisional(job, after=Cursor(0, 0)),
    "log": lambda api, _actor, job: api.log(job, 2),
    "explain_job": lambda api, _actor, job: api.explain_job(job),
    "report": lambda api, _actor, job: api.report(job),
    "devices": lambda api, _actor, _job: api.devices(),
    "device": lambda api, actor, _job: api.device(actor.device),
    "explain_device": lambda api, actor, _job: api.explain_device(actor.device),
    "info": lambda api, _actor, _job: api.info(),
    "missing": lambda api, _actor, _job: api.missing_blobs([ABSENT, digest(b"a wheel")]),
    "locate": lambda api, _actor, _job: api.locate_blob(ABSENT),
    "locate to put": lambda api, _actor, _job: api.locate_blob(ABSENT, put_bytes=0),
}
REFUSED: dict[str, Callable[[GridApi], Awaitable[Any]]] = {
    "no such job": lambda api: api.job(NO_JOB),
    "cancel no job": lambda api: api.cancel_job(NO_JOB, reason="because"),
    "no such task": lambda api: api.attempts(NO_JOB, 3),
    "no such device": lambda api: api.set_device(NO_DEVICE, DeviceState.PAUSED, reason="because"),
    "no envelope": lambda api: api.submit_job(b"no envelope"),
    "too many blobs": lambda api: api.submit_job(b"no envelope", blobs=[b"1"] * 65),
    "no limit": lambda api: api.jobs(limit=0),
}


class SchedulerApiContract:
    """The suite; a subclass provides the fixture ``link``."""

    # -- agents

    async def test_an_agents_life(self, link: Link) -> None:
        actor = link.world.actor("anna", api=link.agents)
        registered = await actor.register()
        assert registered.device == actor.device
        assert registered.settings == link.world.rules.settings
        envelope = await link.world.job(4)
        job = await link.grid.submit_job(envelope)
        first = await actor.poll(wanted=2)
        assert first.specs == {job.id: envelope}
        assert [task.index for task in first.grants[0].tasks] == [0, 1]
        assert (await actor.heartbeat()).lost == ()
        second = await actor.poll(wanted=9, batches=[actor.results(first.grants[0])], known=[job.id])
        assert (second.received, second.specs) == ((2,), {})
        assert (await actor.submit(actor.results(second.grants[0]))).received == (2,)
        assert (await link.grid.job(job.id)).state is JobState.DONE
        page = await link.grid.results(job.id, after=Cursor())
        assert [result.payload for result in page.results] == [b"d0", b"d1", b"d2", b"d3"]
        assert page.complete

    async def test_a_device_on_battery_is_told_to_stop(self, link: Link) -> None:
        actor = link.world.actor("anna", api=link.agents)
        await actor.register()
        actor.power = PowerStatus(on_ac_power=False, battery_percent=41.5)
        reply = await actor.heartbeat()
        assert (reply.should_continue, reply.message) == (False, "Battery detected - stop work immediately")
        assert (await link.grid.device(actor.device)).power == actor.power

    async def test_what_went_wrong_is_told_in_full(self, link: Link) -> None:
        actor = link.world.actor("anna", api=link.agents)
        await actor.register()
        row = await link.grid.submit_job(await link.world.job(1, limits=Limits(max_attempts=1)))
        grant = (await actor.poll()).grants[0]
        story = {"outcome": Outcome.FAILED, "payload": b"", "reason": "raised", "detail": "Traceback\nno \u2713"}
        await actor.submit(actor.results(grant, **story, log=b"\xff\x00printed"))
        (result,) = (await link.grid.results(row.id, after=Cursor())).results
        assert (result.state, result.reason, result.detail) == (TaskState.FAILED, "raised", story["detail"])
        (log,) = await link.grid.log(row.id, 0)
        assert (log.log, log.state) == (b"\xff\x00printed", AttemptState.CRASHED)

    async def test_a_checkpoint_is_reported(self, link: Link) -> None:
        actor, job, grant = await link.worked()
        blob = await link.agents.put_blob(b"state")
        request = CheckpointRequest(
            status=actor.status(), job=job, index=3, attempt=0, epoch=grant.epoch, step=7, blob=blob
        )
        assert (await link.agents.checkpoint(request)).should_continue
        assert [row.step for row in await link.world.store.checkpoints(job, 3)] == [7]

    async def test_a_poll_waits_for_work(self, link: Link) -> None:
        actor = link.world.actor("anna", api=link.agents)
        await actor.register()
        polling = asyncio.create_task(actor.poll(wait=20.0))
        await _parked(link.world, 1)
        row = await link.grid.submit_job(await link.world.job(1))
        reply = await asyncio.wait_for(polling, 5.0)
        assert [grant.job for grant in reply.grants] == [row.id]

    async def test_a_poll_that_nobody_waits_for_gets_no_work(self, link: Link) -> None:
        actor = link.world.actor("anna", api=link.agents)
        await actor.register()
        polling = asyncio.create_task(actor.poll(wait=20.0))
        await _parked(link.world, 1)
        polling.cancel()
        await _parked(link.world, 0)
        row = await link.grid.submit_job(await link.world.job(1))
        assert await link.world.store.attempts(row.id, 0) == []

    async def test_an_unknown_session_is_refused(self, link: Link) -> None:
        actor = link.world.actor("anna", api=link.agents)
        await actor.register()
        actor.session = "a guess"
        with pytest.raises(RefusedError) as refusal:
            await actor.heartbeat()
        assert refusal.value.remedy == "Register again."

    # -- people

    @pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS.keys())
    async def test_an_answer_is_the_schedulers_own(self, link: Link, question: Callable[..., Awaitable[Any]]) -> None:
        actor, job, _ = await link.worked(mode=VerifyMode.NONE)
        direct = await question(link.world.scheduler.grid, actor, job)
        assert await question(link.grid, actor, job) == direct

    @pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED.keys())
    async def test_an_error_is_the_schedulers_own(self, link: Link, call: Callable[[GridApi], Awaitable[Any]]) -> None:
        with pytest.raises(CorpGridError) as direct:
            await call(link.world.scheduler.grid)
        with pytest.raises(CorpGridError) as told:
            await call(link.grid)
        assert type(told.value) is type(direct.value)
        assert (str(told.value), told.value.remedy) == (str(direct.value), direct.value.remedy)
        assert vars(told.value) == vars(direct.value)

    async def test_provisional_results_are_shown(self, link: Link) -> None:
        _, job, _ = await link.worked(mode=VerifyMode.AUDIT)
        page = await link.grid.provisional(job, after=Cursor(), limit=2)
        assert [(result.index, result.state) for result in page.results] == [
            (0, TaskState.PROVISIONAL),
            (1, TaskState.PROVISIONAL),
        ]

    async def test_a_reader_waits_for_results(self, link: Link) -> None:
        actor, job, grant = await link.worked()
        page = await link.grid.results(job, after=Cursor())
        reading = asyncio.create_task(link.grid.results(job, after=page.cursor, wait_seconds=20.0))
        await asyncio.sleep(0.02)
        assert not reading.done()
        await actor.submit(actor.results(grant))
        last = await asyncio.wait_for(reading, 5.0)
        assert ([result.index for result in last.results], last.complete) == ([3], True)

    async def test_a_job_is_cancelled(self, link: Link) -> None:
        actor, job, grant = await link.worked()
        row = await link.grid.cancel_job(job, reason="a mistake")
        assert (row.state, row.reason) == (JobState.CANCELLED, "a mistake")
        actor.held = (grant.epoch, Epoch(99))
        assert (await actor.heartbeat()).lost == (grant.epoch, Epoch(99))

    async def test_a_device_is_set(self, link: Link) -> None:
        actor, _, _ = await link.worked()
        row = await link.grid.set_device(actor.device, DeviceState.PAUSED, reason="holidays")
        assert (row.state, row.reason) == (DeviceState.PAUSED, "holidays")
        assert not (await actor.heartbeat()).should_continue

    async def test_small_blobs_come_with_the_job(self, link: Link) -> None:
        envelope = await link.world.job(2)
        wheel = link.world.blobs.contents.pop(digest(b"a wheel"))
        assert (await link.grid.submit_job(envelope, blobs=[wheel])).tasks == 2

    # -- blobs

    @pytest.mark.parametrize("size", [0, 1, 4_000, (3 << 20) + 17])
    async def test_a_blob_comes_back_as_it_went(self, link: Link, size: int, tmp_path: Path) -> None:
        content = bytes(range(256)) * (size // 256) + bytes(size % 256)
        assert await link.agents.put_blob(content) == digest(content)
        assert await link.grid.get_blob(digest(content)) == content
        target = tmp_path / "blob"
        await link.agents.fetch_blob(digest(content), target)
        assert target.read_bytes() == content
        assert names(tmp_path) == ["blob"]

    async def test_a_file_is_stored(self, link: Link, tmp_path: Path) -> None:
        content = bytes(2 << 20) + b"the end"
        (tmp_path / "file").write_bytes(content)
        assert await link.grid.put_blob_file(tmp_path / "file") == digest(content)
        assert link.world.blobs.contents[digest(content)] == content

    async def test_a_blob_that_is_not_there_is_not_found(self, link: Link, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError):
            await link.grid.get_blob(ABSENT)
        with pytest.raises(NotFoundError):
            await link.agents.fetch_blob(ABSENT, tmp_path / "blob")
        assert names(tmp_path) == []


class RemoteContract(SchedulerApiContract):
    """What holds besides where bytes travel."""

    async def test_a_damaged_blob_is_never_given(self, link: Link, tmp_path: Path) -> None:
        name = await link.agents.put_blob(b"content")
        link.world.blobs.contents[name] = b"another"
        with pytest.raises(DigestError):
            await link.agents.get_blob(name)
        with pytest.raises(DigestError):
            await link.agents.fetch_blob(name, tmp_path / "blob")
        assert names(tmp_path) == []

    async def test_a_session_is_told_to_its_agent_alone(self, link: Link) -> None:
        actor, _, _ = await link.worked()
        assert (await link.grid.device(actor.device)).session == b""


def names(folder: Path) -> list[str]:
    """Of what stands in it."""
    return [path.name for path in folder.iterdir()]


async def _parked(world: World, count: int) -> None:
    """Until so many polls wait."""
    async with asyncio.timeout(5.0):
        while len(world.scheduler._tick._parked) != count:  # noqa: ASYNC110 -- nothing tells when a poll is parked
            await asyncio.sleep(0.005)
