from __future__ import annotations

import asyncio

import pytest

from corpgrid.domain.answers import Cursor, ResultsPage, TaskResult
from corpgrid.domain.ids import JobId
from corpgrid.domain.job import JobState, Limits, TaskState, VerifyMode
from corpgrid.domain.messages import Outcome, OutputFile
from corpgrid.errors import CorpGridError, DigestError, SignatureError
from corpgrid.trust.digest import digest
from tests.unit.scheduler.world import World


async def worked(world: World, tasks: int = 3, *, mode: VerifyMode = VerifyMode.NONE, **changes: object):
    """A job, an actor, and what it was granted of it."""
    actor = world.actor()
    await actor.register()
    job = await world.scheduler.grid.submit_job(await world.job(tasks, mode=mode, **changes))
    return job.id, actor, (await actor.poll()).grants[0]


async def pages(world: World, job: JobId, **asked: int) -> list[ResultsPage]:
    """All pages, one after the other."""
    found = [await world.scheduler.grid.results(job, after=Cursor(), **asked)]
    while found[-1].results:
        found.append(await world.scheduler.grid.results(job, after=found[-1].cursor, **asked))
    return found


def results_of(found: list[ResultsPage]) -> list[TaskResult]:
    return [result for page in found for result in page.results]


async def test_results_are_what_the_device_signed(world: World) -> None:
    job, actor, grant = await worked(world)
    outputs = (OutputFile("a.txt", await world.blobs.put(b"a"), 1),)
    await actor.submit(actor.results(grant, outputs=outputs))
    page = await world.scheduler.grid.results(job, after=Cursor())
    assert page.results[2] == TaskResult(
        2, TaskState.FINAL, actor.device, 0, payload=b"d2", seconds=0.001, outputs=outputs
    )
    assert (page.complete, page.job.state) == (True, JobState.DONE)


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
async def test_pages_together_are_all_results_and_each_once(world: World, limit: int) -> None:
    job, actor, grant = await worked(world, 20)
    half = grant._replace(tasks=grant.tasks[10:])
    await actor.submit(actor.results(half))
    await actor.submit(actor.results(grant._replace(tasks=grant.tasks[:10])))
    found = await pages(world, job, limit=limit)
    assert sorted(result.index for result in results_of(found)) == list(range(20))
    assert {len(page.results) for page in found[:-2]} <= {limit}
    assert [page.complete for page in found] == [len(page.results) < limit for page in found]


async def test_a_page_ends_when_it_is_large_enough() -> None:
    async with World(page_bytes=10).running() as world:
        job, actor, grant = await worked(world, 20)
        await actor.submit(actor.results(grant, payload=b"d123"))
        found = await pages(world, job)
        assert [len(page.results) for page in found] == [3, 3, 3, 3, 3, 3, 2, 0]
        assert [page.complete for page in found] == [False] * 6 + [True, True]


async def test_a_reader_waits_for_the_next_result(world: World) -> None:
    job, actor, grant = await worked(world, 2)
    one, other = (grant._replace(tasks=(task,)) for task in grant.tasks)
    reading = asyncio.create_task(world.scheduler.grid.results(job, after=Cursor(), wait_seconds=20.0))
    await asyncio.sleep(0.01)
    assert not reading.done()
    await actor.submit(actor.results(one))
    page = await asyncio.wait_for(reading, 1.0)
    assert [result.index for result in page.results] == [0]
    assert not page.complete
    reading = asyncio.create_task(world.scheduler.grid.results(job, after=page.cursor, wait_seconds=20.0))
    await asyncio.sleep(0.01)
    await actor.submit(actor.results(other))
    page = await asyncio.wait_for(reading, 1.0)
    assert [result.index for result in page.results] == [1]
    assert page.complete


async def test_a_reader_of_an_ended_job_never_waits(world: World) -> None:
    job, _, _ = await worked(world)
    await world.scheduler.grid.cancel_job(job)
    page = await world.scheduler.grid.results(job, after=Cursor(), wait_seconds=20.0)
    assert [result.state for result in page.results] == [TaskState.CANCELLED] * 3
    asking = world.scheduler.grid.results(job, after=page.cursor, wait_seconds=20.0)
    assert (await asyncio.wait_for(asking, 1.0)).complete


async def test_a_reader_hears_that_the_job_was_cancelled(world: World) -> None:
    job, _, _ = await worked(world)
    reading = asyncio.create_task(world.scheduler.grid.results(job, after=Cursor(), wait_seconds=20.0))
    await asyncio.sleep(0.01)
    await world.scheduler.grid.cancel_job(job)
    assert (await asyncio.wait_for(reading, 1.0)).job.state is JobState.CANCELLED


async def test_a_reader_waits_no_longer_than_it_wants(world: World) -> None:
    job, _, _ = await worked(world)
    page = await asyncio.wait_for(world.scheduler.grid.results(job, after=Cursor(3, 4), wait_seconds=0.02), 1.0)
    assert (page.results, page.cursor, page.complete) == ((), Cursor(3, 4), False)


