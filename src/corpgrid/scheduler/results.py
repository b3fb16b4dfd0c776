"""Results on their way to people: pages after a cursor, cut from the stored evidence and verified.

* A page holds what ended after the cursor, in that order, and the job as it was before the page was read: a job that
  had ended by then can add nothing to it.
* A reader who is at the end of a running job waits for the next commit that ends a task of it, not for a clock.
* A page ends early when it is large enough; the cursor says where to go on.
* What is kept no more is an error, on the first page as on the last: nobody takes some results for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from corpgrid.domain.answers import AttemptLog, Cursor, ResultsPage, TaskResult
from corpgrid.domain.attempt import Attempt
from corpgrid.domain.ids import JobId, TaskKey, task_text
from corpgrid.domain.job import Job, JobState, Task, TaskState
from corpgrid.domain.messages import Batch, Item
from corpgrid.errors import DigestError, NotFoundError
from corpgrid.ports.store import Store, StoredResult
from corpgrid.scheduler.changes import Changes, Watch
from corpgrid.scheduler.counters import Counters
from corpgrid.scheduler.evidence import Evidence
from corpgrid.scheduler.limits import SchedulerLimits

_LOOK_SECONDS = 2.0
_BATCHES_AT_ONCE = 16
"""Batches that are in memory for one page at a time."""


class Results:
    """Reads results.

    Args:
        store: all state.
        evidence: reads and verifies stored batches.
        changes: says when a job changed.
        limits: how large a page is, and how long a reader may wait.
        counters: what is counted.
    """

    def __init__(
        self, store: Store, evidence: Evidence, changes: Changes, limits: SchedulerLimits, counters: Counters
    ) -> None:
        self._store = store
        self._evidence = evidence
        self._changes = changes
        self._limits = limits
        self._counters = counters

    async def ended(self, job: JobId, *, after: Cursor, limit: int, wait_seconds: float) -> ResultsPage:
        """What ended after the cursor; while nothing did and the job runs, waits.

        Raises:
            NotFoundError: no such job.
            CollectedError: it ended so long ago that its results are kept no more.
        """
        limit, clock = min(limit, self._limits.page_results), asyncio.get_running_loop().time
        until = clock() + min(wait_seconds, self._limits.wait_seconds)
        with self._changes.watch(job) as watch:
            while True:
                row, stored = await self._ended(job, after, limit)
                if stored or row.state is not JobState.RUNNING or not await self._wait(watch, until):
                    break
                if watch.news is not None and len(watch.news.results) <= limit:
                    row, stored = watch.news
                    break
        results = await self._cut(stored)
        whole = len(results) == len(stored) < limit
        last = stored[len(results) - 1].task if results else None
        cursor = Cursor(last.final_rev, last.index) if last is not None else after
        return ResultsPage(row, results, cursor, complete=whole and row.state is not JobState.RUNNING)

    async def provisional(self, job: JobId, *, after: Cursor, limit: int) -> ResultsPage:
        """What may still be audited, with an index above the cursor's.

        Raises:
            NotFoundError: no such job.
        """
        row = await self.job(job)
        stored = await self._store.provisional(job, after=after.index, limit=min(limit, self._limits.page_results))
        results = await self._cut(stored)
        cursor = Cursor(row.rev, results[-1].index) if results else after
        return ResultsPage(row, results, cursor, complete=row.state is not JobState.RUNNING)

    async def log(self, job: JobId, index: int) -> list[AttemptLog]:
        """What each attempt of a task printed.

        Raises:
            NotFoundError: no such task.
            CollectedError: its job ended so long ago that what it printed is kept no more.
        """
        attempts = await self.attempts(job, index)
        batches = await self._evidence.read(job, (attempt.batch for attempt in attempts if attempt.batch))
        return [_log(attempt, _item_of(attempt, batches)) for attempt in attempts]

    async def attempts(self, job: JobId, index: int) -> list[Attempt]:
        """All attempts of a task, by number.

        Raises:
            NotFoundError: no such task.
        """
        row = await self.job(job)
        if not 0 <= index < row.tasks:
            raise NotFoundError(f"job {job} has the tasks 0 to {row.tasks - 1}, and not {index}")
        return await self._store.attempts(job, index)

    async def job(self, job: JobId) -> Job:
        """One job.

        Raises:
            NotFoundError: no such job.
        """
        row = await self._store.job(job)
        if row is None:
            raise _unknown(job)
        return row

    async def _wait(self, watch: Watch, until: float) -> bool:
        """Wait for a change; whether it is worth looking again.

        Where other schedulers share the store one looks now and then anyway: what is heard of them may be lost.
        """
        clock = asyncio.get_running_loop().time
        left = until - clock()
        if not self._store.shared or left <= _LOOK_SECONDS:
            return await watch.changed(left)
        look_at = clock() + _LOOK_SECONDS
        return await watch.changed(_LOOK_SECONDS) or clock() >= look_at  # else nobody waits any more

    async def _ended(self, job: JobId, after: Cursor, limit: int) -> tuple[Job, list[StoredResult]]:
        found = await self._store.ended(job, after=after, limit=limit)
        if found is None:
            raise _unknown(job)
        return found

    async def _cut(self, stored: Sequence[StoredResult]) -> tuple[TaskResult, ...]:
        """The results themselves, until the page is large enough."""
        results: list[TaskResult] = []
        left = self._limits.page_bytes
        for run in _runs(stored):
            batches = await self._evidence.read(run[0].task.job, (row.batch for row in run if row.batch))
            for row in run:
                result = _result(row, batches) if row.batch else await self._without(row.task)
                results.append(result)
                left -= len(result.payload) + len(result.detail)
                if left <= 0:
                    break
            if left <= 0:
                break
        self._counters.results_served += len(results)
        return tuple(results)

    async def _without(self, task: Task) -> TaskResult:
        """What is to be said of a task that ended without a result."""
        if task.state is not TaskState.FAILED:
            return TaskResult(task.index, task.state, reason=task.reason)
        attempts = [attempt for attempt in await self._store.attempts(task.job, task.index) if attempt.reason]
        if not attempts:
            return TaskResult(task.index, task.state, reason=task.reason)
        last = next((attempt for attempt in reversed(attempts) if attempt.batch), attempts[-1])
        batches = await self._evidence.read(task.job, [last.batch] if last.batch else [])
        item = _item_of(last, batches)
        return TaskResult(
            task.index,
            task.state,
            device=last.device,
            attempt=last.number,
            seconds=last.seconds,
            reason=task.reason or last.reason,
            detail=item.detail if item is not None else "",
            outputs=item.outputs if item is not None else (),
        )


def _unknown(job: JobId) -> NotFoundError:
    return NotFoundError(f"there is no job {job}")


def _runs(stored: Sequence[StoredResult]) -> Iterator[Sequence[StoredResult]]:
    """Cut into runs that need few batches each."""
    start, batches = 0, set[int]()
    for place, row in enumerate(stored):
        if row.batch and row.batch not in batches and len(batches) == _BATCHES_AT_ONCE:
            yield stored[start:place]
            start, batches = place, set()
        batches.add(row.batch)
    if start < len(stored):
        yield stored[start:]


def _result(row: StoredResult, batches: Mapping[int, Batch]) -> TaskResult:
    task = row.task
    item = _item(batches, row.batch, row.position, (task.job, task.index), task.accepted)
    return TaskResult(
        task.index,
        task.state,
        row.device,
        task.accepted,
        item.payload,
        item.blob,
        item.seconds,
        "",
        "",
        item.outputs,
    )


def _item_of(attempt: Attempt, batches: Mapping[int, Batch]) -> Item | None:
    if not attempt.batch:
        return None
    return _item(batches, attempt.batch, attempt.position, (attempt.job, attempt.index), attempt.number)


def _item(batches: Mapping[int, Batch], number: int, position: int, key: TaskKey, attempt: int) -> Item:
    """An item of a verified batch, which must be the one that the rows name."""
    batch = batches.get(number)
    item = batch.items[position] if batch is not None and position < len(batch.items) else None
    if batch is None or item is None or (batch.job, item.index, item.attempt) != (*key, attempt):
        raise DigestError(
            f"the stored result of task {task_text(key)} is not in batch {number}",
            remedy="The store is damaged: restore it from a backup.",
        )
    return item


def _log(attempt: Attempt, item: Item | None) -> AttemptLog:
    return AttemptLog(
        attempt=attempt.number,
        device=attempt.device,
        state=attempt.state,
        log=item.log if item is not None else b"",
        log_dropped=item.log_dropped if item is not None else 0,
        reason=attempt.reason,
        detail=item.detail if item is not None else "",
    )
