"""Rows of PostgreSQL to values of the domain and back.

PostgreSQL keeps every text but one with a NUL in it, and texts come from strangers; so a NUL is kept as two other
characters, and nobody can tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from corpgrid.domain.attempt import Lease
from corpgrid.domain.device import Device, Gpu
from corpgrid.domain.ids import DeviceId, Epoch, JobId, OwnerId, SiteId
from corpgrid.domain.job import Job
from corpgrid.stores.rows import Row, device_of, job_of
from corpgrid.stores.runs import AttemptRun, TaskRun

_ESCAPE, _NUL = "\ue000", "\ue0000"
_GPUS = 37


def sent(value: Any) -> Any:
    """A parameter as PostgreSQL takes it."""
    if isinstance(value, str):
        return _sent_text(value)
    if isinstance(value, list) and value:
        if isinstance(value[0], str):
            everything = "".join(value)
            return list(map(_sent_text, value)) if "\0" in everything or _ESCAPE in everything else value
        if isinstance(value[0], tuple):
            return list(map(_sent_row, value))
    return value


def received(row: Row) -> tuple[Any, ...]:
    """A row with its texts as they were sent."""
    return tuple(received_text(value) if isinstance(value, str) else value for value in row)


def received_text(text: str) -> str:
    """A text as it was sent."""
    return text.replace(_NUL, "\0").replace(_ESCAPE + "1", _ESCAPE) if _ESCAPE in text else text


def columns(rows: Iterable[Iterable[Any]]) -> list[list[Any]]:
    """Rows, of which there is one at least, as columns."""
    return list(map(list, zip(*rows, strict=True)))


def one_column(rows: Iterable[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
    """Rows of a type that the database knows, as the one column of a statement; none without rows."""
    found = list(rows)
    return [found] if found else []


def lease_of(row: Row, job: Mapping[int, JobId], device: Mapping[int, DeviceId]) -> Lease:
    """A row of ``leases``."""
    epoch, of, for_job, granted_at, until, remaining = row
    return Lease(Epoch(epoch), device[of], job[for_job], granted_at, until, remaining)


def task_run_of(row: Row) -> TaskRun:
    """A row of ``job_shards``."""
    run = TaskRun.of(row)
    return run._replace(reason=received_text(run.reason)) if _ESCAPE in run.reason else run


def attempt_run_of(row: Row) -> AttemptRun:
    """A row of ``job_attempts``."""
    run = AttemptRun.of(row)
    if _ESCAPE not in run.owner + run.site + run.reason:
        return run
    owner, site, reason = map(received_text, (run.owner, run.site, run.reason))
    return run._replace(owner=OwnerId(owner), site=SiteId(site), reason=reason)


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


def _sent_row(row: tuple[Any, ...]) -> tuple[Any, ...]:
    everything = "".join([value for value in row if value.__class__ is str])
    if "\0" in everything or _ESCAPE in everything:
        return tuple(map(sent, row))
    return row


def _sent_text(text: str) -> str:
    return text.replace(_ESCAPE, _ESCAPE + "1").replace("\0", _NUL)
