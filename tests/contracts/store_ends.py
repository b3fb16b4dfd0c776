"""What a store promises of results and of the end of jobs."""

from __future__ import annotations

from corpgrid.domain.attempt import AttemptState
from corpgrid.domain.effects import Checkpoint, Effects
from corpgrid.domain.ids import JobId
from corpgrid.domain.job import ComparatorKind, JobState, TaskState
from corpgrid.ports.store import Store
from tests.contracts.store_rows import (
    START,
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
    task,
    tick,
)

JOB = JobId("job_a")


class Results:
    """Batches, provisional and ended tasks."""

    async def test_batches_are_kept_byte_for_byte(self, store: Store) -> None:
        on = device("dev_a")
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 1),)))
        rows = [batch(number, "job_a", on)._replace(content=bytes(range(256)) * number) for number in (1, 2, 3)]
        await tick(store, effects=Effects(batches=tuple(rows)))
        assert await store.batches([3, 1, 9]) == {1: rows[0].content, 3: rows[2].content}

    async def test_provisional_results_come_by_index(self, store: Store) -> None:
        on = device("dev_a")
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 9), new_job("job_b", 2))))
        await hand_out(store, "job_a", range(6), on)
        number = await bring_back(store, "job_a", [4, 1, 3], on)
        results = await store.provisional(JOB)
        assert [(row.task.index, row.device, row.batch, row.position) for row in results] == [
            (1, "dev_a", number, 1),
            (3, "dev_a", number, 2),
            (4, "dev_a", number, 0),
        ]
        assert [row.task.index for row in await store.provisional(JOB, after=1, limit=1)] == [3]

    async def test_the_ended_cursor_misses_nothing(self, store: Store) -> None:
        on = device("dev_a")
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 8), new_job("job_b", 8))))
        await hand_out(store, "job_a", range(8), on)
        number = await bring_back(store, "job_a", range(8), on)
        seen, after = [], (0, -1)
        for rev, indexes in ((2, [5, 1]), (3, [7, 0]), (9, [6, 2, 3, 4])):
            rows = [row for row in await store.tasks(JOB) if row.index in indexes]
            final = tuple(row._replace(state=TaskState.FINAL, final_rev=rev) for row in rows)
            await tick(store, effects=Effects(tasks=final))
            while page := await ended(store, "job_a", after=after, limit=2):
                after = (page[-1].task.final_rev, page[-1].task.index)
                seen += [(row.task.final_rev, row.task.index, row.batch, row.position) for row in page]
        expected = [(rev, index, number, index) for rev, index in _ORDER]
        assert seen == expected

    async def test_tasks_without_a_result_end_with_batch_0(self, store: Store) -> None:
        on = device("dev_a")
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 3),)))
        await hand_out(store, "job_a", [0, 1], on)
        await bring_back(store, "job_a", [0, 1], on)
        rows = await store.tasks(JOB)
        ends = (TaskState.CANCELLED, TaskState.FINAL, TaskState.FAILED)
        changed = tuple(row._replace(state=state, final_rev=2) for row, state in zip(rows, ends, strict=True))
        await tick(store, effects=Effects(tasks=changed))
        results = await ended(store, "job_a")
        assert [(row.device, row.batch, row.position) for row in results] == [("", 0, 0), ("dev_a", 1, 1), ("", 0, 0)]

    async def test_results_are_decoded_where_the_comparator_looks_inside(self, store: Store) -> None:
        on = device("dev_a")
        jobs = (new_job("job_a", 3), new_job("job_f", 3, kind=ComparatorKind.FLOAT))
        await tick(store, effects=Effects(devices=(on,), new_jobs=jobs))
        numbers = {}
        for job in ("job_a", "job_f"):
            await hand_out(store, job, [0, 1], on)
            numbers[job] = await bring_back(store, job, [0, 1], on, payload=job.encode())
        wanted = need(tasks=[key(job, index) for job in numbers for index in (0, 1, 2)])
        number = numbers["job_f"]
        assert (await tick(store, wanted)).payloads == {(number, 0): b"job_f", (number, 1): b"job_f"}
        (row,) = await store.attempts(JobId("job_f"), 0)
        await tick(store, effects=Effects(attempts=(row._replace(state=AttemptState.REJECTED),)))
        assert (await tick(store, wanted)).payloads == {(number, 1): b"job_f"}

    async def test_checkpoints_come_newest_first(self, store: Store) -> None:
        await tick(store, effects=Effects(new_jobs=(new_job("job_a", 3),)))
        rows = [Checkpoint(JOB, 1, 0, step, named(f"step {step}"), START + 0.1) for step in (10, 20, 30)]
        await tick(store, effects=Effects(checkpoints=tuple(rows[:2])))
        await tick(store, effects=Effects(checkpoints=tuple(rows[2:])))
        assert await store.checkpoints(JOB, 1) == rows[::-1]
        assert await store.checkpoints(JOB, 0) == []

    async def test_everything_that_a_row_names_is_referenced(self, store: Store) -> None:
        on = device("dev_a")
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 3, bundle="mine"),)))
        await hand_out(store, "job_a", [0], on)
        await bring_back(store, "job_a", [0], on, payload=b"large")
        checkpoint = Checkpoint(JOB, 1, 0, 1, named("checkpoint"), START)
        outputs = batch(2, "job_a", on, blobs=[named("output")])
        await tick(store, effects=Effects(checkpoints=(checkpoint,), batches=(outputs,)))
        found = {digest async for digest in await store.referenced()}
        assert found == {named(text) for text in ("mine", "pages", "input", "large", "checkpoint", "output")}


