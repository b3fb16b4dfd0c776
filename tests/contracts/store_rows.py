"""Rows for tests of stores: short to write, valid, and equal when their arguments are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from corpgrid.domain.attempt import Attempt, AttemptState, Lease
from corpgrid.domain.device import Device
from corpgrid.domain.effects import Effects, Need, NewJob, StoredBatch, View
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, KeyId, OwnerId, SiteId, TaskKey
from corpgrid.domain.job import (
    Arguments,
    Comparator,
    ComparatorKind,
    Counts,
    Job,
    JobSpec,
    Purpose,
    Task,
    TaskState,
    VerifyPolicy,
)
from corpgrid.ports.store import Store, StoredResult
from corpgrid.stores.settings import StoreSettings
from corpgrid.trust.digest import digest

START = 1_800_000_000.125


class FakeClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


def item_payload(content: bytes, position: int) -> bytes:
    """What ``batch`` put there."""
    return bytes.fromhex(json.loads(content)["payloads"][position])


def batch_blobs(content: bytes) -> Iterable[Digest]:
    """What ``batch`` named."""
    return [Digest(bytes.fromhex(text)) for text in json.loads(content)["blobs"]]


def settings(clock: FakeClock, *, owners_seconds: float = 0.0) -> StoreSettings:
    """Settings under which nothing is remembered longer than a tick."""
    return StoreSettings(clock=clock, item_payload=item_payload, batch_blobs=batch_blobs, owners_seconds=owners_seconds)


def named(text: str) -> Digest:
    """Some digest."""
    return digest(text.encode())


def spec(
    tasks: int, *, kind: ComparatorKind = ComparatorKind.BYTES, bundle: str = "bundle", priority: int = 50
) -> JobSpec:
    return JobSpec(
        name="test",
        bundle=named(bundle),
        arguments=Arguments(tasks=tasks, page_tasks=100, pages=named("pages")),
        not_after=START + 1e6,
        nonce="nonce",
        inputs={"data": named("input")},
        priority=priority,
        verify=VerifyPolicy(comparator=Comparator(kind=kind)),
    )


def new_job(
    name: str,
    tasks: int,
    *,
    copies: int = 1,
    created_at: float = START,
    priority: int = 50,
    kind: ComparatorKind = ComparatorKind.BYTES,
    bundle: str = "bundle",
) -> NewJob:
    job = Job(
        id=JobId(name),
        name="test",
        submitter=KeyId("key_a"),
        tenant="default",
        priority=priority,
        tasks=tasks,
        created_at=created_at,
        counts=Counts(ready=tasks),
        unsettled=tasks,
        audit_rate=0.1,
    )
    job_spec = spec(tasks, kind=kind, bundle=bundle, priority=priority)
    return NewJob(job=job, spec=job_spec, envelope=name.encode(), copies=copies)


def device(name: str, *, owner: str = "ann", seen: float = START) -> Device:
    return Device(id=DeviceId(name), public_key=named(name), owner=OwnerId(owner), site=SiteId("site"), last_seen=seen)


def key(job: str, index: int) -> TaskKey:
    return JobId(job), index


def attempt(job: str, index: int, *, on: Device, epoch: int, number: int = 0) -> Attempt:
    return Attempt(JobId(job), index, number, on.id, on.owner, on.site, purpose=Purpose.PRIMARY, epoch=Epoch(epoch))


def lease(epoch: int, *, on: Device, job: str, until: float, remaining: int) -> Lease:
    return Lease(Epoch(epoch), on.id, JobId(job), granted_at=START, until=until, remaining=remaining)


def batch(
    number: int, job: str, on: Device, *, payloads: Sequence[bytes] = (), blobs: Sequence[Digest] = ()
) -> StoredBatch:
    content = {"payloads": [payload.hex() for payload in payloads], "blobs": [blob.hex() for blob in blobs]}
    return StoredBatch(number, JobId(job), on.id, json.dumps(content).encode())


def need(
    *,
    devices: Iterable[str] = (),
    tasks: Iterable[TaskKey] = (),
    jobs: Iterable[str] = (),
    release: Iterable[str] = (),
    ready: int = 0,
    sweep: int = 0,
) -> Need:
    """A need; ``sweep`` is its limit, 0 for none."""
    return Need(
        devices=frozenset(map(DeviceId, devices)),
        tasks=frozenset(tasks),
        jobs=frozenset(map(JobId, jobs)),
        release=frozenset(map(DeviceId, release)),
        ready_limit=ready,
        sweep=sweep > 0,
        sweep_limit=sweep,
    )


async def tick(store: Store, wanted: Need | None = None, effects: Effects | None = None) -> View:
    """Commit effects; the view in which they were decided."""
    views = []

    def decide(view: View) -> Effects:
        views.append(view)
        return effects or Effects()

    await store.transact(wanted or Need(), decide)
    (view,) = views
    return view


async def rev_up(store: Store, job: str, **changes: object) -> Job:
    """The job's row with the next rev, and other changes."""
    row = await store.job(JobId(job))
    assert row is not None
    return replace(row, rev=row.rev + 1, **changes)  # type: ignore[arg-type]


async def ended(store: Store, job: str, *, after: tuple[int, int] = (0, -1), limit: int = 100) -> list[StoredResult]:
    """Tasks of a job that is there and ended after a place."""
    found = await store.ended(JobId(job), after=after, limit=limit)
    assert found is not None, job
    row, results = found
    assert row == await store.job(JobId(job))
    return results


async def hand_out(store: Store, job: str, indexes: Sequence[int], on: Device, *, ttl: float = 20.0) -> Epoch:
    """Lease tasks to a device; the epoch."""
    tasks = {task.index: task for task in await store.tasks(JobId(job), limit=100_000)}
    wanted = [tasks[index] for index in indexes]
    epoch = (await tick(store)).next_epoch
    rows = tuple(attempt(job, task.index, on=on, epoch=epoch, number=task.attempts) for task in wanted)
    state = TaskState.LEASED
    await tick(
        store,
        effects=Effects(
            tasks=tuple(row._replace(state=state, open=0, live=1, attempts=row.attempts + 1) for row in wanted),
            new_attempts=rows,
            leases=(lease(epoch, on=on, job=job, until=START + ttl, remaining=len(rows)),),
        ),
    )
    return Epoch(epoch)


async def bring_back(store: Store, job: str, indexes: Sequence[int], on: Device, *, payload: bytes = b"result") -> int:
    """Commit results of the newest attempts of leased tasks, which become provisional; the batch's number."""
    tasks = {task.index: task for task in await store.tasks(JobId(job), limit=100_000)}
    number = (await tick(store)).next_batch
    done, changed = [], []
    for position, index in enumerate(indexes):
        row = (await store.attempts(JobId(job), index))[-1]
        result = digest(payload)
        done.append(row._replace(state=AttemptState.RETURNED, batch=number, position=position, digest=result))
        changed.append(tasks[index]._replace(state=TaskState.PROVISIONAL, live=0, accepted=row.number))
    gone = tuple(lease(row.epoch, on=on, job=job, until=0.0, remaining=0) for row in done[:1])
    rows = batch(number, job, on, payloads=[payload] * len(indexes))
    await tick(store, effects=Effects(tasks=tuple(changed), attempts=tuple(done), leases=gone, batches=(rows,)))
    return number


def task(job: str, index: int, **fields: object) -> Task:
    return Task(JobId(job), index, **fields)  # type: ignore[arg-type]
