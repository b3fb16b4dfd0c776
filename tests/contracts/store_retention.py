"""What a store promises of old jobs: what is thrown away, and what stays."""

from __future__ import annotations

import asyncio

import pytest

from corpgrid.domain.attempt import AttemptState
from corpgrid.domain.effects import AuditEntry, Checkpoint, Effects
from corpgrid.domain.ids import Digest, JobId
from corpgrid.domain.job import ComparatorKind, JobState, TaskState
from corpgrid.ports.store import COLLECTED, Store
from tests.contracts.store_rows import (
    START,
    FakeClock,
    batch,
    bring_back,
    device,
    ended,
    hand_out,
    key,
    named,
    need,
    new_job,
    rev_up,
    tick,
)

ENDS = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


async def full_job(store: Store, name: str, *, bundle: str = "", kind: ComparatorKind = ComparatorKind.BYTES) -> int:
    """A job of two tasks that has something of everything: the number of its batch."""
    on = device(f"dev_{name}")
    page = (named(f"page of {name}"), name.encode())
    new = new_job(name, 2, bundle=bundle or f"bundle of {name}", kind=kind)
    new = new._replace(attachments=(page, (named("shared page"), b"shared")))
    await tick(store, effects=Effects(devices=(on,), new_jobs=(new,)))
    await hand_out(store, name, [0], on)
    number = await bring_back(store, name, [0], on, payload=name.encode())
    checkpoint = Checkpoint(JobId(name), 1, 0, 1, named(f"checkpoint of {name}"), START)
    outputs = batch((await tick(store)).next_batch, name, on, blobs=[named(f"output of {name}")])
    await tick(store, effects=Effects(checkpoints=(checkpoint,), batches=(outputs,)))
    return number


async def end(store: Store, name: str, at: float, state: JobState = JobState.DONE) -> None:
    row = await rev_up(store, name, state=state, finished_at=at, unsettled=0)
    await tick(store, effects=Effects(jobs=(row,), finalised=(row.id,)))


def names_of(name: str) -> set[Digest]:
    """All that only this job names."""
    own = {named(f"{what} of {name}") for what in ("bundle", "checkpoint", "output")}
    return own | {named(name)}


async def referenced(store: Store, **asked: float) -> set[Digest]:
    return {digest async for digest in await store.referenced(**asked)}


async def lines(store: Store, name: str) -> list[AuditEntry]:
    return [line for _, line in await store.audit_log(subject=name) if line.kind == COLLECTED]


