"""From a need to a view: what a tick reads, in one transaction of the writer.

Rows are found by number (tasks, jobs, devices), and ids are put back at the end.  The order of reading follows the
pointers: leases name tasks, tasks name attempts, attempts name devices and leases.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import merge
from operator import itemgetter
from typing import Any, NamedTuple

from corpgrid.domain.attempt import Attempt, AttemptState, Lease
from corpgrid.domain.device import Device
from corpgrid.domain.effects import Need, OwnerPresence, Standing, View
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, OwnerId, TaskKey
from corpgrid.domain.job import ComparatorKind, Job, JobSpec, Task
from corpgrid.stores.settings import StoreSettings
from corpgrid.stores.sqlite_database import Database, Row
from corpgrid.stores.sqlite_numbers import Numbers
from corpgrid.stores.sqlite_rows import (
    INDEX_BITS,
    LAST_INDEX,
    LAST_LIVE,
    attempts_of,
    by_task,
    device_of,
    job_of,
    lease_of,
    tasks_of,
)
from corpgrid.trust.jobspec import decode_spec

_SPECS_REMEMBERED = 10_000
Rows = list[list[Any]]
_KEY: Callable[[Task], TaskKey] = itemgetter(0, 1)


class Counters(NamedTuple):
    """The row of ``grid``."""

    next_epoch: int = 1
    next_batch: int = 1
    last_tick: float = 0.0


@dataclass(slots=True)
class Known:
    """What the writer remembers between ticks; forgotten when a transaction is undone."""

    jobs: Numbers[JobId]
    devices: Numbers[DeviceId]
    specs: dict[int, JobSpec] = field(default_factory=dict)
    counters: Counters | None = None
    owners: Mapping[OwnerId, OwnerPresence] = field(default_factory=dict)
    owners_at: float = float("-inf")

    def start_tick(self) -> None:
        """Keep what is remembered within bounds."""
        self.jobs.start_tick()
        self.devices.start_tick()
        if len(self.specs) > _SPECS_REMEMBERED:
            self.specs.clear()

    def forget(self) -> None:
        """Remember nothing."""
        self.jobs.forget()
        self.devices.forget()
        self.specs.clear()
        self.counters = None
        self.forget_owners()

    def forget_owners(self) -> None:
        """Count the owners anew at the next tick."""
        self.owners_at = float("-inf")


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
        self._keys: set[int] = set()
        self._jobs: set[int] = set()
        self._devices: set[int] = set()
        self._lease_rows: dict[int, Row] = {}

    def view(self, need: Need) -> View:
        self._known.start_tick()
        counters = self._counters()
        self._need(need)
        expired, due, tainted = self._sweep(need) if need.sweep else ([], [], [])
        ready_rows = self._ready(need.ready_limit)
        attempt_rows = self._follow(ready_rows)
        jobs = self._load_jobs()
        tasks, attempts = self._decode(ready_rows, attempt_rows)
        leases = self._leases()
        devices = self._load_devices()
        specs = self._specs()
        return View(
            now=self._now,
            next_epoch=counters.next_epoch,
            next_batch=counters.next_batch,
            jobs=jobs,
            specs=specs,
            tasks=tasks,
            attempts=attempts,
            devices=devices,
            leases=leases,
            ready=self._ready_keys(ready_rows, jobs),
            due=self._task_keys(due),
            expired=tuple(map(Epoch, expired)),
            tainted=self._task_keys(tainted),
            tainted_jobs=self._tainted_jobs(),
            owners=self._owners(),
            payloads=self._payloads(specs, attempts),
            standings=self._standings(),
        )

    def _counters(self) -> Counters:
        if self._known.counters is None:
            self._known.counters = Counters._make(self._database.rows("grid")[0])
        return self._known.counters

    # -- which rows

    def _need(self, need: Need) -> None:
        known, database = self._known, self._database
        known.jobs.known({job for job, _ in need.tasks} | need.jobs)
        number = known.jobs.number
        self._jobs.update(number[job] for job in need.jobs if job in number)
        self._keys.update(number[job] << INDEX_BITS | index for job, index in need.tasks if job in number)
        self._devices.update(known.devices.known(need.devices | need.release))
        self._add_leases(database.rows_for("leases_of_devices", sorted(self._devices)))
        release = known.devices.known(need.release)
        self._keys.update(key for (key,) in database.rows_for("live_tasks_of_devices", release))

    def _sweep(self, need: Need) -> tuple[list[int], list[int], list[int]]:
        database, limit = self._database, need.sweep_limit
        expired = database.rows("expired_leases", self._now, limit)
        self._add_leases(expired)
        epochs = [row[0] for row in expired]
        due = [key for (key,) in database.rows("due_tasks", self._now, limit)]
        tainted = [key for (key,) in database.rows("tainted_tasks", limit)]
        self._keys.update(due, tainted, (key for (key,) in database.rows_for("live_tasks_of_epochs", epochs)))
        self._jobs.update(number for (number,) in database.rows("settled_jobs"))
        return epochs, due, tainted

    def _ready(self, limit: int) -> tuple[Rows, Rows]:
        if not limit:
            return [], []
        ((fresh, tried),) = self._database.rows("ready_tasks", limit)
        return json.loads(fresh), json.loads(tried)

    def _follow(self, ready_rows: tuple[Rows, Rows]) -> tuple[Rows, Rows]:
        """The rows of all other tasks, and of all attempts; what they point at is wanted too."""
        fresh, tried = ready_rows
        if self._keys:
            self._keys.difference_update(row[0] << INDEX_BITS | row[1] for rows in ready_rows for row in rows)
        task_rows = self._database.arrays_for("tasks_by_key", sorted(self._keys))
        keys = {row[0] << INDEX_BITS | row[1] for rows in (task_rows, tried) for row in rows if row[6]}
        attempt_rows = self._database.arrays_for("attempts_by_key", sorted(keys))
        self._devices.update(row[3] for row in attempt_rows)
        epochs = {row[7] for row in attempt_rows if row[8] <= LAST_LIVE} - self._lease_rows.keys()
        self._add_leases(self._database.rows_for("leases_by_epoch", sorted(epochs)))
        self._jobs.update(row[0] for rows in (task_rows, fresh, tried) for row in rows)
        return task_rows, attempt_rows

    def _add_leases(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._lease_rows[row[0]] = row
            self._devices.add(row[1])
            self._jobs.add(row[2])

    # -- the rows themselves

    def _load_jobs(self) -> dict[JobId, Job]:
        known = self._known.jobs
        rows = self._database.rows_for("jobs_by_number", sorted(self._jobs))
        for row in rows:
            known.number[JobId(row[1])] = row[0]
            known.id[row[0]] = JobId(row[1])
        return {job.id: job for job in map(job_of, rows)}

    def _load_devices(self) -> dict[DeviceId, Device]:
        rows = self._database.rows_for("devices_by_number", sorted(self._devices))
        return {device.id: device for device in map(device_of, rows)}

    def _specs(self) -> dict[JobId, JobSpec]:
        specs = self._known.specs
        wanted = [number for number in self._jobs if number not in specs]
        specs.update((job, decode_spec(spec)) for job, spec in self._database.rows_for("specs", wanted))
        return {self._known.jobs.id[number]: specs[number] for number in self._jobs}

    def _leases(self) -> dict[Epoch, Lease]:
        known = self._known
        known.devices.name(self._devices)
        leases = (lease_of(row, known.jobs.id, known.devices.id) for row in self._lease_rows.values())
        return {lease.epoch: lease for lease in leases}

    def _decode(
        self, ready_rows: tuple[Rows, Rows], rows: tuple[Rows, Rows]
    ) -> tuple[dict[TaskKey, Task], dict[TaskKey, tuple[Attempt, ...]]]:
        known = self._known
        known.devices.name(self._devices)
        job_id, device_id = known.jobs.id.__getitem__, known.devices.id.__getitem__
        task_rows, attempt_rows = rows
        tasks = tasks_of([*ready_rows[0], *ready_rows[1], *task_rows], job_id)
        return dict(zip(map(_KEY, tasks), tasks, strict=True)), by_task(attempts_of(attempt_rows, job_id, device_id))

    # -- what is derived

    def _ready_keys(self, ready_rows: tuple[Rows, Rows], jobs: Mapping[JobId, Job]) -> tuple[TaskKey, ...]:
        """Fresh and tried tasks in one order; each of the two comes in it already."""
        ids = self._known.jobs.id
        fresh, tried = ready_rows
        if tried and fresh:
            rank = {
                number: (-jobs[ids[number]].priority, jobs[ids[number]].created_at, number) for number in self._jobs
            }
            rows: Iterable[list[Any]] = merge(fresh, tried, key=lambda row: (rank[row[0]], row[1]))
        else:
            rows = fresh or tried
        return tuple((ids[row[0]], row[1]) for row in rows)

    def _task_keys(self, keys: Iterable[int]) -> tuple[TaskKey, ...]:
        ids = self._known.jobs.id
        return tuple((ids[key >> INDEX_BITS], key & LAST_INDEX) for key in keys)

    def _tainted_jobs(self) -> frozenset[JobId]:
        numbers = [number for (number,) in self._database.rows("tainted_jobs")]
        self._known.jobs.name(numbers)
        return frozenset(self._known.jobs.id[number] for number in numbers)

    def _owners(self) -> Mapping[OwnerId, OwnerPresence]:
        known, settings = self._known, self._settings
        if not 0 <= self._now - known.owners_at < settings.owners_seconds:
            rows = self._database.rows("owners", self._now - settings.seen_within_seconds)
            known.owners = {OwnerId(owner): OwnerPresence(active, trusted) for owner, active, trusted in rows}
            known.owners_at = self._now
        return known.owners

    def _payloads(
        self, specs: Mapping[JobId, JobSpec], attempts: Mapping[TaskKey, tuple[Attempt, ...]]
    ) -> dict[tuple[int, int], bytes]:
        inside = {job for job, spec in specs.items() if spec.verify.comparator.kind is not ComparatorKind.BYTES}
        if not inside:
            return {}
        places = sorted(
            (attempt.batch, attempt.position)
            for key, rows in attempts.items()
            if key[0] in inside
            for attempt in rows
            if returned(attempt)
        )
        contents: dict[int, bytes] = dict(self._database.rows_for("contents", sorted({batch for batch, _ in places})))
        return {place: self._settings.item_payload(contents[place[0]], place[1]) for place in places}

    def _standings(self) -> dict[tuple[DeviceId, Digest], Standing]:
        if not (self._devices and self._jobs):
            return {}
        ids = self._known.devices.id
        rows = self._database.rows_for("standings", sorted(self._devices), f"{sorted(self._jobs)}")
        return {
            (ids[device], Digest(bundle)): Standing(ids[device], Digest(bundle), Digest(shape), returned_, passed)
            for device, bundle, shape, returned_, passed, _ in rows
        }


def returned(attempt: Attempt) -> bool:
    """Whether a result of it is stored that may still be compared."""
    return attempt.batch > 0 and attempt.state in {AttemptState.RETURNED, AttemptState.ACCEPTED}
