"""What a commit says by itself of jobs that it ended whole: whoever waits for their results need not read them again.

A job of few tasks is taken, run and ended within two ticks, and its submitter waits for the second one.  All rows that
the answer is made of are at hand in that tick's effects; reading them back would cost as much again as writing them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from corpgrid.domain.attempt import Attempt
from corpgrid.domain.effects import Effects, View
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.job import TERMINAL, Job, JobState, Task, TaskState
from corpgrid.ports.store import StoredResult

MOST_TASKS = 64
"""Larger jobs do not end in one tick, or have a page worth reading."""


class News(NamedTuple):
    """A job that ended, and all its tasks, in the order of ``Store.ended``."""

    job: Job
    results: list[StoredResult]


def news_of(view: View, effects: Effects) -> Mapping[JobId, News]:
    """The small jobs that began this tick with no task ended, and left it with none to end."""
    ended = {row.id: row for row in effects.jobs if _ended_whole(view, effects, row)}
    if not ended:
        return {}
    tasks: dict[JobId, list[Task]] = {job: [] for job in ended}
    for task in effects.tasks:
        if task.job in ended:
            tasks[task.job].append(_final(task, ended[task.job], effects))
    attempts = {
        (attempt.job, attempt.index, attempt.number): attempt for attempt in effects.attempts if attempt.job in ended
    }
    found = ((row, _results(tasks[job], attempts)) for job, row in ended.items() if len(tasks[job]) == row.tasks)
    return {row.id: News(row, results) for row, results in found if results is not None}


def _ended_whole(view: View, effects: Effects, row: Job) -> bool:
    before = view.jobs.get(row.id)
    return (
        before is not None
        and before.state is JobState.RUNNING
        and row.state is not JobState.RUNNING
        and row.tasks <= MOST_TASKS
        and row.id not in effects.cancelled
        and not (before.counts.final or before.counts.failed or before.counts.cancelled)
    )


def _final(task: Task, job: Job, effects: Effects) -> Task:
    """The task as it stands after the commit."""
    if task.state is TaskState.PROVISIONAL and job.id in effects.finalised:
        return task._replace(state=TaskState.FINAL, final_rev=job.rev)
    return task


def _results(tasks: list[Task], attempts: Mapping[tuple[JobId, int, int], Attempt]) -> list[StoredResult] | None:
    """None where a row is missing: then it is read."""
    results = []
    for task in tasks:
        if task.state not in TERMINAL:
            return None
        if task.state is not TaskState.FINAL:
            results.append(StoredResult(task, DeviceId(""), 0, 0))
            continue
        attempt = attempts.get((task.job, task.index, task.accepted))
        if attempt is None:
            return None
        results.append(StoredResult(task, attempt.device, attempt.batch, attempt.position))
    return sorted(results, key=lambda result: (result.task.final_rev, result.task.index))
