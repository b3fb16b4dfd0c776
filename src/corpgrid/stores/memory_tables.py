"""The tables of the store in memory, and the indexes that make its questions cheap.

A task that nobody touched has no row: it is what its job says of all its tasks.  A million queued tasks cost two
megabytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass, field

from corpgrid.domain.attempt import LIVE, Attempt, AttemptState, Lease
from corpgrid.domain.device import Device
from corpgrid.domain.effects import AuditEntry, Checkpoint, NewJob, Standing, StoredBatch
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, TaskKey
from corpgrid.domain.job import TERMINAL, Job, JobSpec, JobState, Task, TaskState
from corpgrid.stores.presence import BARRED

_WANTING = frozenset({TaskState.READY, TaskState.LEASED, TaskState.PROVISIONAL})


class Marks:
    """A set of indexes below ``size``, one byte each, that gives its smallest members fast."""

    def __init__(self, size: int, *, full: bool) -> None:
        self._flags = bytearray(b"\x01") * size if full else bytearray(size)
        self._first = 0

    def set(self, index: int, *, member: bool) -> None:
        """Make an index a member, or not."""
        self._flags[index] = member
        if member and index < self._first:
            self._first = index

    def smallest(self, count: int) -> Iterator[int]:
        """At most ``count`` members, rising."""
        place = self._first = max(self._flags.find(1, self._first), 0)
        for _ in range(count):
            place = self._flags.find(1, place)
            if place < 0:
                return
            yield place
            place += 1


@dataclass(slots=True)
class JobRows:
    """One job with its tasks.

    Attributes:
        order: rises with every job.
        tasks: those that were ever changed.
        ended: (final_rev, index), sorted.
    """

    order: int
    row: Job
    spec: JobSpec
    envelope: bytes
    copies: int
    fresh: Marks
    tried: Marks
    tasks: dict[int, Task] = field(default_factory=dict)
    provisional: set[int] = field(default_factory=set)
    ended: list[tuple[int, int]] = field(default_factory=list)

    def task(self, index: int) -> Task | None:
        """One task, or None if the job has no such index."""
        found = self.tasks.get(index)
        if found is None and 0 <= index < self.row.tasks:
            return Task(job=self.row.id, index=index, open=self.copies)
        return found

    def put(self, task: Task) -> None:
        """Replace a task's row."""
        old, index = self.task(task.index), task.index
        wanting = task.open > 0 and task.state in _WANTING
        self.fresh.set(index, member=wanting and task.attempts == 0)
        self.tried.set(index, member=wanting and task.attempts > 0)
        if task.state is TaskState.PROVISIONAL:
            self.provisional.add(index)
        else:
            self.provisional.discard(index)
        self._end(old.final_rev if old else 0, task)
        self.tasks[index] = task

    def ended_after(self, rev: int, index: int, limit: int) -> list[Task]:
        """Tasks that ended after a place."""
        start = bisect_right(self.ended, (rev, index))
        return [self.tasks[place] for _, place in self.ended[start : start + limit]]

    def _end(self, old_rev: int, task: Task) -> None:
        if old_rev != task.final_rev:
            if old_rev:
                del self.ended[bisect_left(self.ended, (old_rev, task.index))]
            if task.final_rev:
                insort(self.ended, (task.final_rev, task.index))


