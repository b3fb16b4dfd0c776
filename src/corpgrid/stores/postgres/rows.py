"""Rows of PostgreSQL to values of the domain and back, column by column.

A row has the columns that it has in SQLite.  PostgreSQL keeps every text but one with a NUL in it, and texts come from
strangers; so a NUL is kept as two other characters, and nobody can tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from corpgrid.domain.attempt import Attempt, Lease
from corpgrid.domain.device import Device, Gpu
from corpgrid.domain.ids import DeviceId, Epoch, JobId
from corpgrid.domain.job import Job, Task
from corpgrid.errors import StoreError
from corpgrid.stores.rows import (
    ATTEMPT_STATES,
    INDEX_BITS,
    LAST_INDEX,
    LAST_NUMBER,
    NUMBER_BITS,
    PURPOSES,
    TASK_STATES,
    Row,
    attempt_state_number,
    device_of,
    job_of,
    make_attempt,
    make_task,
    purpose_number,
    task_state_number,
)

_ESCAPE, _NUL = "\ue000", "\ue0000"
_GPUS = 37


def sent(value: Any) -> Any:
    """A parameter as PostgreSQL takes it."""
    if isinstance(value, str):
        return _sent_text(value)
    if isinstance(value, list) and value and isinstance(value[0], str):
        everything = "".join(value)
        if "\0" in everything or _ESCAPE in everything:
            return list(map(_sent_text, value))
    return value


def received(row: Row) -> tuple[Any, ...]:
    """A row with its texts as they were sent."""
    return tuple(_received_text(value) if isinstance(value, str) else value for value in row)


def columns(rows: Iterable[Iterable[Any]]) -> list[list[Any]]:
    """Rows, of which there is one at least, as columns."""
    return list(map(list, zip(*rows, strict=True)))


def tasks_of(rows: Sequence[Row], job: Mapping[int, JobId]) -> list[Task]:
    """Rows of ``job_shards``, the task's key first."""
    if not rows:
        return []
    keys, states, purposes, opens, lives, attempts, failures, accepted, reasons, *rest = zip(*rows, strict=True)
    fields = zip(
        (job[key >> INDEX_BITS] for key in keys),
        (key & LAST_INDEX for key in keys),
        map(TASK_STATES.__getitem__, states),
        map(PURPOSES.__getitem__, purposes),
        opens,
        lives,
        attempts,
        failures,
        accepted,
        _received_column(reasons),
        *rest,
        strict=True,
    )
    return list(map(make_task, fields))


def task_columns(tasks: Sequence[Task], number: Mapping[JobId, int], providers: list[int]) -> list[list[Any]]:
    """Columns of ``put_tasks``."""
    jobs, indexes, states, purposes, *rest = zip(*tasks, strict=True)
    keys = [number[job] << INDEX_BITS | index for job, index in zip(jobs, indexes, strict=True)]
    words = [list(map(task_state_number, states)), list(map(purpose_number, purposes))]
    return [keys, *words, *map(list, rest), providers]


def attempts_of(rows: Sequence[Row], job: Mapping[int, JobId], device: Mapping[Any, DeviceId]) -> list[Attempt]:
    """Rows of ``job_attempts``, the attempt's key first."""
    if not rows:
        return []
    keys, devices, owners, sites, purposes, epochs, states, batches, positions, digests, reasons, seconds = zip(
        *rows, strict=True
    )
    fields = zip(
        (job[key >> (INDEX_BITS + NUMBER_BITS)] for key in keys),
        (key >> NUMBER_BITS & LAST_INDEX for key in keys),
        (key & LAST_NUMBER for key in keys),
        map(device.__getitem__, devices),
        _received_column(owners),
        _received_column(sites),
        map(PURPOSES.__getitem__, purposes),
        epochs,
        map(ATTEMPT_STATES.__getitem__, states),
        batches,
        positions,
        digests,
        _received_column(reasons),
        seconds,
        strict=True,
    )
    return list(map(make_attempt, fields))


def attempt_columns(
    attempts: Sequence[Attempt], number: Mapping[JobId, int], device: Mapping[DeviceId, int]
) -> list[list[Any]]:
    """Columns of ``add_attempts`` and ``put_attempts``."""
    jobs, indexes, numbers, devices, owners, sites, purposes, epochs, states, *rest = zip(*attempts, strict=True)
    if max(numbers) > LAST_NUMBER:
        raise StoreError(f"a task has more than {LAST_NUMBER + 1:,} attempts")
    places = zip(jobs, indexes, numbers, strict=True)
    return [
        [(number[job] << INDEX_BITS | index) << NUMBER_BITS | place for job, index, place in places],
        list(map(device.__getitem__, devices)),
        list(owners),
        list(sites),
        list(map(purpose_number, purposes)),
        list(epochs),
        list(map(attempt_state_number, states)),
        *map(list, rest),
    ]


def lease_of(row: Row, job: Mapping[int, JobId], device: Mapping[int, DeviceId]) -> Lease:
    """A row of ``leases``."""
    epoch, of, for_job, granted_at, until, remaining = row
    return Lease(Epoch(epoch), device[of], job[for_job], granted_at, until, remaining)


def job_of_row(row: Row) -> Job:
    """A row of ``jobs``: number, id, and the columns up to ``reason``."""
    return job_of(received(row))


def device_of_row(row: Row, gpus: Sequence[Row]) -> Device:
    """A row of ``devices``, and those of its GPUs by their place."""
    device = device_of((*received(row[:_GPUS]), "[]"))
    if gpus:
        found = tuple(_gpu_of(received(gpu)) for gpu in gpus)
        device = replace(device, facts=replace(device.facts, gpus=found))
    return device


def _gpu_of(row: Row) -> Gpu:
    _, _, backend, name, uuid, vram_bytes, driver, compute = row
    return Gpu(backend=backend, name=name, uuid=uuid, vram_bytes=vram_bytes, driver=driver, compute=compute)


def _sent_text(text: str) -> str:
    return text.replace(_ESCAPE, _ESCAPE + "1").replace("\0", _NUL)


def _received_text(text: str) -> str:
    return text.replace(_NUL, "\0").replace(_ESCAPE + "1", _ESCAPE) if _ESCAPE in text else text


def _received_column(texts: Sequence[str]) -> Iterable[str]:
    return map(_received_text, texts) if _ESCAPE in "".join(texts) else texts
