"""What the rows of every SQL store have in common: keys, the numbers of states, and the columns of jobs and devices.

A dialect's own module says how its tasks and attempts, which come by the hundred, are turned.  States there are small
numbers: indexes on them cost half of what indexes on words do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from functools import lru_cache, partial
from itertools import chain
from typing import Any, TypeVar

from corpgrid.domain.attempt import Attempt, AttemptState
from corpgrid.domain.device import Device, DeviceState, Facts, Gpu, PowerStatus
from corpgrid.domain.ids import DeviceId, JobId, KeyId, OwnerId, SiteId, TaskKey
from corpgrid.domain.job import Counts, Job, JobState, Purpose, Task, TaskState
from corpgrid.domain.reputation import Beta

Row = Sequence[Any]

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

make_task: Callable[[Iterable[Any]], Task] = partial(tuple.__new__, Task)
make_attempt: Callable[[Iterable[Any]], Attempt] = partial(tuple.__new__, Attempt)
"""``_make`` without its check of the length, which the statements give."""

Word = TypeVar("Word", bound=StrEnum)


def _numbers(members: Sequence[Word]) -> Callable[[Word], int]:
    return {member: number for number, member in enumerate(members)}.__getitem__


def _words(kind: type[Word]) -> Callable[[Word], str]:
    return {member: str(member.value) for member in kind}.__getitem__


task_state_number = _numbers(TASK_STATES)
purpose_number, attempt_state_number = _numbers(PURPOSES), _numbers(ATTEMPT_STATES)
_job_word, _device_word = _words(JobState), _words(DeviceState)


def by_task(attempts: Iterable[Attempt]) -> dict[TaskKey, tuple[Attempt, ...]]:
    """Attempts, which come by task and number, under their tasks."""
    found: dict[TaskKey, tuple[Attempt, ...]] = {}
    for attempt in attempts:
        key = (attempt[0], attempt[1])
        found[key] = (*found[key], attempt) if key in found else (attempt,)
    return found


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


def returned(attempt: Attempt) -> bool:
    """Whether a result of it is stored that may still be compared."""
    return attempt.batch > 0 and attempt.state in {AttemptState.RETURNED, AttemptState.ACCEPTED}