async def test_draining_lets_readers_come_home(world: World) -> None:
    job, _, _ = await worked(world)
    reading = asyncio.create_task(world.scheduler.grid.results(job, after=Cursor(), wait_seconds=20.0))
    await asyncio.sleep(0.01)
    world.scheduler.drain()
    assert (await asyncio.wait_for(reading, 1.0)).results == ()


async def test_a_failed_task_tells_its_story(world: World) -> None:
    job, actor, grant = await worked(world, 1, limits=Limits(max_attempts=1))
    story = {"outcome": Outcome.FAILED, "payload": b"", "reason": "raised", "detail": "Traceback\nValueError: no"}
    await actor.submit(actor.results(grant, **story, log=b"working\n", log_dropped=7))
    (result,) = (await world.scheduler.grid.results(job, after=Cursor())).results
    assert (result.state, result.reason, result.detail) == (TaskState.FAILED, "raised", story["detail"])
    assert (result.device, result.attempt) == (actor.device, 0)
    (log,) = await world.scheduler.grid.log(job, 0)
    assert (log.log, log.log_dropped, log.reason, log.detail) == (b"working\n", 7, "raised", story["detail"])


async def test_the_log_of_a_task_nobody_finished_is_empty(world: World) -> None:
    job, _, _ = await worked(world, 1)
    (log,) = await world.scheduler.grid.log(job, 0)
    assert log.log == b""


async def test_provisional_results_can_be_looked_at(world: World) -> None:
    job, actor, grant = await worked(world, 5, mode=VerifyMode.AUDIT)
    await actor.submit(actor.results(grant))
    ended = await world.scheduler.grid.results(job, after=Cursor())
    assert (ended.results, ended.complete) == ((), False)
    page = await world.scheduler.grid.provisional(job, after=Cursor(), limit=2)
    assert [(result.index, result.state) for result in page.results] == [
        (0, TaskState.PROVISIONAL),
        (1, TaskState.PROVISIONAL),
    ]
    rest = await world.scheduler.grid.provisional(job, after=page.cursor)
    assert [result.payload for result in rest.results] == [b"d2", b"d3", b"d4"]
    again = await world.scheduler.grid.provisional(job, after=rest.cursor)
    assert (again.results, again.cursor) == ((), rest.cursor)


# -- what is stored is checked before it is shown


class Tampering:
    """A store whose batches were changed behind its back."""

    def __init__(self, world: World, change) -> None:
        self._inner = world.store
        self._change = change

    def __getattr__(self, name: str):
        return getattr(self._inner, name)

    async def batches(self, numbers):
        return self._change(dict(await self._inner.batches(numbers)))


def _flip(found):
    return {number: content.replace(b"d2", b"d9") for number, content in found.items()}


def _lose(_found):
    return {}


@pytest.mark.parametrize(("change", "error"), [(_flip, SignatureError), (_lose, DigestError)])
async def test_damaged_evidence_is_never_shown(world: World, change, error: type[CorpGridError]) -> None:
    job, actor, grant = await worked(world)
    await actor.submit(actor.results(grant))
    world.store = Tampering(world, change)
    second = world.make()
    await second.start()
    with pytest.raises(error):
        await second.grid.results(job, after=Cursor())
    await second.stop()


async def test_evidence_of_another_task_is_never_shown(world: World) -> None:
    job, actor, grant = await worked(world, 4)
    first, second = (grant._replace(tasks=grant.tasks[start : start + 2]) for start in (0, 2))
    await actor.submit(actor.results(first))
    await actor.submit(actor.results(second))

    def swap(found):
        return dict(zip(found, reversed(found.values()), strict=True))

    world.store = Tampering(world, swap)
    other = world.make()
    await other.start()
    with pytest.raises(DigestError, match="is not in batch"):
        await other.grid.results(job, after=Cursor())
    await other.stop()


async def test_a_batch_is_verified_once_while_it_is_at_hand(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job, actor, grant = await worked(world)
    await actor.submit(actor.results(grant))

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("corpgrid.scheduler.evidence.verify_batch", never)
    assert len((await world.scheduler.grid.results(job, after=Cursor())).results) == 3


async def test_a_batch_that_is_no_more_at_hand_is_verified_again() -> None:
    async with World(evidence_bytes=1).running() as world:
        job, actor, grant = await worked(world)
        await actor.submit(actor.results(grant))
        page = await world.scheduler.grid.results(job, after=Cursor())
        assert [result.payload for result in page.results] == [b"d0", b"d1", b"d2"]


async def test_large_results_are_verified_too(world: World) -> None:
    job, actor, grant = await worked(world, 8)
    payload = b"d" + bytes(64 << 10)
    await actor.submit(actor.results(grant, payload=payload))
    page = await world.scheduler.grid.results(job, after=Cursor())
    assert {digest(result.payload) for result in page.results} == {digest(payload)}


async def test_results_of_many_small_batches_are_cut_run_by_run(world: World) -> None:
    job, actor, grant = await worked(world, 40)
    for task in grant.tasks:
        await actor.submit(actor.results(grant._replace(tasks=(task,))))
    page = await world.scheduler.grid.results(job, after=Cursor())
    assert [result.payload for result in page.results] == [b"d%d" % n for n in range(40)]
