"""What a store promises of jobs and tasks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corpgrid.domain.effects import Effects, View
from corpgrid.domain.ids import JobId
from corpgrid.domain.job import Counts, JobState, TaskState
from corpgrid.errors import StoreError
from corpgrid.ports.store import Store
from tests.contracts.store_rows import START, FakeClock, device, hand_out, key, named, need, new_job, rev_up, task, tick


class Jobs:
    """Jobs and tasks."""

    async def test_a_new_store_is_empty(self, store: Store) -> None:
        view = await tick(store, need(ready=10, sweep=10, jobs=["job_a"], tasks=[key("job_a", 0)], devices=["dev_a"]))
        assert view == View(now=START)
        assert await store.jobs() == []
        assert await store.devices() == []
        assert await store.job(JobId("job_a")) is None
        assert await store.envelope(JobId("job_a")) is None
        assert await store.tasks(JobId("job_a")) == []
        assert await store.ended(JobId("job_a"), after=(0, -1), limit=10) is None
        assert await store.attached(named("page")) is None

    async def test_a_submitted_job_can_be_read(self, store: Store) -> None:
        new = new_job("job_a", 3, copies=2)
        await tick(store, effects=Effects(new_jobs=(new,)))
        assert await store.job(new.job.id) == new.job
        assert await store.envelope(new.job.id) == new.envelope
        assert await store.tasks(new.job.id) == [task("job_a", index, open=2) for index in range(3)]
        view = await tick(store, need(jobs=["job_a"]))
        assert view.jobs == {new.job.id: new.job}
        assert view.specs == {new.job.id: new.spec}

    async def test_what_came_with_a_job_is_kept_with_it(self, store: Store) -> None:
        page, pages = (named("page"), bytes(range(256)) * 40), (named("list"), b"")
        jobs = (
            new_job("job_a", 1)._replace(attachments=(page, pages)),
            new_job("job_b", 1)._replace(attachments=(page, page)),
        )
        await tick(store, effects=Effects(new_jobs=jobs))
        assert await store.attached(page[0]) == page[1]
        assert await store.attached(pages[0]) == b""
        assert await store.attached(named("other")) is None
        assert {page[0], pages[0]}.isdisjoint({digest async for digest in await store.referenced()})

    async def test_what_came_with_a_refused_job_is_not_kept(self, store: Store) -> None:
        await tick(store, effects=Effects(new_jobs=(new_job("job_a", 1),)))
        again = new_job("job_a", 1)._replace(attachments=((named("page"), b"page"),))
        with pytest.raises(StoreError):
            await tick(store, effects=Effects(new_jobs=(again,)))
        assert await store.attached(named("page")) is None

    async def test_a_job_is_submitted_once(self, store: Store) -> None:
        new = new_job("job_a", 3)
        await tick(store, effects=Effects(new_jobs=(new,)))
        with pytest.raises(StoreError):
            await tick(store, effects=Effects(new_jobs=(new_job("job_b", 1), new)))
        assert await store.job(JobId("job_b")) is None, "half a tick was committed"

    async def test_a_decision_that_fails_changes_nothing(self, store: Store) -> None:
        def decide(_: View) -> Effects:
            raise ZeroDivisionError

        await tick(store, effects=Effects(new_jobs=(new_job("job_a", 3),)))
        with pytest.raises(ZeroDivisionError):
            await store.transact(need(ready=1), decide)
        assert len((await tick(store, need(ready=10))).ready) == 3

    async def test_jobs_come_newest_first(self, store: Store) -> None:
        created = {"job_a": 5.0, "job_b": 7.0, "job_c": 5.0}
        for name, at in created.items():
            await tick(store, effects=Effects(new_jobs=(new_job(name, 1, created_at=at),)))
        assert [job.id for job in await store.jobs()] == ["job_b", "job_c", "job_a"]
        assert [job.id for job in await store.jobs(limit=2)] == ["job_b", "job_c"]
        await tick(store, effects=Effects(jobs=(await rev_up(store, "job_c", state=JobState.DONE),)))
        assert [job.id for job in await store.jobs(states=[JobState.RUNNING])] == ["job_b", "job_a"]
        assert [job.id for job in await store.jobs(states=[JobState.DONE, JobState.FAILED])] == ["job_c"]

    async def test_a_jobs_row_is_replaced_whole(self, store: Store) -> None:
        new = new_job("job_a", 3)
        await tick(store, effects=Effects(new_jobs=(new,)))
        row = replace(
            new.job,
            state=JobState.FAILED,
            finished_at=START + 0.1,
            rev=9,
            counts=Counts(1, 2, 3, 4, 5, 6, 7),
            unsettled=8,
            executions=9,
            audits=10,
            mismatches=11,
            audit_rate=0.1 + 0.2,
            error_bound=1e-9,
            reason="3 of 3 tasks failed",
        )
        await tick(store, effects=Effects(jobs=(row,)))
        assert await store.job(row.id) == row

    async def test_a_tasks_row_is_replaced_whole(self, store: Store) -> None:
        await tick(store, effects=Effects(new_jobs=(new_job("job_a", 3),)))
        row = task("job_a", 1, state=TaskState.WAITING, open=3, live=2, attempts=7, failures=4, ready_at=START + 0.3)
        row = row._replace(reason="retry")
        await tick(store, effects=Effects(tasks=(row,)))
        assert (await store.tasks(row.job))[1] == row
        assert (await tick(store, need(tasks=[key("job_a", 1)]))).tasks == {key("job_a", 1): row}

    async def test_tasks_are_read_in_pages_and_by_state(self, store: Store) -> None:
        await tick(store, effects=Effects(new_jobs=(new_job("job_a", 10), new_job("job_b", 10))))
        failed = tuple(task("job_a", index, state=TaskState.FAILED, open=0, final_rev=1) for index in (2, 5, 9))
        await tick(store, effects=Effects(tasks=failed))
        page = await store.tasks(JobId("job_a"), after=3, limit=4)
        assert [row.index for row in page] == [4, 5, 6, 7]
        assert tuple(await store.tasks(JobId("job_a"), states=[TaskState.FAILED])) == failed
        assert await store.tasks(JobId("job_a"), states=[TaskState.FAILED], after=5, limit=1) == [failed[2]]

    async def test_rows_of_no_job_are_refused(self, store: Store) -> None:
        with pytest.raises(StoreError, match="job_x"):
            await tick(store, effects=Effects(tasks=(task("job_x", 0),)))

    async def test_last_seen_is_the_last_tick_that_was_written(self, store: Store, clock: FakeClock) -> None:
        assert await store.last_seen() == 0.0
        await tick(store)
        assert await store.last_seen() == START
        clock.time += 0.5
        await tick(store)
        assert await store.last_seen() == START, "an idle tick was written"
        await tick(store, effects=Effects(new_jobs=(new_job("job_a", 1),)))
        assert await store.last_seen() == START + 0.5
        clock.time += 2.0
        await tick(store)
        assert await store.last_seen() == START + 2.5

    async def test_a_closed_store_says_so(self, store: Store) -> None:
        await store.close()
        with pytest.raises(StoreError, match="closed"):
            await store.jobs()
        with pytest.raises(StoreError, match="closed"):
            await tick(store)


class Ready:
    """Which tasks want a device."""

    async def test_ready_tasks_come_by_priority_then_age_then_index(self, store: Store) -> None:
        jobs = (
            new_job("job_a", 2, created_at=3.0),
            new_job("job_b", 2, created_at=2.0),
            new_job("job_c", 2, created_at=9.0, priority=80),
            new_job("job_d", 2, created_at=2.0),
        )
        await tick(store, effects=Effects(new_jobs=jobs))
        view = await tick(store, need(ready=10))
        expected = [key(job, index) for job in ("job_c", "job_b", "job_d", "job_a") for index in (0, 1)]
        assert list(view.ready) == expected
        assert set(view.tasks) == set(expected)
        assert set(view.jobs) == set(view.specs) == {"job_a", "job_b", "job_c", "job_d"}
        assert list((await tick(store, need(ready=3))).ready) == expected[:3]

    async def test_tasks_that_were_tried_are_counted_apart(self, store: Store) -> None:
        on = device("dev_a")
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 10),)))
        await hand_out(store, "job_a", [0, 1, 2, 8], on)
        rows = [row for row in await store.tasks(JobId("job_a")) if row.attempts]
        again = tuple(row._replace(state=TaskState.READY, open=1, live=0) for row in rows)
        await tick(store, effects=Effects(tasks=again))
        view = await tick(store, need(ready=3))
        assert [index for _, index in view.ready] == [0, 1, 2, 3, 4, 5]
        assert set(view.attempts) == {key("job_a", index) for index in (0, 1, 2)}
        assert set(view.devices) == {"dev_a"}

    @pytest.mark.parametrize("state", list(TaskState))
    async def test_a_task_wants_a_device_while_it_has_a_copy_open(self, store: Store, state: TaskState) -> None:
        await tick(store, effects=Effects(new_jobs=(new_job("job_a", 1, copies=0), new_job("job_b", 1))))
        for attempts in (0, 1):
            row = task("job_a", 0, state=state, open=1, attempts=attempts)
            await tick(store, effects=Effects(tasks=(row,)))
            wanting = state in {TaskState.READY, TaskState.LEASED, TaskState.PROVISIONAL}
            assert (key("job_a", 0) in (await tick(store, need(ready=5))).ready) == wanting
            await tick(store, effects=Effects(tasks=(row._replace(open=0),)))
            assert (await tick(store, need(ready=5))).ready == (key("job_b", 0),)

    async def test_jobs_that_ended_want_nothing(self, store: Store) -> None:
        await tick(store, effects=Effects(new_jobs=(new_job("job_a", 2),)))
        await tick(store, effects=Effects(jobs=(await rev_up(store, "job_a", state=JobState.FAILED),)))
        assert (await tick(store, need(ready=5))).ready == ()

    async def test_a_large_job_is_handed_out_in_order(self, store: Store) -> None:
        on = device("dev_a")
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 10_000),)))
        for start in range(0, 3_000, 1_000):
            view = await tick(store, need(ready=1_000))
            assert [index for _, index in view.ready] == list(range(start, start + 1_000))
            await hand_out(store, "job_a", range(start, start + 1_000), on)
        assert len(await store.tasks(JobId("job_a"), states=[TaskState.LEASED], limit=10_000)) == 3_000
