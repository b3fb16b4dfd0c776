"""Runs in pieces: what is left of those of which something changes, and those that new rows make."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

from corpgrid.domain.attempt import Attempt
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.job import Task
from corpgrid.stores.postgres.runs import (
    JOB_BITS,
    AttemptRun,
    TaskRun,
    attempts_with,
    packed_positions,
    packed_seconds,
    task_of,
)
from corpgrid.stores.postgres.spans import Span, alike, rest, spans, within
from corpgrid.stores.rows import INDEX_BITS

Run = TypeVar("Run", TaskRun, AttemptRun)

_LAST: Callable[[Any], int] = itemgetter(1)
_OF_TASK: Callable[[Task], object] = itemgetter(slice(2, None))
_OF_ATTEMPT: Callable[[Attempt], object] = itemgetter(slice(3, 10))
_POSITION, _DIGEST, _REASON, _SECONDS = map(itemgetter, range(10, 14))


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


def overlapping(runs: Sequence[Run], span: Span) -> Iterator[Run]:
    """Those of the runs, which rise and do not overlap, that have something of a span."""
    for place in range(bisect_left(runs, span.first, key=_LAST), len(runs)):
        if runs[place].first > span.last:
            return
        yield runs[place]


def uncovered(runs: Iterable[Run], keys: Sequence[int]) -> list[int]:
    """Those of the keys, which rise, that are in none of the runs, which do not overlap."""
    found = [within(keys, run) for run in runs]
    if sum(map(len, found)) == len(keys):
        return []
    return sorted(set(keys).difference(*found))


def cut(runs: Iterable[Run], keys: Sequence[int]) -> tuple[list[Run], list[Run]]:
    """The runs in which some of the keys are, and what is left of these runs without them."""
    touched: list[Run] = []
    left: list[Run] = []
    for run in runs:
        found = within(keys, run)
        if found:
            touched.append(run)
            left.extend(run.part(span) for span in rest(run, spans(found)))
    return touched, left


def rewritten(old: Iterable[Run], new: Iterable[Run]) -> Rewritten[Run]:
    """How rows are replaced by others."""
    before = {run.last for run in old}
    rows = {run.last: run for run in new}
    return Rewritten(
        put=[run for key, run in rows.items() if key in before],
        add=[run for key, run in rows.items() if key not in before],
        drop=sorted(before - rows.keys()),
    )


def provided(run: TaskRun, attempts: Sequence[AttemptRun]) -> Iterator[TaskRun]:
    """A run whose accepted attempts are among these, which rise, as runs of which each has one provider."""
    if run.accepted < 0:
        yield run
        return
    wanted = attempts_with(run.accepted, Span(run.first, run.last))
    found = list(overlapping(attempts, wanted))
    parts = [(Span(max(by.first, wanted.first), min(by.last, wanted.last)), by.device) for by in found]
    for span, provider in [*parts, *((span, None) for span in rest(wanted, found))]:
        yield run._replace(first=task_of(span.first), last=task_of(span.last), provider=provider)
