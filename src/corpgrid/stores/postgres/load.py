"""From a need to a view: what a tick locks and reads, in its transaction.

Locks are taken in one order by everybody, so that nobody waits in a circle: the jobs that the need names, by number;
then jobs that may be taken along (swept, ready), without waiting; then devices, by number.  Whoever holds a job may
write its tasks, attempts and leases.  Devices that are only looked at (those that tried a ready task) are not locked;
the commit checks that such a row is as it was before it writes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any

from corpgrid.domain.attempt import LIVE, Attempt, Lease
from corpgrid.domain.device import Device
from corpgrid.domain.effects import Need, OwnerPresence, Standing, View
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, OwnerId, TaskKey
from corpgrid.domain.job import ComparatorKind, Job, JobSpec
from corpgrid.errors import StaleError
from corpgrid.stores.postgres.database import Session
from corpgrid.stores.postgres.numbers import Numbers
from corpgrid.stores.postgres.rows import attempt_run_of, device_of_row, job_of_row, lease_of, received, task_run_of
from corpgrid.stores.rows import INDEX_BITS, LAST_INDEX, Row, returned
from corpgrid.stores.runs import AttemptRun, TaskRun, task_key, tasks_of
from corpgrid.stores.settings import StoreSettings
from corpgrid.stores.shown import Shown
from corpgrid.stores.spans import Span, ends, spans, within
from corpgrid.stores.ticks import IDLE_SECONDS
from corpgrid.trust.jobspec import decode_spec

_SPECS = 10_000
_FRESH, _TRIED, _WANTED = 0, 1, 2
_HELD, _VERSION = -2, -1
_Mark = tuple[DeviceId, Digest]


@dataclass(slots=True)
class Known:
    """What a store remembers between ticks: what never changes, and what may be a second old.

    Attributes:
        owners: as they were counted at ``owners_at``.
        last_tick: when a tick of any store last committed, as far as this one knows.
        ticked_at: when a tick of its own did, by its own clock.
    """

    numbers: Numbers = field(default_factory=Numbers)
    specs: dict[JobId, JobSpec] = field(default_factory=dict)
    owners: Mapping[OwnerId, OwnerPresence] = field(default_factory=dict)
    owners_at: float = float("-inf")
    last_tick: float = 0.0
    ticked_at: float = float("-inf")

    def forget_owners(self) -> None:
        """Count the owners anew at the next tick."""
        self.owners_at = float("-inf")

    def ticked(self, now: float) -> None:
        """A tick of its own committed, at the time of its view."""
        self.last_tick = now
        self.ticked_at = asyncio.get_running_loop().time()

    @property
    def silent(self) -> bool:
        """Whether this store did not tick lately."""
        return asyncio.get_running_loop().time() - self.ticked_at >= IDLE_SECONDS


@dataclass(slots=True)
class Held:
    """Which rows a tick holds, and the numbers of what it saw.

    Attributes:
        jobs: numbers of jobs, all of them locked.
        devices: numbers of devices, and ``versions`` of their rows.
        locked: the devices that are locked.
        absent: devices that the need named and that were not there.
        tasks: runs with tasks that the tick sees; and ``attempts``, sorted.
    """

    jobs: dict[JobId, int] = field(default_factory=dict)
    devices: dict[DeviceId, int] = field(default_factory=dict)
    versions: dict[DeviceId, int] = field(default_factory=dict)
    locked: set[DeviceId] = field(default_factory=set)
    absent: set[DeviceId] = field(default_factory=set)
    tasks: list[TaskRun] = field(default_factory=list)
    attempts: list[AttemptRun] = field(default_factory=list)


async def load(
    session: Session, known: Known, need: Need, *, now: float | None, settings: StoreSettings
) -> tuple[View, Held]:
    """Lock and read a need; at ``now``, or when the database says it is.

    Raises:
        StaleError: somebody changed something in between.
    """
    reading = _Load(session, known, now=now, settings=settings)
    return await reading.view(need), reading.held


class _Load:
    """One view in the making."""

    def __init__(self, session: Session, known: Known, *, now: float | None, settings: StoreSettings) -> None:
        self._session = session
        self._known = known
        self._now = now
        self._settings = settings
        self.held = Held()
        self._jobs: dict[JobId, Job] = {}
        self._ids: dict[int, JobId] = {}
        self._bundle: dict[JobId, Digest] = {}
        self._settled: set[JobId] = set()
        self._shown = Shown(self._ids)
        self._attempts: dict[TaskKey, tuple[Attempt, ...]] = {}
        self._device_rows: dict[int, Row] = {}
        self._leases: dict[Epoch, Lease] = {}
        self._next_epoch = self._next_batch = 0

    async def view(self, need: Need) -> View:
        last_tick = await self._ask_last_tick() if self._known.silent else None
        named = sorted(need.devices | need.release)
        await self._lock_jobs(need, named)
        expired, due, tainted = await self._sweep(need) if need.sweep else ([], [], [])
        ready = await self._lock_ready(need.ready_limit) if need.ready_limit else ([], [])
        keys = sorted({*self._numbers(need.tasks), *due, *tainted, *await self._live_tasks(need, expired)})
        fresh, tried = await self._load_tasks(keys, *ready, limit=need.ready_limit)
        self.held.tasks = list(self._shown.runs.values())
        attempts = await self._load_attempts()
        wanted = {run.device for run in attempts if within(keys, run.tasks())} | {row[1] for row in expired}
        await self._load_devices(named, wanted, {run.device for run in attempts})
        epochs = {run.epoch for run in attempts if run.state in LIVE} | {row[0] for row in expired}
        gpus, standings, barred = await self._rest(need, epochs)
        self._attempts = self._shown.attempts(attempts, self._device_ids())
        jobs = self._jobs_shown(need)
        specs = await self._specs(jobs)
        bundles = {self._bundle[job] for job in jobs}
        assert self._now is not None
        return View(
            now=self._now,
            last_tick=await self._last_tick(self._now) if last_tick is None else last_tick,
            next_epoch=self._next_epoch,
            next_batch=self._next_batch,
            jobs=jobs,
            specs=specs,
            tasks=self._shown.tasks,
            attempts=self._attempts,
            devices=self._devices(gpus),
            leases=self._leases,
            ready=self._in_order(fresh, tried),
            due=tuple(map(self._key, due)),
            expired=tuple(Epoch(row[0]) for row in expired),
            tainted=tuple(map(self._key, tainted)),
            tainted_jobs=await self._tainted_jobs() if barred else frozenset(),
            owners=await self._owners(self._now),
            payloads=await self._payloads(specs),
            standings={mark: standing for mark, standing in standings.items() if mark[1] in bundles},
        )

    # -- jobs, which are locked

    async def _lock_jobs(self, need: Need, named: Sequence[DeviceId]) -> None:
        wanted = need.jobs | {job for job, _ in need.tasks}
        if wanted or named:
            self._add_jobs(await self._session.rows("lock_jobs", sorted(wanted), named, sorted(need.release)))

    async def _sweep(self, need: Need) -> tuple[list[Row], list[int], list[int]]:
        limit = need.sweep_limit
        locked = [number for (number,) in await self._session.rows("lock_swept_jobs", self._now, limit)]
        if not locked:
            return [], [], []
        expired, *runs, settled = await self._session.row("swept", self._now, limit, locked)
        due, tainted = (list(islice(_tasks_of(rows), limit)) for rows in runs)
        used = {lease["job"] for lease in expired} | {key >> INDEX_BITS for key in (*due, *tainted)}
        await self._add_locked({*used, *settled})
        self._settled = {self._ids[number] for number in settled}
        return list(map(tuple, expired)), due, tainted

    async def _lock_ready(self, limit: int) -> tuple[list[int], list[int]]:
        fresh, tried = await self._session.row("lock_ready_jobs", limit)
        await self._add_locked({*fresh, *tried})
        return fresh, tried

    async def _add_locked(self, numbers: set[int]) -> None:
        unread = sorted(numbers - self._ids.keys())
        if unread:
            self._add_jobs(await self._session.rows("jobs_by_number", unread))

    def _add_jobs(self, rows: Iterable[Row]) -> None:
        for row in rows:
            job = job_of_row(row)
            self._jobs[job.id] = job
            self.held.jobs[job.id] = row[0]
            self._ids[row[0]] = job.id
            self._bundle[job.id] = row[-1]

    # -- tasks and attempts

    def _numbers(self, keys: Iterable[TaskKey]) -> list[int]:
        number = self.held.jobs
        return [task_key(number[job], index) for job, index in keys if job in number and 0 <= index <= LAST_INDEX]

    def _key(self, key: int) -> TaskKey:
        return self._ids[key >> INDEX_BITS], key & LAST_INDEX

    async def _load_tasks(
        self, keys: Sequence[int], fresh: list[int], tried: list[int], *, limit: int
    ) -> tuple[list[TaskKey], list[TaskKey]]:
        """Fresh tasks, and those that were tried before."""
        if not (keys or fresh or tried):
            return [], []
        runs: tuple[list[TaskRun], ...] = ([], [], [])
        for kind, *row in await self._session.rows("tasks", fresh, tried, limit, *ends(spans(keys))):
            runs[kind].append(task_run_of(row))
        for run in runs[_WANTED]:
            self._shown.show(run, within(keys, run))
        return self._shown.show_first(runs[_FRESH], limit), self._shown.show_first(runs[_TRIED], limit)

    async def _live_tasks(self, need: Need, expired: Sequence[Row]) -> list[int]:
        """On which released devices work, and those under leases that ran out."""
        if not (need.release or expired):
            return []
        found = await self._session.rows("live_attempts", sorted(need.release), [row[0] for row in expired])
        runs = (tasks_of(Span(last - tasks + 1, last)) for last, tasks in found)
        return [key for keys in runs if keys[0] >> INDEX_BITS in self._ids for key in keys]

    async def _load_attempts(self) -> list[AttemptRun]:
        """Runs in which the attempts of the tasks are, of each job in the order of their numbers."""
        wanted = self._shown.attempts_wanted()
        rows = await self._session.rows("attempts", *ends(wanted)) if wanted else []
        self.held.attempts = sorted(map(attempt_run_of, rows))
        return self.held.attempts

    # -- devices, of which some are locked

    async def _load_devices(self, named: Sequence[DeviceId], wanted: set[int], seen: set[int]) -> None:
        """Lock ``named`` and ``wanted``, and look at ``seen``."""
        if not (named or wanted or seen):
            return
        looked = sorted(seen - wanted)
        held = self.held
        for row in await self._session.rows("devices", named, sorted(wanted), looked):
            device, locked = DeviceId(row[1]), row[_HELD]
            if device in held.locked:
                continue  # named, and looked at too
            self._device_rows[row[0]] = row
            held.devices[device], held.versions[device] = row[0], row[_VERSION]
            if locked:
                held.locked.add(device)
        held.absent.update(device for device in named if device not in held.devices)

    def _devices(self, gpus: Sequence[Row]) -> dict[DeviceId, Device]:
        of = {device: list(rows) for device, rows in groupby(gpus, key=itemgetter(0))}
        devices = (device_of_row(row, of.get(number, ())) for number, row in self._device_rows.items())
        return {device.id: device for device in devices}

    def _device_ids(self) -> dict[int, DeviceId]:
        return {number: DeviceId(row[1]) for number, row in self._device_rows.items()}

    # -- everything that is read when the locks are held

    async def _rest(self, need: Need, epochs: set[int]) -> tuple[list[Row], dict[_Mark, Standing], bool]:
        """GPUs and standings of the devices, and whether any device is barred; leases are noted."""
        held, numbers = self.held, self._known.numbers
        of = [held.devices[device] for device in need.devices | need.release if device in held.devices]
        moment, block, leases, gpus, standings, barred = await self._session.row(
            "rest", of, sorted(epochs), sorted(self._device_rows), sorted(set(self._bundle.values())), numbers.wanted
        )
        self._now = moment if self._now is None else self._now
        self._next_epoch, self._next_batch = numbers.use(block)
        await self._add_leases(leases)
        found = {}
        for _, device, bundle, fingerprint, done, passed in standings:
            mark = self._device_rows[device][1], bundle
            found[mark] = Standing(*mark, fingerprint, done, passed)
        return gpus, found, barred

    async def _add_leases(self, rows: Sequence[Row]) -> None:
        unseen = {row[1] for row in rows} - self._device_rows.keys()
        await self._load_devices([], set(), unseen)
        if not {row[2] for row in rows} <= self._ids.keys():
            raise StaleError("a device got a lease in between", remedy="The tick is tried again.")
        ids = self._device_ids()
        self._leases = {lease.epoch: lease for lease in (lease_of(row, self._ids, ids) for row in rows)}

    def _jobs_shown(self, need: Need) -> dict[JobId, Job]:
        """Of the jobs that are locked those that were asked for, or that a row of the view belongs to."""
        shown = {job for job, _ in self._shown.tasks} | {lease.job for lease in self._leases.values()}
        return {job: row for job, row in self._jobs.items() if job in shown or job in need.jobs or job in self._settled}

    async def _specs(self, jobs: Iterable[JobId]) -> dict[JobId, JobSpec]:
        specs = self._known.specs
        if len(specs) > _SPECS:
            specs.clear()
        unread = [self.held.jobs[job] for job in jobs if job not in specs]
        if unread:
            rows = await self._session.rows("specs", unread)
            specs.update((self._ids[number], decode_spec(spec)) for number, spec in rows)
        return {job: specs[job] for job in jobs}

    def _in_order(self, fresh: list[TaskKey], tried: list[TaskKey]) -> tuple[TaskKey, ...]:
        """Fresh and tried tasks in one order; each of the two comes in it already."""
        if not (fresh and tried):
            return tuple(fresh or tried)
        number = self.held.jobs
        ranked = sorted(self._jobs.values(), key=lambda job: (-job.priority, job.created_at, number[job.id]))
        rank = {job.id: place << INDEX_BITS for place, job in enumerate(ranked)}
        return tuple(sorted([*fresh, *tried], key=lambda key: rank[key[0]] | key[1]))

    async def _ask_last_tick(self) -> float:
        """When a tick of any store last committed; asked before anything is read that such a tick may change."""
        (self._known.last_tick,) = await self._session.row("last_tick")
        return self._known.last_tick

    async def _last_tick(self, now: float) -> float:
        """The same for a store that ticked a moment ago itself, by its own clock, which may have stood still since.

        Raises:
            StaleError: it has, and others went on: what was read may be from before they forgave an outage.
        """
        known = self._known.last_tick
        if 0 <= now - known < IDLE_SECONDS or await self._ask_last_tick() == known:
            return known
        self._known.ticked_at = float("-inf")
        raise StaleError("other schedulers ticked while this one stood still", remedy="The tick is tried again.")

    async def _tainted_jobs(self) -> frozenset[JobId]:
        return frozenset(JobId(job) for (job,) in await self._session.rows("tainted_jobs"))

    async def _owners(self, now: float) -> Mapping[OwnerId, OwnerPresence]:
        known, settings = self._known, self._settings
        if not 0 <= now - known.owners_at < settings.owners_seconds:
            rows = await self._session.rows("owners", now - settings.seen_within_seconds)
            known.owners = {OwnerId(row[0]): OwnerPresence(*row[1:]) for row in map(received, rows)}
            known.owners_at = now
        return known.owners

    async def _payloads(self, specs: Mapping[JobId, JobSpec]) -> dict[tuple[int, int], bytes]:
        inside = {job for job, spec in specs.items() if spec.verify.comparator.kind is not ComparatorKind.BYTES}
        attempts = (row for key, rows in self._attempts.items() if key[0] in inside for row in rows)
        places = sorted((attempt.batch, attempt.position) for attempt in attempts if returned(attempt))
        if not places:
            return {}
        rows = await self._session.rows("contents", sorted({batch for batch, _ in places}))
        contents: dict[int, bytes] = dict(rows)
        there = (place for place in places if place[0] in contents)  # a job that ended long ago has none any more
        return {place: self._settings.item_payload(contents[place[0]], place[1]) for place in there}


def _tasks_of(rows: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    """The keys of runs' tasks."""
    return chain.from_iterable(range(row["last_task"] - row["tasks"] + 1, row["last_task"] + 1) for row in rows)