class Tables:
    """All rows."""

    def __init__(self) -> None:
        self.jobs: dict[JobId, JobRows] = {}
        self.attached: dict[Digest, dict[JobId, bytes]] = defaultdict(dict)
        self.attempts: dict[TaskKey, dict[int, Attempt]] = {}
        self.leases: dict[Epoch, Lease] = {}
        self.devices: dict[DeviceId, Device] = {}
        self.standings: dict[tuple[DeviceId, Digest], dict[Digest, Standing]] = {}
        self.batches: dict[int, StoredBatch] = {}
        self.checkpoints: dict[TaskKey, list[Checkpoint]] = defaultdict(list)
        self.audit: list[AuditEntry] = []
        self.waiting: dict[TaskKey, float] = {}
        self._barred: set[DeviceId] = set()
        self._live: dict[DeviceId, set[tuple[Epoch, TaskKey, int]]] = defaultdict(set)
        self._leases: dict[DeviceId, set[Epoch]] = defaultdict(set)
        self._provisional: dict[DeviceId, set[TaskKey]] = defaultdict(set)
        self._provider: dict[TaskKey, DeviceId] = {}
        self._order: dict[DeviceId, int] = {}

    # -- rows

    def add_job(self, new: NewJob) -> None:
        """A new job with all its tasks and what came with it."""
        for digest, content in dict(new.attachments).items():
            self.attached[digest][new.job.id] = content
        tasks = new.job.tasks
        fresh, tried = Marks(tasks, full=new.copies > 0), Marks(tasks, full=False)
        self.jobs[new.job.id] = JobRows(len(self.jobs), new.job, new.spec, new.envelope, new.copies, fresh, tried)

    def put_task(self, task: Task) -> None:
        """Replace a task's row; its accepted attempt is there already."""
        key = (task.job, task.index)
        self.jobs[task.job].put(task)
        if task.state is TaskState.WAITING:
            self.waiting[key] = task.ready_at
        else:
            self.waiting.pop(key, None)
        provider = self._provider.pop(key, None)
        if provider is not None:
            self._provisional[provider].discard(key)
        accepted = self.attempts.get(key, {}).get(task.accepted)
        if task.state is TaskState.PROVISIONAL and accepted is not None:
            self._provider[key] = accepted.device
            self._provisional[accepted.device].add(key)

    def put_attempt(self, attempt: Attempt) -> None:
        """Add or replace an attempt."""
        key = (attempt.job, attempt.index)
        rows = self.attempts.setdefault(key, {})
        old = rows.get(attempt.number)
        if old is not None:
            self._live[old.device].discard((old.epoch, key, old.number))
        rows[attempt.number] = attempt
        if attempt.state in LIVE:
            self._live[attempt.device].add((attempt.epoch, key, attempt.number))

    def put_lease(self, lease: Lease) -> None:
        """Add, replace or (with nothing remaining) delete a lease."""
        old = self.leases.pop(lease.epoch, None)
        if old is not None:
            self._leases[old.device].discard(old.epoch)
        if lease.remaining > 0:
            self.leases[lease.epoch] = lease
            self._leases[lease.device].add(lease.epoch)

    def put_device(self, device: Device) -> None:
        """Add or replace a device."""
        self.devices[device.id] = device
        self._order.setdefault(device.id, len(self._order))
        if device.state in BARRED:
            self._barred.add(device.id)
        else:
            self._barred.discard(device.id)

    def put_standing(self, standing: Standing) -> None:
        """Add or replace a standing, which becomes the newest of its device and bundle."""
        shapes = self.standings.setdefault((standing.device, standing.bundle), {})
        shapes.pop(standing.fingerprint, None)
        shapes[standing.fingerprint] = standing

    # -- all tasks of a job at once

    def finalise(self, job: JobId, rev: int) -> None:
        """Provisional tasks become final."""
        rows = self.jobs[job]
        for index in sorted(rows.provisional):
            self.put_task(rows.tasks[index]._replace(state=TaskState.FINAL, final_rev=rev))

    def cancel(self, job: JobId, rev: int) -> None:
        """Tasks that are not terminal become cancelled, and nobody works on them any more."""
        rows = self.jobs[job]
        for index in range(rows.row.tasks):
            task = rows.task(index)
            if task is not None and task.state not in TERMINAL:
                self.put_task(task._replace(state=TaskState.CANCELLED, open=0, live=0, final_rev=rev))
            for attempt in self.attempts_of((job, index)):
                if attempt.state in LIVE:
                    self.put_attempt(attempt._replace(state=AttemptState.STOPPED))
        for lease in [lease for lease in self.leases.values() if lease.job == job]:
            self.put_lease(lease._replace(remaining=0))

    # -- old jobs

    def throw_away(self, jobs: Container[JobId]) -> None:
        """What these jobs brought is gone: batches, attached blobs, checkpoints."""
        self.batches = {number: batch for number, batch in self.batches.items() if batch.job not in jobs}
        for holders in self.attached.values():
            for job in [job for job in holders if job in jobs]:
                del holders[job]
        for key in [key for key in self.checkpoints if key[0] in jobs]:
            del self.checkpoints[key]

    # -- questions

    def running(self) -> list[JobRows]:
        """Running jobs, those first that go first."""
        jobs = (rows for rows in self.jobs.values() if rows.row.state is JobState.RUNNING)
        return sorted(jobs, key=lambda rows: (-rows.row.priority, rows.row.created_at, rows.order))

    def leases_of(self, device: DeviceId) -> list[Lease]:
        """The leases of a device."""
        return [self.leases[epoch] for epoch in self._leases.get(device, ())]

    def live_tasks(self, device: DeviceId, epoch: Epoch | None = None) -> set[TaskKey]:
        """Tasks on which a device works, under one lease or any."""
        return {key for of, key, _ in self._live.get(device, ()) if epoch is None or of == epoch}

    def tainted(self) -> Iterator[TaskKey]:
        """Provisional tasks whose accepted result came from a barred device."""
        for device in sorted(self._barred, key=self._order.__getitem__):
            yield from sorted(self._provisional.get(device, ()), key=self.place)

    def place(self, key: TaskKey) -> tuple[int, int]:
        """Where a task stands among all tasks."""
        return self.jobs[key[0]].order, key[1]

    def attempts_of(self, key: TaskKey) -> tuple[Attempt, ...]:
        """All attempts of a task, by number."""
        rows = self.attempts.get(key, {})
        return tuple(rows[number] for number in sorted(rows))
