"""Rows of SQLite to values of the domain and back.

What a tick handles by the hundred (tasks, attempts) is turned column by column, so that the work is done in C.  States
there are small numbers: indexes on them cost half of what indexes on words do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache, partial
from itertools import chain
from typing import Any, TypeVar

from corpgrid.domain.attempt import Attempt, AttemptState, Lease
from corpgrid.domain.device import Device, DeviceState, Facts, Gpu, PowerStatus
from corpgrid.domain.ids import DeviceId, Epoch, JobId, KeyId, OwnerId, SiteId, TaskKey
from corpgrid.domain.job import Counts, Job, JobState, Purpose, Task, TaskState
from corpgrid.domain.reputation import Beta
from corpgrid.errors import StoreError
from corpgrid.stores.sqlite_database import Row

INDEX_BITS = 24
NUMBER_BITS = 12
LAST_INDEX = (1 << INDEX_BITS) - 1
LAST_NUMBER = (1 << NUMBER_BITS) - 1
"""A task's key is ``job number << INDEX_BITS | index``, an attempt's is ``task key << NUMBER_BITS | number``."""

TASK_STATES = (
    TaskState.WAITING,
    TaskState.READY,
    TaskState.LEASED,
    TaskState.PROVISIONAL,
    TaskState.FINAL,
    TaskState.FAILED,
    TaskState.CANCELLED,
)
PURPOSES = (Purpose.PRIMARY, Purpose.AUDIT, Purpose.ARBITER)
ATTEMPT_STATES = (
    AttemptState.LEASED,
    AttemptState.RUNNING,
    AttemptState.YIELDED,
    AttemptState.RETURNED,
    AttemptState.ACCEPTED,
    AttemptState.REJECTED,
    AttemptState.EXPIRED,
    AttemptState.CRASHED,
    AttemptState.STOPPED,
    AttemptState.REFUSED,
)
"""By the number that stands for them in the file (the table ``words``): append, never reorder."""
LAST_LIVE = ATTEMPT_STATES.index(AttemptState.YIELDED)

_AS_MADE = (TASK_STATES.index(TaskState.READY), PURPOSES.index(Purpose.PRIMARY), 1, 0, 0, 0, -1, "", 0.0, 0)

_task: Callable[[Iterable[Any]], Task] = partial(tuple.__new__, Task)
_attempt: Callable[[Iterable[Any]], Attempt] = partial(tuple.__new__, Attempt)
"""``_make`` without its check of the length, which the statements give."""

Word = TypeVar("Word", bound=StrEnum)


def _numbers(members: Sequence[Word]) -> Callable[[Word], int]:
    return {member: number for number, member in enumerate(members)}.__getitem__


def _words(kind: type[Word]) -> Callable[[Word], str]:
    return {member: str(member.value) for member in kind}.__getitem__


task_state_number = _numbers(TASK_STATES)
_purpose_number, _attempt_number = _numbers(PURPOSES), _numbers(ATTEMPT_STATES)
_job_word, _device_word = _words(JobState), _words(DeviceState)


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
    return list(map(_task, columns))


def task_values(tasks: Sequence[Task], number: Mapping[JobId, int]) -> list[Any]:
    """Values of ``put_tasks``."""
    if not tasks:
        return []
    jobs, indexes, states, purposes, *rest = zip(*tasks, strict=True)
    return _flat(_keys(jobs, indexes, number), map(task_state_number, states), map(_purpose_number, purposes), *rest)


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
    return list(map(_attempt, columns))


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
        map(_purpose_number, purposes),
        epochs,
        map(_attempt_number, states),
        *rest,
    )


def by_task(attempts: Iterable[Attempt]) -> dict[TaskKey, tuple[Attempt, ...]]:
    """Attempts, which come by task and number, under their tasks."""
    found: dict[TaskKey, tuple[Attempt, ...]] = {}
    for attempt in attempts:
        key = (attempt[0], attempt[1])
        found[key] = (*found[key], attempt) if key in found else (attempt,)
    return found


def lease_of(row: Row, job_id: Mapping[int, JobId], device_id: Mapping[int, DeviceId]) -> Lease:
    """A row of ``leases``."""
    epoch, device, job, granted_at, until, remaining = row
    return Lease(Epoch(epoch), device_id[device], job_id[job], granted_at, until, remaining)


def job_of(row: Row) -> Job:
    """A row of ``jobs``: number, id, and the columns up to ``reason``."""
    return Job(
        id=JobId(row[1]),
        name=row[2],
        submitter=KeyId(row[3]),
        tenant=row[4],
        priority=row[5],
        tasks=row[6],
        created_at=row[7],
        state=JobState(row[8]),
        finished_at=row[9],
        rev=row[10],
        counts=Counts._make(row[11:18]),
        unsettled=row[18],
        executions=row[19],
        audits=row[20],
        mismatches=row[21],
        audit_rate=row[22],
        error_bound=row[23],
        reason=row[24],
    )


def job_values(job: Job) -> Iterator[Any]:
    """Values of a job's row after its number or id."""
    return chain(
        (job.name, job.submitter, job.tenant, job.priority, job.tasks, job.created_at, _job_word(job.state)),
        (job.finished_at, job.rev, *job.counts),
        (job.unsettled, job.executions, job.audits, job.mismatches, job.audit_rate, job.error_bound, job.reason),
    )


