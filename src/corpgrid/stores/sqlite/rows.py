"""Tasks, attempts and leases between SQLite's rows and the domain, column by column, so that the work is done in C."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from corpgrid.domain.attempt import Attempt, Lease
from corpgrid.domain.ids import DeviceId, Epoch, JobId
from corpgrid.domain.job import Purpose, Task, TaskState
from corpgrid.errors import StoreError
from corpgrid.stores.rows import (
    ATTEMPT_STATES,
    INDEX_BITS,
    LAST_INDEX,
    LAST_NUMBER,
    NUMBER_BITS,
    PURPOSES,
    TASK_STATES,
    attempt_state_number,
    make_attempt,
    make_task,
    purpose_number,
    task_state_number,
)
from corpgrid.stores.sqlite.database import Row

_AS_MADE = (TASK_STATES.index(TaskState.READY), PURPOSES.index(Purpose.PRIMARY), 1, 0, 0, 0, -1, "", 0.0, 0)


def whole_tasks(rows: Iterable[Any]) -> list[list[Any]]:
    """Arrays for ``tasks_of``, of those and of the numbers of tasks that are as they were made."""
    return [[row >> INDEX_BITS, row & LAST_INDEX, *_AS_MADE] if isinstance(row, int) else row for row in rows]


def tasks_of(rows: Sequence[list[Any]], job_id: Callable[[int], JobId]) -> list[Task]:
    """Arrays of ``job_shards`` (twelve columns, ``job`` first, ``ready_at`` perhaps as text)."""
    if not rows:
        return []
    jobs, indexes, states, purposes, *rest, ready_at, final_revs = zip(*rows, strict=True)
    columns = zip(
        map(job_id, jobs),
        indexes,
        map(TASK_STATES.__getitem__, states),
        map(PURPOSES.__getitem__, purposes),
        *rest,
        map(float, ready_at),
        final_revs,
        strict=True,
    )
    return list(map(make_task, columns))


def task_values(tasks: Sequence[Task], number: Mapping[JobId, int]) -> list[Any]:
    """Values of ``put_tasks``."""
    if not tasks:
        return []
    jobs, indexes, states, purposes, *rest = zip(*tasks, strict=True)
    return _flat(_keys(jobs, indexes, number), map(task_state_number, states), map(purpose_number, purposes), *rest)


def attempts_of(
    rows: Sequence[list[Any]], job_id: Callable[[int], JobId], device_id: Callable[[Any], DeviceId]
) -> list[Attempt]:
    """Arrays of ``job_attempts`` (fourteen columns, ``job`` first, the digest in hex, ``seconds`` perhaps as text)."""
    if not rows:
        return []
    jobs, indexes, numbers, devices, owners, sites, purposes, epochs, states, *rest, digests, reasons, seconds = zip(
        *rows, strict=True
    )
    columns = zip(
        map(job_id, jobs),
        indexes,
        numbers,
        map(device_id, devices),
        owners,
        sites,
        map(PURPOSES.__getitem__, purposes),
        epochs,
        map(ATTEMPT_STATES.__getitem__, states),
        *rest,
        map(bytes.fromhex, digests),
        reasons,
        map(float, seconds),
        strict=True,
    )
    return list(map(make_attempt, columns))


def attempt_values(
    attempts: Sequence[Attempt], number: Mapping[JobId, int], device: Mapping[DeviceId, int]
) -> list[Any]:
    """Values of ``add_attempts`` and ``put_attempts``."""
    if not attempts:
        return []
    jobs, indexes, numbers, devices, owners, sites, purposes, epochs, states, *rest = zip(*attempts, strict=True)
    return _flat(
        _attempt_keys(jobs, indexes, numbers, number),
        map(device.__getitem__, devices),
        owners,
        sites,
        map(purpose_number, purposes),
        epochs,
        map(attempt_state_number, states),
        *rest,
    )


def lease_of(row: Row, job_id: Mapping[int, JobId], device_id: Mapping[int, DeviceId]) -> Lease:
    """A row of ``leases``."""
    epoch, device, job, granted_at, until, remaining = row
    return Lease(Epoch(epoch), device_id[device], job_id[job], granted_at, until, remaining)


def _keys(jobs: Sequence[JobId], indexes: Sequence[int], number: Mapping[JobId, int]) -> list[int]:
    return [number[job] << INDEX_BITS | index for job, index in zip(jobs, indexes, strict=True)]


def _attempt_keys(
    jobs: Sequence[JobId], indexes: Sequence[int], numbers: Sequence[int], number: Mapping[JobId, int]
) -> list[int]:
    if max(numbers) > LAST_NUMBER:
        raise StoreError(f"a task has more than {LAST_NUMBER + 1:,} attempts")
    places = zip(jobs, indexes, numbers, strict=True)
    return [(number[job] << INDEX_BITS | index) << NUMBER_BITS | place for job, index, place in places]


def _flat(*columns: Iterable[Any]) -> list[Any]:
    return list(chain.from_iterable(zip(*columns, strict=True)))