class Ends:
    """All tasks of a job at once."""

    async def test_a_finalised_job_makes_provisional_tasks_final(self, store: Store) -> None:
        on = device("dev_a")
        await tick(store, effects=Effects(devices=(on,), new_jobs=(new_job("job_a", 5), new_job("job_b", 5))))
        for job in ("job_a", "job_b"):
            await hand_out(store, job, [0, 1, 2], on)
            await bring_back(store, job, [0, 1, 2], on)
        before = {row.index: row for row in await store.tasks(JOB)}
        early = before[1]._replace(state=TaskState.FINAL, final_rev=2)
        late = task("job_a", 3, state=TaskState.FAILED, open=0, final_rev=3, reason="raised")
        closed = await rev_up(store, "job_a", state=JobState.FAILED)
        await tick(store, effects=Effects(jobs=(closed,), tasks=(early, late), finalised=(JOB,)))
        final = {"state": TaskState.FINAL, "final_rev": closed.rev}
        first, third = (before[index]._replace(**final) for index in (0, 2))
        assert await store.tasks(JOB) == [first, early, third, late, before[4]]
        assert [row.task.index for row in await ended(store, "job_a")] == [0, 1, 2, 3]
        assert await store.provisional(JOB) == []
        assert len(await store.provisional(JobId("job_b"))) == 3

    async def test_a_cancelled_job_ends_everything_that_has_not_ended(self, store: Store) -> None:
        on, other = device("dev_a"), device("dev_b")
        await tick(store, effects=Effects(devices=(on, other), new_jobs=(new_job("job_a", 6), new_job("job_b", 6))))
        await hand_out(store, "job_a", [0, 1, 2], on)
        await bring_back(store, "job_a", [0, 1], on)
        await hand_out(store, "job_a", [3], other)
        (yielded,) = await store.attempts(JOB, 3)
        await tick(store, effects=Effects(attempts=(yielded._replace(state=AttemptState.YIELDED),)))
        kept = await hand_out(store, "job_b", [0], on)
        rows = await store.tasks(JOB)
        final = rows[0]._replace(state=TaskState.FINAL, final_rev=2)
        waiting = rows[5]._replace(state=TaskState.WAITING, ready_at=START)
        await tick(store, effects=Effects(tasks=(final, waiting)))
        gone = await rev_up(store, "job_a", state=JobState.CANCELLED)
        await tick(store, effects=Effects(jobs=(gone,), cancelled=(JOB,)))
        after = await store.tasks(JOB)
        assert after[0] == final
        assert {(row.state, row.open, row.live, row.final_rev) for row in after[1:]} == {
            (TaskState.CANCELLED, 0, 0, gone.rev)
        }
        assert [row.state for row in await store.attempts(JOB, 3)] == [AttemptState.STOPPED]
        assert [row.state for row in await store.attempts(JOB, 1)] == [AttemptState.RETURNED]
        view = await tick(store, need(devices=["dev_a", "dev_b"], release=["dev_a", "dev_b"], ready=99, sweep=99))
        assert set(view.leases) == {kept}
        assert {job for job, _ in view.tasks} == {"job_b"}
        assert len(await ended(store, "job_a")) == 6


_ORDER = [(2, 1), (2, 5), (3, 0), (3, 7), (9, 2), (9, 3), (9, 4), (9, 6)]