def device_of(row: Row) -> Device:
    """A row of ``devices``, its GPUs last."""
    return Device(
        id=DeviceId(row[1]),
        public_key=row[2],
        owner=OwnerId(row[3]),
        site=SiteId(row[4]),
        state=DeviceState(row[5]),
        reason=row[6],
        trusted=bool(row[7]),
        name=row[8],
        facts=_facts_of(row),
        power=PowerStatus(on_ac_power=bool(row[21]), battery_percent=row[22]),
        blockers=_texts_of(row[23]),
        capacity=row[24],
        leased=row[25],
        session=row[26],
        boot=row[27],
        registered_at=row[28],
        last_seen=row[29],
        completed=row[30],
        correctness=Beta._make(row[31:34]),
        availability=Beta._make(row[34:37]),
    )


def _facts_of(row: Row) -> Facts:
    return Facts(
        hostname=row[9],
        operating_system=row[10],
        architecture=row[11],
        python=row[12],
        engines=_texts_of(row[13]),
        sandbox=row[14],
        cpus=row[15],
        memory_bytes=row[16],
        disk_free_bytes=row[17],
        gpus=_gpus_of(row[37]),
        labels=_texts_of(row[18]),
        thermal_headroom=row[19],
        agent_version=row[20],
    )


def device_values(device: Device) -> Iterator[Any]:
    """Values of ``put_devices``."""
    facts = device.facts
    return chain(
        (device.id, device.public_key, device.owner, device.site, _device_word(device.state), device.reason),
        (device.trusted, device.name, facts.hostname, facts.operating_system, facts.architecture, facts.python),
        (_text_of(facts.engines), facts.sandbox, facts.cpus, facts.memory_bytes, facts.disk_free_bytes),
        (_text_of(facts.labels), facts.thermal_headroom, facts.agent_version),
        (device.power.on_ac_power, device.power.battery_percent, _text_of(device.blockers)),
        (device.capacity, device.leased, device.session, device.boot, device.registered_at, device.last_seen),
        (device.completed, *device.correctness, *device.availability),
    )


def gpu_values(device: int, gpus: Sequence[Gpu]) -> Iterator[Any]:
    """Values of ``add_gpus``."""
    for position, gpu in enumerate(gpus):
        yield from (device, position, gpu.backend, gpu.name, gpu.uuid, gpu.vram_bytes, gpu.driver, gpu.compute)


@lru_cache(maxsize=4_096)
def _texts_of(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


@lru_cache(maxsize=4_096)
def _gpus_of(text: str) -> tuple[Gpu, ...]:
    names = ("backend", "name", "uuid", "vram_bytes", "driver", "compute")
    return tuple(Gpu(**dict(zip(names, gpu, strict=True))) for gpu in json.loads(text))


@lru_cache(maxsize=4_096)
def _text_of(texts: tuple[str, ...]) -> str:
    return json.dumps(texts)


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
