"""From a need to a view: what a tick reads, in one transaction of the writer.

What is remembered is not read (``remembered``).  The order of reading follows the pointers: leases name tasks,
tasks name attempts, attempts name devices and leases.  Tasks and attempts are read by the run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import itemgetter

from corpgrid.domain.attempt import LIVE, Attempt, Lease
from corpgrid.domain.device import Device
from corpgrid.domain.effects import Need, OwnerPresence, Standing, View
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, OwnerId, TaskKey
from corpgrid.domain.job import ComparatorKind, Job, JobSpec
from corpgrid.stores.rows import INDEX_BITS, LAST_INDEX, device_of, job_of, returned
from corpgrid.stores.runs import AttemptRun, TaskRun, task_key, tasks_of
from corpgrid.stores.settings import StoreSettings
from corpgrid.stores.shown import Shown
from corpgrid.stores.spans import Span, spans, within
from corpgrid.stores.sqlite.database import Database, Row, array_of
from corpgrid.stores.sqlite.remembered import Counters, Known, Leases
from corpgrid.stores.sqlite.rows import attempt_run_of, task_run_of
from corpgrid.trust.jobspec import decode_spec

_READY_RUNS = 8
"""So many are read first, and eight times as many while they do not suffice: mostly one holds all that is asked."""
_JOB: Callable[[TaskKey], JobId] = itemgetter(0)


@dataclass(slots=True)
class Held:
    """The runs that a tick read."""

    tasks: list[TaskRun] = field(default_factory=list)
    attempts: list[AttemptRun] = field(default_factory=list)


def load(database: Database, known: Known, need: Need, *, now: float, settings: StoreSettings) -> tuple[View, Held]:
    """Read a need."""
    reading = _Load(database, known, now=now, settings=settings)
    return reading.view(need), reading.held


class _Load:
    """One view in the making."""

    def __init__(self, database: Database, known: Known, *, now: float, settings: StoreSettings) -> None:
        self._database = database
        self._known = known
        self._now = now
        self._settings = settings
        self._jobs: set[JobId] = set()
        self._devices: set[DeviceId] = set()
        self._shown = Shown(known.jobs.id)
        self._attempts: dict[TaskKey, tuple[Attempt, ...]] = {}
        self._leases: dict[Epoch, Lease] = {}
        self.held = Held()

    def view(self, need: Need) -> View:
        self._known.start_tick()
        counters = self._counters()
        leases = self._all_leases()
        keys = self._need(need, leases)
        expired, due, tainted = self._sweep(need, leases) if need.sweep else ((), [], [])
        keys.update(due, tainted, self._live_tasks(need.release, expired))
        fresh, tried = self._ready(need.ready_limit)
        self._follow(sorted(keys), leases)
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
            tasks=self._shown.tasks,
            attempts=self._attempts,
            devices=devices,
            leases=self._leases,
            ready=self._in_order(fresh, tried, jobs),
            due=self._keys(due),
            expired=expired,
            tainted=self._keys(tainted),
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

    def _need(self, need: Need, leases: Leases) -> set[int]:
        self._jobs.update(need.jobs)
        self._devices.update(need.devices, need.release)
        for device in need.devices | need.release:
            self._add_leases(leases.of(device))
        self._known.jobs.known(set(map(_JOB, need.tasks)))
        number = self._known.jobs.number
        return {task_key(number[job], index) for job, index in need.tasks if job in number and 0 <= index <= LAST_INDEX}

    def _sweep(self, need: Need, leases: Leases) -> tuple[tuple[Epoch, ...], list[int], list[int]]:
        database, limit = self._database, need.sweep_limit
        expired = leases.expired(self._now, limit)
        self._add_leases(expired)
        due = islice(_tasks_of(database.rows("due_tasks", self._now, limit)), limit)
        tainted = islice(_tasks_of(database.rows("tainted_tasks", limit)), limit)
        return tuple(lease.epoch for lease in expired), list(due), list(tainted)

    def _live_tasks(self, release: Iterable[DeviceId], epochs: Sequence[Epoch]) -> Iterator[int]:
        database = self._database
        devices = self._known.devices.known(release)
        of_devices = database.rows_for("live_attempts_of_devices", devices)
        runs = of_devices + database.rows_for("live_attempts_of_epochs", epochs)
        return chain.from_iterable(tasks_of(Span(last - tasks + 1, last)) for last, tasks in runs)

    def _ready(self, limit: int) -> tuple[list[TaskKey], list[TaskKey]]:
        """Fresh tasks, and tasks that were tried before."""
        most, kinds = min(_READY_RUNS, limit), list[list[TaskRun]]()
        while limit:
            ((*arrays,),) = self._database.rows("ready_tasks", most)
            kinds = [list(map(task_run_of, array_of(array))) for array in arrays]
            if most == limit or all(len(runs) < most or _count(runs) >= limit for runs in kinds):
                break
            most = min(8 * most, limit)
        if not any(kinds):
            return [], []
        fresh, tried = kinds
        self._known.jobs.name(run.last >> INDEX_BITS for run in chain(fresh, tried))
        return self._shown.show_first(fresh, limit), self._shown.show_first(tried, limit)

    def _follow(self, keys: Sequence[int], leases: Leases) -> None:
        """The rows of all other tasks, and of all attempts; what they point at is wanted too."""
        jobs, devices = self._known.jobs, self._known.devices
        runs = list(map(task_run_of, self._database.arrays_for("tasks_in", spans(keys))))
        jobs.name(run.last >> INDEX_BITS for run in runs)
        for run in runs:
            self._shown.show(run, within(keys, run))
        tried = map(attempt_run_of, self._database.arrays_for("attempts_in", self._shown.attempts_wanted()))
        self.held.tasks, self.held.attempts = list(self._shown.runs.values()), sorted(tried)
        devices.name(run.device for run in self.held.attempts)
        self._attempts = self._shown.attempts(self.held.attempts, devices.id)
        self._devices.update(devices.id[run.device] for run in self.held.attempts)
        epochs = {run.epoch for run in self.held.attempts if run.state in LIVE}
        self._add_leases(leases.rows[epoch] for epoch in epochs - self._leases.keys() if epoch in leases.rows)
        self._jobs.update(map(_JOB, self._shown.tasks))

    def _add_leases(self, leases: Iterable[Lease]) -> None:
        for lease in leases:
            self._leases[lease.epoch] = lease
            self._devices.add(lease.device)
            self._jobs.add(lease.job)

    def _keys(self, keys: Iterable[int]) -> tuple[TaskKey, ...]:
        """All of them are shown."""
        jobs = self._known.jobs.id
        return tuple((jobs[key >> INDEX_BITS], key & LAST_INDEX) for key in keys)

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


def _tasks_of(rows: Iterable[Row]) -> Iterator[int]:
    """The keys of runs' tasks."""
    return chain.from_iterable(range(last - tasks + 1, last + 1) for last, tasks in rows)


def _count(runs: Iterable[TaskRun]) -> int:
    return sum(run.last - run.first + 1 for run in runs)
