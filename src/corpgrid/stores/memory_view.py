"""From a need to a view, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from corpgrid.domain.attempt import LIVE, AttemptState, Lease
from corpgrid.domain.device import Device
from corpgrid.domain.effects import Need, OwnerPresence, Standing, View
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, OwnerId, TaskKey
from corpgrid.domain.job import ComparatorKind, JobState, Task
from corpgrid.stores.memory_tables import Tables
from corpgrid.stores.settings import ItemPayload

_RETURNED = frozenset({AttemptState.RETURNED, AttemptState.ACCEPTED})


class Selection:
    """The rows of one need; what they point at is selected with them."""

    def __init__(self, tables: Tables, *, now: float) -> None:
        self._tables = tables
        self._now = now
        self._jobs: set[JobId] = set()
        self._tasks: dict[TaskKey, Task] = {}
        self._devices: dict[DeviceId, Device] = {}
        self._leases: dict[Epoch, Lease] = {}
        self._ready: list[TaskKey] = []
        self._due: list[TaskKey] = []
        self._expired: list[Epoch] = []
        self._tainted: list[TaskKey] = []

    def select(self, need: Need) -> None:
        """Select everything that is needed."""
        for job in need.jobs:
            self._add_job(job)
        for device in need.devices | need.release:
            self._add_device(device)
            for lease in self._tables.leases_of(device):
                self._add_lease(lease)
        for device in need.release:
            for key in self._tables.live_tasks(device):
                self._add_task(key)
        for key in need.tasks:
            self._add_task(key)
        if need.sweep:
            self._sweep(need.sweep_limit)
        if need.ready_limit:
            self._select_ready(need.ready_limit)

    def view(
        self,
        *,
        last_tick: float,
        next_epoch: int,
        next_batch: int,
        owners: Mapping[OwnerId, OwnerPresence],
        item_payload: ItemPayload,
    ) -> View:
        """What was selected."""
        tables = self._tables
        return View(
            now=self._now,
            last_tick=last_tick,
            next_epoch=next_epoch,
            next_batch=next_batch,
            jobs={job: tables.jobs[job].row for job in self._jobs},
            specs={job: tables.jobs[job].spec for job in self._jobs},
            tasks=self._tasks,
            attempts={key: tables.attempts_of(key) for key in self._tasks if tables.attempts.get(key)},
            devices=self._devices,
            leases=self._leases,
            ready=tuple(self._ready),
            due=tuple(self._due),
            expired=tuple(self._expired),
            tainted=tuple(self._tainted),
            tainted_jobs=self._tainted_jobs(),
            owners=owners,
            payloads=self._payloads(item_payload),
            standings=self._standings(),
        )

    def _sweep(self, limit: int) -> None:
        tables, taken = self._tables, 0
        for lease in sorted(tables.leases.values(), key=lambda lease: (lease.until, lease.epoch)):
            if lease.until > self._now or taken >= limit:
                break
            taken += lease.remaining
            self._expired.append(lease.epoch)
            self._add_lease(lease)
            for key in tables.live_tasks(lease.device, lease.epoch):
                self._add_task(key)
        due = [(ready_at, tables.place(key), key) for key, ready_at in tables.waiting.items() if ready_at <= self._now]
        self._due = [key for _, _, key in sorted(due)[:limit]]
        self._tainted = list(islice(tables.tainted(), limit))
        for key in (*self._due, *self._tainted):
            self._add_task(key)
        for job, rows in tables.jobs.items():
            if rows.row.state is JobState.RUNNING and rows.row.unsettled == 0:
                self._add_job(job)

    def _select_ready(self, limit: int) -> None:
        fresh_left = tried_left = limit
        for rows in self._tables.running():
            fresh = list(rows.fresh.smallest(fresh_left))
            tried = list(rows.tried.smallest(tried_left))
            fresh_left, tried_left = fresh_left - len(fresh), tried_left - len(tried)
            for index in sorted([*fresh, *tried]):
                self._ready.append((rows.row.id, index))
                self._add_task((rows.row.id, index))
            if not fresh_left and not tried_left:
                break

    def _add_job(self, job: JobId) -> None:
        if job in self._tables.jobs:
            self._jobs.add(job)

    def _add_device(self, device: DeviceId) -> None:
        row = self._tables.devices.get(device)
        if row is not None:
            self._devices[device] = row

    def _add_lease(self, lease: Lease) -> None:
        self._leases[lease.epoch] = lease
        self._add_device(lease.device)
        self._add_job(lease.job)

    def _add_task(self, key: TaskKey) -> None:
        rows = self._tables.jobs.get(key[0])
        task = rows.task(key[1]) if rows is not None else None
        if task is None:
            return
        self._tasks[key] = task
        self._jobs.add(key[0])
        for attempt in self._tables.attempts.get(key, {}).values():
            self._add_device(attempt.device)
            lease = self._tables.leases.get(attempt.epoch)
            if lease is not None and attempt.state in LIVE:
                self._add_lease(lease)

    def _tainted_jobs(self) -> frozenset[JobId]:
        jobs = {job for job, _ in self._tables.tainted()}
        return frozenset(job for job in jobs if self._tables.jobs[job].row.state is JobState.RUNNING)

    def _payloads(self, item_payload: ItemPayload) -> dict[tuple[int, int], bytes]:
        tables = self._tables
        places: set[tuple[int, int]] = set()
        for key in self._tasks:
            if tables.jobs[key[0]].spec.verify.comparator.kind is not ComparatorKind.BYTES:
                attempts = tables.attempts.get(key, {}).values()
                places.update(
                    (row.batch, row.position)
                    for row in attempts
                    if row.batch in tables.batches and row.state in _RETURNED
                )
        return {place: item_payload(tables.batches[place[0]].content, place[1]) for place in sorted(places)}

    def _standings(self) -> dict[tuple[DeviceId, Digest], Standing]:
        bundles = {self._tables.jobs[job].spec.bundle for job in self._jobs}
        found = {}
        for device in self._devices:
            for bundle in bundles:
                shapes = self._tables.standings.get((device, bundle))
                if shapes:
                    found[device, bundle] = next(reversed(shapes.values()))
        return found
