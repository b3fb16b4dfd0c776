"""From runs to what people and clients read of a job: some tasks after a place, with their results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice, repeat
from operator import itemgetter

from corpgrid.domain.attempt import Attempt
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.job import Task
from corpgrid.ports.store import StoredResult
from corpgrid.stores.rows import INDEX_BITS, Row
from corpgrid.stores.runs import AttemptRun, TaskRun, positions_of, task_key, tasks_of
from corpgrid.stores.spans import Span

_COLUMNS = 13
"""Of a run of tasks, or of attempts; what comes with it stands after them."""
_KEY, _REV = 0, 11
_Place = tuple[DeviceId, int, int]
"""Device, batch, position."""
_NOWHERE: _Place = (DeviceId(""), 0, 0)


def tasks_after(rows: Sequence[Row], job: JobId, *, after: int, limit: int) -> list[Task]:
    """Of runs of a job's tasks, at most ``limit`` tasks with an index above ``after``."""
    runs = map(TaskRun.of, rows)
    return list(islice((task for run in runs for task in run.tasks(job, _keys(run, after))), limit))


def attempts_at(rows: Sequence[Row], job: JobId, index: int) -> list[Attempt]:
    """From runs of attempts, each with the id of its device, those at one task."""
    found = ((AttemptRun.of(row[:_COLUMNS]), DeviceId(row[_COLUMNS])) for row in rows)
    return [
        attempt
        for run, device in found
        for attempt in run.attempts(job, device, [task_key(run.tasks().last >> INDEX_BITS, index)])
    ]


def ended_after(rows: Sequence[Row], job: JobId, *, after: tuple[int, int], limit: int) -> list[StoredResult]:
    """Tasks that ended after a rev and an index, from runs of tasks, each with runs of their accepted attempts."""
    rev, index = after
    runs = _runs(sorted(rows, key=itemgetter(_REV, _KEY, _COLUMNS)))
    found = (placed for run, rows in runs for placed in _placed(run, rows, job, index if run.final_rev == rev else -1))
    return [StoredResult(task, *(place or _NOWHERE)) for task, place in islice(found, limit)]


def provisional_after(rows: Sequence[Row], job: JobId, *, after: int, limit: int) -> list[StoredResult]:
    """The same for provisional tasks after an index; those without an attempt are left out."""
    runs = _runs(sorted(rows, key=itemgetter(_KEY, _COLUMNS)))
    found = (placed for run, rows in runs for placed in _placed(run, rows, job, after))
    return list(islice((StoredResult(task, *place) for task, place in found if place is not None), limit))


def _runs(rows: Sequence[Row]) -> Iterator[tuple[TaskRun, list[Row]]]:
    """Each run of tasks with its rows."""
    for _, found in groupby(rows, key=itemgetter(_KEY)):
        of_run = list(found)
        yield TaskRun.of(of_run[0][:_COLUMNS]), of_run


def _placed(run: TaskRun, rows: Sequence[Row], job: JobId, after: int) -> Iterator[tuple[Task, _Place | None]]:
    """The tasks of a run with an index above ``after``, and where their results are."""
    keys = _keys(run, after)
    return zip(run.tasks(job, keys), _places(keys, rows), strict=True)


def _places(keys: range, rows: Sequence[Row]) -> Iterator[_Place | None]:
    """Where the results of these tasks are, by rows that rise."""
    at = keys.start
    for row in rows:
        last, attempts, device, batch, positions = row[_COLUMNS:]
        if last is None:
            break
        tried = tasks_of(Span(last - attempts + 1, last))
        part = range(max(at, tried.start), min(keys.stop, tried.stop))
        if part:
            yield from repeat(None, part.start - at)
            places = positions_of(positions)[part.start - tried.start : part.stop - tried.start] or repeat(0, len(part))
            yield from zip(repeat(DeviceId(device)), repeat(batch), places, strict=False)
            at = part.stop
    yield from repeat(None, keys.stop - at)


def _keys(run: TaskRun, after: int) -> range:
    """The keys of its tasks with an index above ``after``."""
    return range(max(run.first, task_key(run.last >> INDEX_BITS, 0) + after + 1), run.last + 1)
