"""Runs in pieces: what is left of those of which something changes, and those that new rows make."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

from corpgrid.domain.attempt import Attempt
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.job import Task
from corpgrid.stores.rows import INDEX_BITS
from corpgrid.stores.runs import (
    JOB_BITS,
    AttemptRun,
    TaskRun,
    attempts_with,
    make_task_run,
    packed_positions,
    packed_seconds,
    task_of,
)
from corpgrid.stores.spans import Span, alike, rest, spans, within

Run = TypeVar("Run", TaskRun, AttemptRun)

_OF_TASK: Callable[[Task], object] = itemgetter(slice(2, None))
_OF_ATTEMPT: Callable[[Attempt], object] = itemgetter(slice(3, 10))
_POSITION, _DIGEST, _REASON, _SECONDS = map(itemgetter, range(10, 14))


class Cut(NamedTuple, Generic[Run]):
    """What it means to take keys out of runs.

    Attributes:
        touched: the runs that had some of them.
        left: what is left of these.
        missing: keys that none had.
    """

    touched: list[Run]
    left: list[Run]
    missing: list[int]


class Rewritten(NamedTuple, Generic[Run]):
    """What becomes of rows: those to replace, those to add, and the keys of those that are gone."""

    put: list[Run]
    add: list[Run]
    drop: list[int]


def tasks_by_key(tasks: Iterable[Task], number: Mapping[JobId, int]) -> dict[int, Task]:
    """Tasks by their keys; of two with one key the last counts."""
    return {number[row[0]] << INDEX_BITS | row[1]: row for row in tasks}


def attempts_by_key(attempts: Iterable[Attempt], number: Mapping[JobId, int]) -> dict[int, Attempt]:
    """Attempts likewise."""
    return {number[row[0]] << JOB_BITS | row[2] << INDEX_BITS | row[1]: row for row in attempts}


def task_runs(tasks: Mapping[int, Task]) -> list[TaskRun]:
    """Tasks by their keys, as runs without their providers."""
    keys = sorted(tasks)
    rows = [tasks[key] for key in keys]
    parts = alike(keys, list(map(_OF_TASK, rows)))
    return [TaskRun(keys[begin], keys[end - 1], *rows[begin][2:]) for begin, end in parts]


def attempt_runs(attempts: Mapping[int, Attempt], number: Mapping[DeviceId, int]) -> list[AttemptRun]:
    """Attempts by their keys, as runs."""
    keys = sorted(attempts)
    rows = [attempts[key] for key in keys]
    digests = list(map(_DIGEST, rows))
    parts = alike(keys, list(map(_OF_ATTEMPT, rows)), list(map(_REASON, rows)), list(map(len, digests)))
    return [
        AttemptRun(
            keys[begin],
            keys[end - 1],
            number[rows[begin].device],
            *rows[begin][4:10],
            rows[begin].reason,
            packed_positions(list(map(_POSITION, rows[begin:end]))),
            b"".join(digests[begin:end]),
            packed_seconds(list(map(_SECONDS, rows[begin:end]))),
        )
        for begin, end in parts
    ]


def cut(runs: Iterable[Run], keys: Sequence[int]) -> Cut[Run]:
    """Take keys, which rise, out of runs, which do not overlap."""
    touched: list[Run] = []
    left: list[Run] = []
    found = 0
    for run in runs:
        begin = bisect_left(keys, run.first)
        end = bisect_right(keys, run.last, begin)
        if begin < end:
            found += end - begin
            touched.append(run)
            if end - begin <= run.last - run.first:
                left.extend(map(run.part, rest(run, spans(keys[begin:end]))))
    missing = sorted(set(keys).difference(*(within(keys, run) for run in touched))) if found < len(keys) else []
    return Cut(touched, left, missing)


def rewritten(old: Iterable[Run], new: Iterable[Run]) -> Rewritten[Run]:
    """How rows are replaced by others."""
    before = {run.last for run in old}
    rows = {run.last: run for run in new}
    return Rewritten(
        put=[run for key, run in rows.items() if key in before],
        add=[run for key, run in rows.items() if key not in before],
        drop=sorted(before - rows.keys()),
    )


def provided(runs: Iterable[TaskRun], attempts: Sequence[AttemptRun]) -> tuple[list[TaskRun], list[Span]]:
    """Runs with the devices whose attempts are accepted, each with one; and the attempts that are not among these.

    Args:
        runs: of tasks.
        attempts: runs which rise and do not overlap.
    """
    lasts = [run.last for run in attempts]
    found: list[TaskRun] = []
    unknown: list[Span] = []
    for run in runs:
        if run.accepted < 0:
            found.append(run)
            continue
        at, last = attempts_with(run.accepted, run)
        place = bisect_left(lasts, at)
        while at <= last:
            by = attempts[place] if place < len(lasts) and attempts[place].first <= last else None
            known = by is not None and by.first <= at
            end = last if by is None else min(last, by.last if known else by.first - 1)
            found.append(make_task_run((task_of(at), task_of(end), *run[2:12], by.device if by and known else None)))
            if not known:
                unknown.append(Span(at, end))
            at, place = end + 1, place + known
    return found, unknown
