"""What the writer remembers between ticks: nobody else writes the file, so a tick reads back nothing that it wrote.

* What is remembered equals the file: every write is noted by ``keep``, and a transaction that is undone takes
  everything that is remembered with it.
* Forgetting is always allowed, and keeps what is remembered within bounds.  Of leases, which are few, all are known, or
  none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from corpgrid.domain.attempt import Attempt, Lease
from corpgrid.domain.device import Device
from corpgrid.domain.effects import Effects, OwnerPresence, Standing
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, OwnerId, TaskKey
from corpgrid.domain.job import Job, JobSpec, JobState, Task
from corpgrid.stores.presence import BARRED
from corpgrid.stores.sqlite.numbers import Numbers

_SPECS = 10_000
_JOBS = 10_000
_DEVICES = 20_000
_STANDINGS = 50_000
_TASKS = 250_000
_KEY: Callable[[Task | Attempt], TaskKey] = itemgetter(0, 1)
_JOB: Callable[[TaskKey], JobId] = itemgetter(0)


class Counters(NamedTuple):
    """The row of ``grid``."""

    next_epoch: int = 1
    next_batch: int = 1
    last_tick: float = 0.0


class Leases:
    """All leases."""

    def __init__(self, leases: Iterable[Lease]) -> None:
        self.rows: dict[Epoch, Lease] = {}
        self._of: dict[DeviceId, set[Epoch]] = {}
        for lease in leases:
            self._put(lease)

    def of(self, device: DeviceId) -> list[Lease]:
        """Those of one device."""
        return [self.rows[epoch] for epoch in self._of.get(device, ())]

    def expired(self, now: float, limit: int) -> list[Lease]:
        """Those that ran out by ``now``, oldest first, until their live attempts reach ``limit``."""
        found: list[Lease] = []
        over = [lease for lease in self.rows.values() if lease.until <= now]
        for lease in sorted(over, key=lambda lease: (lease.until, lease.epoch)):
            if limit <= 0:
                break
            found.append(lease)
            limit -= lease.remaining
        return found

    def keep(self, effects: Effects) -> tuple[list[Lease], list[Epoch]]:
        """Change them as a tick does: which to write (but for the longer time of all), and which are gone."""
        if effects.extend_leases_seconds:
            for lease in [lease for lease in self.rows.values() if lease.until > 0]:
                self.rows[lease.epoch] = lease._replace(until=lease.until + effects.extend_leases_seconds)
        touched = dict.fromkeys(lease.epoch for lease in effects.leases)
        for lease in effects.leases:
            self._drop(lease.epoch)
            if lease.remaining > 0:
                self._put(lease)
        if effects.cancelled:
            ended = [lease.epoch for lease in self.rows.values() if lease.job in effects.cancelled]
            touched.update(dict.fromkeys(ended))
            for epoch in ended:
                self._drop(epoch)
        return [self.rows[epoch] for epoch in touched if epoch in self.rows], [*(touched.keys() - self.rows.keys())]

    def _put(self, lease: Lease) -> None:
        self.rows[lease.epoch] = lease
        self._of.setdefault(lease.device, set()).add(lease.epoch)

    def _drop(self, epoch: Epoch) -> None:
        lease = self.rows.pop(epoch, None)
        if lease is not None:
            epochs = self._of[lease.device]
            epochs.discard(epoch)
            if not epochs:
                del self._of[lease.device]


@dataclass(slots=True)
class Known:
    """Everything that is remembered.

    Attributes:
        jobs: numbers of jobs, and ``devices`` of devices.
        job_rows: of running jobs.
        standings: None where there is none.
        owners: as they were counted at ``owners_at``.
        barred: whether a device is quarantined or revoked; None before anybody looked.
    """

    jobs: Numbers[JobId]
    devices: Numbers[DeviceId]
    specs: dict[JobId, JobSpec] = field(default_factory=dict)
    job_rows: dict[JobId, Job] = field(default_factory=dict)
    device_rows: dict[DeviceId, Device] = field(default_factory=dict)
    standings: dict[tuple[DeviceId, Digest], Standing | None] = field(default_factory=dict)
    leases: Leases | None = None
    counters: Counters | None = None
    owners: Mapping[OwnerId, OwnerPresence] = field(default_factory=dict)
    owners_at: float = float("-inf")
    barred: bool | None = None

    def start_tick(self) -> None:
        """Keep what is remembered within bounds."""
        self.jobs.start_tick()
        self.devices.start_tick()
        _stay_within(self.specs, _SPECS)
        _stay_within(self.job_rows, _JOBS)
        _stay_within(self.device_rows, _DEVICES)
        _stay_within(self.standings, _STANDINGS)

    def keep(self, effects: Effects, counters: Counters) -> None:
        """Note what a tick wrote; of leases ``keep_leases`` does."""
        self.counters = counters
        for new in effects.new_jobs:
            self.specs[new.job.id] = new.spec
            self.keep_job(new.job)
        for job in effects.jobs:
            self.keep_job(job)
        for device in effects.devices:
            self.device_rows[device.id] = device
            self.barred = True if device.state in BARRED else self.barred
        for standing in effects.standings:
            self.standings[standing.device, standing.bundle] = standing

    def keep_leases(self, effects: Effects) -> tuple[list[Lease], list[Epoch]]:
        """See ``Leases.keep``."""
        assert self.leases is not None, "a tick writes after it has read"
        return self.leases.keep(effects)

    def keep_job(self, job: Job) -> None:
        """Remember a job while it runs."""
        if job.state is JobState.RUNNING:
            self.job_rows[job.id] = job
        else:
            self.job_rows.pop(job.id, None)

    def forget(self) -> None:
        """Remember nothing."""
        self.jobs.forget()
        self.devices.forget()
        self.specs.clear()
        self.job_rows.clear()
        self.device_rows.clear()
        self.standings.clear()
        self.leases = None
        self.counters = None
        self.barred = None
        self.forget_owners()

    def forget_owners(self) -> None:
        """Count the owners anew at the next tick."""
        self.owners_at = float("-inf")


def _stay_within(remembered: dict[Any, Any], limit: int) -> None:
    if len(remembered) > limit:
        remembered.clear()
