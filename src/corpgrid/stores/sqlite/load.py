"""From a need to a view: what a tick reads, in one transaction of the writer.

What is remembered is not read (``remembered``).  The order of reading follows the pointers: leases name tasks,
tasks name attempts, attempts name devices and leases.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from corpgrid.domain.attempt import LIVE, Attempt, Lease
from corpgrid.domain.device import Device
from corpgrid.domain.effects import Need, OwnerPresence, Standing, View
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, OwnerId, TaskKey
from corpgrid.domain.job import ComparatorKind, Job, JobSpec, Task
from corpgrid.stores.rows import INDEX_BITS, LAST_INDEX, by_task, device_of, job_of, returned
from corpgrid.stores.settings import StoreSettings
from corpgrid.stores.sqlite.database import Database, Row, array_of
from corpgrid.stores.sqlite.remembered import Counters, Known, Leases
from corpgrid.stores.sqlite.rows import attempts_of, tasks_of, whole_tasks
from corpgrid.trust.jobspec import decode_spec

Rows = list[list[Any]]
_KEY: Callable[[Task], TaskKey] = itemgetter(0, 1)
_JOB: Callable[[TaskKey], JobId] = itemgetter(0)


def load(database: Database, known: Known, need: Need, *, now: float, settings: StoreSettings) -> View:
    """Read a need."""
    return _Load(database, known, now=now, settings=settings).view(need)


class _Load:
    """One view in the making."""

    def __init__(self, database: Database, known: Known, *, now: float, settings: StoreSettings) -> None:
        self._database = database
        self._known = known
        self._now = now
        self._settings = settings
        self._jobs: set[JobId] = set()
        self._devices: set[DeviceId] = set()
        self._tasks: dict[TaskKey, Task] = {}
        self._attempts: dict[TaskKey, tuple[Attempt, ...]] = {}
        self._leases: dict[Epoch, Lease] = {}

    def view(self, need: Need) -> View:
        self._known.start_tick()
        counters = self._counters()
        leases = self._all_leases()
        keys = self._need(need, leases)
        expired, due, tainted = self._sweep(need, leases) if need.sweep else ((), (), ())
        keys.update(due, tainted, self._live_tasks(need.release, expired))
        fresh, tried = self._ready(need.ready_limit)
        self._follow(keys, tried, leases)
        jobs = self._load_jobs(sweep=need.sweep)
        devices = self._load_devices()
        specs = self._specs(jobs)
        return View(
            now=self._now,
            last_tick=counters.last_tick,
            next_epoch=counters.next_epoch,
            next_batch=counters.next_batch,
            jobs=jobs,
            specs=specs,
            tasks=self._tasks,
            attempts=self._attempts,
            devices=devices,
            leases=self._leases,
            ready=self._in_order(fresh, tried, jobs),
            due=due,
            expired=expired,
            tainted=tainted,
            tainted_jobs=self._tainted_jobs(),
            owners=self._owners(),
            payloads=self._payloads(specs),
            standings=self._standings(devices, specs),
        )

    def _counters(self) -> Counters:
        if self._known.counters is None:
            self._known.counters = Counters._make(self._database.rows("grid")[0])
        return self._known.counters

    def _all_leases(self) -> Leases:
        if self._known.leases is None:
            self._known.leases = Leases(map(Lease._make, self._database.rows("all_leases")))
        return self._known.leases

    # -- which rows

    def _need(self, need: Need, leases: Leases) -> set[TaskKey]:
        self._jobs.update(need.jobs)
        self._devices.update(need.devices, need.release)
        for device in need.devices | need.release:
            self._add_leases(leases.of(device))
        return set(need.tasks)

    def _sweep(self, need: Need, leases: Leases) -> tuple[tuple[Epoch, ...], tuple[TaskKey, ...], tuple[TaskKey, ...]]:
        database, limit = self._database, need.sweep_limit
        expired = leases.expired(self._now, limit)
        self._add_leases(expired)
        due = self._keys(database.rows("due_tasks", self._now, limit))
        tainted = self._keys(database.rows("tainted_tasks", limit))
        return tuple(lease.epoch for lease in expired), due, tainted

    def _live_tasks(self, release: Iterable[DeviceId], epochs: Sequence[Epoch]) -> tuple[TaskKey, ...]:
        database = self._database
        devices = self._known.devices.known(release)
        of_devices = database.rows_for("live_tasks_of_devices", devices)
        return self._keys(of_devices + database.rows_for("live_tasks_of_epochs", epochs))

    def _ready(self, limit: int) -> tuple[list[TaskKey], list[TaskKey]]:
        """Fresh tasks, and tasks that were tried before."""
        if not limit:
            return [], []
        ((fresh, tried),) = self._database.rows("ready_tasks", limit)
        return self._add_tasks(whole_tasks(array_of(fresh))), self._add_tasks(array_of(tried))

    def _follow(self, keys: set[TaskKey], tried: Iterable[TaskKey], leases: Leases) -> None:
        """The rows of all other tasks, and of all attempts; what they point at is wanted too."""
        worked = self._known.worked
        untold = worked.find(tried, self._tasks, self._attempts)
        unread = worked.find(keys - self._tasks.keys(), self._tasks, self._attempts)
        if unread:
            self._known.jobs.known({job for job, _ in unread})
            rows = self._database.arrays_for("tasks_by_key", self._numbers(unread))
            untold += [key for key in self._add_tasks(rows) if self._tasks[key].attempts]
        if untold:
            self._add_attempts(self._database.arrays_for("attempts_by_key", self._numbers(untold)))
        epochs: set[Epoch] = set()
        for attempts in self._attempts.values():
            for attempt in attempts:
                self._devices.add(attempt.device)
                if attempt.state in LIVE:
                    epochs.add(attempt.epoch)
        self._add_leases(leases.rows[epoch] for epoch in epochs - self._leases.keys() if epoch in leases.rows)
        self._jobs.update(map(_JOB, self._tasks))

    def _add_leases(self, leases: Iterable[Lease]) -> None:
        for lease in leases:
            self._leases[lease.epoch] = lease
            self._devices.add(lease.device)
            self._jobs.add(lease.job)

    def _add_tasks(self, rows: Rows) -> list[TaskKey]:
        if not rows:
            return []
        jobs = self._known.jobs
        jobs.name({row[0] for row in rows})
        tasks = tasks_of(rows, jobs.id.__getitem__)
        keys = list(map(_KEY, tasks))
        self._tasks.update(zip(keys, tasks, strict=True))
        return keys

    def _add_attempts(self, rows: Rows) -> None:
        jobs, devices = self._known.jobs, self._known.devices
        devices.name({row[3] for row in rows})
        self._attempts.update(by_task(attempts_of(rows, jobs.id.__getitem__, devices.id.__getitem__)))

    def _numbers(self, keys: Iterable[TaskKey]) -> list[int]:
        number = self._known.jobs.number
        return sorted(number[job] << INDEX_BITS | index for job, index in keys if job in number)

    def _keys(self, rows: Sequence[Row]) -> tuple[TaskKey, ...]:
        jobs = self._known.jobs
        jobs.name({key >> INDEX_BITS for (key,) in rows})
        return tuple((jobs.id[key >> INDEX_BITS], key & LAST_INDEX) for (key,) in rows)

    # -- the rows themselves

    def _load_jobs(self, *, sweep: bool) -> dict[JobId, Job]:
        known = self._known
        if sweep:
            self._jobs.update(job for (job,) in self._database.rows("settled_jobs"))
        found = {job: known.job_rows[job] for job in self._jobs if job in known.job_rows}
        for row in self._database.rows_for("jobs_by_id", sorted(self._jobs - found.keys())):
            job = found[row[1]] = job_of(row)
            known.jobs.learn(job.id, row[0])
            known.keep_job(job)
        return found

    def _load_devices(self) -> dict[DeviceId, Device]:
        known = self._known
        unread = sorted(device for device in self._devices if device not in known.device_rows)
        for row in self._database.rows_for("devices_by_id", unread):
            device = known.device_rows[row[1]] = device_of(row)
            known.devices.learn(device.id, row[0])
        return {device: known.device_rows[device] for device in self._devices if device in known.device_rows}

    def _specs(self, jobs: Iterable[JobId]) -> dict[JobId, JobSpec]:
        specs = self._known.specs
        unread = [job for job in jobs if job not in specs]
        specs.update((job, decode_spec(spec)) for job, spec in self._database.rows_for("specs", unread))
        return {job: specs[job] for job in jobs}

    # -- what is derived

    def _in_order(self, fresh: list[TaskKey], tried: list[TaskKey], jobs: Mapping[JobId, Job]) -> tuple[TaskKey, ...]:
        """Fresh and tried tasks in one order; each of the two comes in it already."""
        if not (fresh and tried):
            return tuple(fresh or tried)
        number = self._known.jobs.number
        ranked = sorted(jobs.values(), key=lambda job: (-job.priority, job.created_at, number.get(job.id, 0)))
        rank = {job.id: place << INDEX_BITS for place, job in enumerate(ranked)}
        return tuple(sorted([*fresh, *tried], key=lambda key: rank[key[0]] | key[1]))

    def _tainted_jobs(self) -> frozenset[JobId]:
        known = self._known
        if known.barred is None:
            known.barred = bool(self._database.rows("any_barred"))
        if not known.barred:
            return frozenset()
        return frozenset(JobId(job) for (job,) in self._database.rows("tainted_jobs"))

    def _owners(self) -> Mapping[OwnerId, OwnerPresence]:
        known, settings = self._known, self._settings
        if not 0 <= self._now - known.owners_at < settings.owners_seconds:
            rows = self._database.rows("owners", self._now - settings.seen_within_seconds)
            known.owners = {OwnerId(owner): OwnerPresence(active, trusted) for owner, active, trusted in rows}
            known.owners_at = self._now
        return known.owners

    def _payloads(self, specs: Mapping[JobId, JobSpec]) -> dict[tuple[int, int], bytes]:
        inside = {job for job, spec in specs.items() if spec.verify.comparator.kind is not ComparatorKind.BYTES}
        if not inside:
            return {}
        places = sorted(
            (attempt.batch, attempt.position)
            for key, rows in self._attempts.items()
            if key[0] in inside
            for attempt in rows
            if returned(attempt)
        )
        contents: dict[int, bytes] = dict(self._database.rows_for("contents", sorted({batch for batch, _ in places})))
        there = (place for place in places if place[0] in contents)  # a job that ended long ago has none any more
        return {place: self._settings.item_payload(contents[place[0]], place[1]) for place in there}

    def _standings(
        self, devices: Iterable[DeviceId], specs: Mapping[JobId, JobSpec]
    ) -> dict[tuple[DeviceId, Digest], Standing]:
        remembered = self._known.standings
        bundles = {spec.bundle: job for job, spec in specs.items()}
        marks = [(device, bundle) for device in devices for bundle in bundles]
        unread = [mark for mark in marks if mark not in remembered]
        if unread:
            remembered.update(dict.fromkeys(unread))
            remembered.update(self._read_standings(unread, bundles))
        found = ((mark, remembered[mark]) for mark in marks)
        return {mark: standing for mark, standing in found if standing is not None}

    def _read_standings(
        self, marks: Iterable[tuple[DeviceId, Digest]], bundles: Mapping[Digest, JobId]
    ) -> Iterator[tuple[tuple[DeviceId, Digest], Standing]]:
        devices, jobs = {device for device, _ in marks}, {bundles[bundle] for _, bundle in marks}
        rows = self._database.rows_for("standings", sorted(devices), json.dumps(sorted(jobs)))
        for device, bundle, shape, returned_, passed, _ in rows:
            standing = Standing(DeviceId(device), Digest(bundle), Digest(shape), returned_, passed)
            yield (standing.device, standing.bundle), standing