class Retention:
    """Jobs that ended long ago."""

    @pytest.mark.parametrize("state", ENDS)
    async def test_what_a_job_names_counts_until_it_ended_too_long_ago(self, store: Store, state: JobState) -> None:
        for name in ("job_a", "job_b", "job_c"):
            await full_job(store, name)
        await end(store, "job_a", START + 10.0, state)
        await end(store, "job_b", START + 20.0, state)
        everything = await referenced(store)
        for ended_after, gone in ((START + 10.0, ()), (START + 10.5, ("job_a",)), (START + 99.0, ("job_a", "job_b"))):
            found = await referenced(store, ended_after=ended_after)
            assert everything - found == {digest for name in gone for digest in names_of(name)}
        assert names_of("job_c") <= found, "a job that runs has not ended long ago"

    async def test_what_another_job_names_too_still_counts(self, store: Store) -> None:
        await full_job(store, "job_a", bundle="shared bundle")
        await full_job(store, "job_b", bundle="shared bundle")
        await end(store, "job_a", START + 10.0)
        found = await referenced(store, ended_after=START + 99.0)
        assert {named("shared bundle"), named("pages"), named("input")} <= found
        await store.collect(ended_before=START + 99.0, now=START + 100.0)
        assert await store.attached(named("shared page")) == b"shared"
        await end(store, "job_b", START + 10.0)
        await store.collect(ended_before=START + 99.0, now=START + 100.0)
        assert await store.attached(named("shared page")) is None
        assert await referenced(store, ended_after=START + 99.0) == set()

    async def test_the_bytes_of_an_old_job_go_and_its_rows_stay(self, store: Store) -> None:
        numbers = {name: await full_job(store, name) for name in ("job_a", "job_b", "job_c")}
        await end(store, "job_a", START + 10.0)
        await end(store, "job_b", START + 20.0)
        job, tasks = await store.job(JobId("job_a")), await store.tasks(JobId("job_a"))
        results, attempts = await ended(store, "job_a"), await store.attempts(JobId("job_a"), 0)
        assert await store.collect(ended_before=START + 20.0, now=START + 30.0) == 1
        assert set(await store.batches(list(range(20)))) == {
            number + more for name in ("job_b", "job_c") for number in [numbers[name]] for more in (0, 1)
        }
        assert await store.attached(named("page of job_a")) is None
        assert await store.attached(named("page of job_b")) == b"job_b"
        assert await store.checkpoints(JobId("job_a"), 1) == []
        assert len(await store.checkpoints(JobId("job_b"), 1)) == 1
        assert await store.job(JobId("job_a")) == job
        assert await store.tasks(JobId("job_a")) == tasks
        assert await store.attempts(JobId("job_a"), 0) == attempts
        assert await ended(store, "job_a") == results
        assert await store.envelope(JobId("job_a")) == b"job_a"

    async def test_each_job_gets_one_line_in_the_audit_log(self, store: Store) -> None:
        for name in ("job_a", "job_b"):
            await full_job(store, name)
            await end(store, name, START + 10.0)
        assert await store.collect(ended_before=START + 10.0, now=START + 30.0) == 0
        assert await store.collect(ended_before=START + 10.5, now=START + 31.0) == 2
        assert await store.collect(ended_before=START + 99.0, now=START + 99.0) == 0
        for name in ("job_a", "job_b"):
            (line,) = await lines(store, name)
            assert (line.at, line.actor) == (START + 31.0, "scheduler")

    async def test_two_that_collect_at_once_write_each_line_once(self, store: Store) -> None:
        for place in range(5):
            await full_job(store, f"job_{place}")
            await end(store, f"job_{place}", START + 10.0)
        asked = {"ended_before": START + 99.0, "now": START + 99.0}
        assert sum(await asyncio.gather(*(store.collect(**asked) for _ in range(3)))) == 5
        assert [len(await lines(store, f"job_{place}")) for place in range(5)] == [1] * 5
        assert await store.batches(list(range(20))) == {}

    async def test_a_job_that_runs_loses_nothing(self, store: Store, clock: FakeClock) -> None:
        await full_job(store, "job_a")
        before = await referenced(store), await store.batches([1, 2])
        clock.time += 1e9
        assert await store.collect(ended_before=clock.time, now=clock.time) == 0
        assert (await referenced(store, ended_after=clock.time), await store.batches([1, 2])) == before
        assert await store.attached(named("page of job_a")) == b"job_a"
        assert len(await store.checkpoints(JobId("job_a"), 1)) == 1
        assert await lines(store, "job_a") == []

    async def test_a_tick_may_name_tasks_of_a_job_whose_results_are_gone(self, store: Store) -> None:
        """As a device does that comes back after weeks, with the result of a copy that nobody wants any more."""
        await full_job(store, "job_a", kind=ComparatorKind.FLOAT)
        await end(store, "job_a", START + 10.0)
        wanted = need(tasks=[key("job_a", 0)], jobs=["job_a"])
        assert set((await tick(store, wanted)).payloads.values()) == {b"job_a"}
        await store.collect(ended_before=START + 99.0, now=START + 99.0)
        view = await tick(store, wanted)
        assert view.payloads == {}
        assert view.tasks[key("job_a", 0)].state is TaskState.FINAL
        assert [row.state for row in view.attempts[key("job_a", 0)]] == [AttemptState.RETURNED]

    async def test_more_than_a_page_of_everything_goes(self, store: Store) -> None:
        on = device("dev_a")
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 1), new_job("job_b", 1))))
        page = (named("page"), b"page")
        jobs = tuple(new_job(f"job_{place}", 1)._replace(attachments=(page,)) for place in range(1_100))
        await tick(store, effects=Effects(new_jobs=jobs))
        batches = [batch(number, "job_a" if number % 3 else "job_b", on) for number in range(1, 2_500)]
        steps = [Checkpoint(JobId("job_a"), 0, 0, step, named(f"{step}"), START) for step in range(1_100)]
        await tick(store, effects=Effects(batches=tuple(batches), checkpoints=tuple(steps)))
        rows = [await rev_up(store, new.job.id, state=JobState.DONE, finished_at=START) for new in jobs]
        rows.append(await rev_up(store, "job_a", state=JobState.DONE, finished_at=START))
        await tick(store, effects=Effects(jobs=tuple(rows)))
        assert await store.collect(ended_before=START + 1.0, now=START + 1.0) == 1_101
        left = await store.batches(list(range(3_000)))
        assert set(left) == {row.number for row in batches if row.job == "job_b"}
        assert await store.attached(named("page")) is None
        assert await store.checkpoints(JobId("job_a"), 0) == []
