"""What must hold after every commit, whatever happened: one checker for simulations, property tests and real storms.

It works on rows alone.  ``committed`` is given what a tick read and what it changed, and compares that with all that
was committed before, so that its work is in proportion to the change.  ``promises`` looks at what somebody was told.

I1  an acknowledged submit is never lost nor doubled
I2  a task ends in exactly one terminal state, by legal moves, and its job counts it
I3  at most one accepted result a task, unchanged after it is final
I4  an acknowledged result is durable
I5  at most one live lease an attempt; epochs rise; nothing is accepted under a stale one; no lease ends before its time
I6  attempts within ``max_total``; copies of a task on distinct owners
I7  nothing starts on battery, or on paused, revoked or quarantined devices
I10 reputation replays from the log of outcomes (``reputations``)
I11 a blob referenced by a live row is never collected
V1  nobody audits what is not yet committed
V2  no unchecked result of a quarantined device becomes final
V3  who is proven wrong is out at once
V4  a quorum's result has its quorum
V5  audits are as many as the job's rate says (``audited``)

    checker = Invariants(fail=print)
    effects = await store.transact(need, decide)
    checker.committed(view, effects)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from corpgrid.domain.attempt import LIVE, Attempt, AttemptState, Lease
from corpgrid.domain.device import DEVICE_MOVES, Device, DeviceState
from corpgrid.domain.effects import Effects, NewJob, View
from corpgrid.domain.ids import DeviceId, Digest, Epoch, JobId, TaskKey, task_text
from corpgrid.domain.job import (
    TERMINAL,
    Counts,
    Job,
    JobState,
    Purpose,
    Task,
    TaskState,
    VerifyMode,
)
from corpgrid.domain.messages import Batch
from corpgrid.sim.absences import Absences
from corpgrid.sim.known import COLUMN, KnownJob
from corpgrid.sim.moves import can_become, can_follow
from corpgrid.trust.digest import digest

_OUT = frozenset({DeviceState.QUARANTINED, DeviceState.REVOKED})
_VALID = frozenset({AttemptState.RETURNED, AttemptState.ACCEPTED})
_WITH_COPY = LIVE | _VALID | {AttemptState.REJECTED}
_UNDELIVERABLE = "undeliverable"
"""What an agent says of a result that no scheduler will take."""


class Invariants:
    """Follows the commits of one store.

    Args:
        fail: told of each violation, as ``I5: what is wrong``.
        read_batch: reads the content of a stored batch, to compare what its device signed with the rows; None where
            contents are made up.
    """

    def __init__(self, fail: Callable[[str], None], read_batch: Callable[[bytes], Batch] | None = None) -> None:
        self.jobs: dict[JobId, KnownJob] = {}
        self.devices: dict[DeviceId, Device] = {}
        self.leases: dict[Epoch, Lease] = {}
        self.attempts: dict[TaskKey, list[Attempt]] = {}
        self.blobs: set[Digest] = set()
        self.commits = 0
        self._fail = fail
        self._read_batch = read_batch
        self._live: Counter[Epoch] = Counter()
        self.batches: set[int] = set()
        self._absences = Absences(fail)
        self._last_epoch = 0
        self._epochs: defaultdict[DeviceId, set[Epoch]] = defaultdict(set)
        self._requests: dict[tuple[str, str, str], JobId] = {}
        self._changed: defaultdict[JobId, set[int]] = defaultdict(set)

    # -- after a commit

    def committed(self, view: View, effects: Effects) -> None:
        """A tick was committed."""
        self.commits += 1
        self._absences.committed(view.now, leases=bool(self.leases), extended_seconds=effects.extend_leases_seconds)
        for new in effects.new_jobs:
            self._new_job(new)
        self._extend_leases(effects.extend_leases_seconds)
        lasting = {lease.epoch: lease.until for lease in effects.leases}
        for device in effects.devices:
            self._device(device, view.now)
        batches = self._stored(effects)
        for attempt in effects.attempts:
            self._attempt(attempt, batches, lasting, view.now)
        # Work is given out after all that came back.
        for attempt in effects.new_attempts:
            self._new_attempt(attempt, view)
        for lease in effects.leases:
            self._lease(lease, extended=effects.extend_leases_seconds > 0)
        for task in effects.tasks:
            self._task(task)
        for job in effects.jobs:
            self._job(job)
        for job_id in effects.finalised:
            self._all_of(job_id, {TaskState.PROVISIONAL}, TaskState.FINAL)
        for job_id in effects.cancelled:
            self._cancelled(job_id)
        self._balance(effects)

    def _new_job(self, new: NewJob) -> None:
        job, spec = new.job, new.spec
        if job.id in self.jobs:
            self._fail(f"I1: job {job.id} was submitted once and is in the store twice")
        twin = self._requests.setdefault((job.submitter, spec.name, spec.nonce), job.id)
        if twin != job.id:
            self._fail(f"I1: jobs {twin} and {job.id} are one request")
        counts = [0] * len(Counts._fields)
        counts[COLUMN[TaskState.READY]] = job.tasks
        first = Task(job=job.id, index=0, open=new.copies)
        self.jobs[job.id] = KnownJob(job, spec, first, counts, job.tasks)
        attached = {name for name, _ in new.attachments}
        self.blobs.update({spec.bundle, spec.arguments.pages, *spec.inputs.values()} - attached)

    def _device(self, device: Device, now: float) -> None:
        old = self.devices.get(device.id)
        if old is not None and old.state is not device.state and device.state not in DEVICE_MOVES[old.state]:
            self._fail(f"I2: device {device.id} moved from {old.state} to {device.state}")
        self.devices[device.id] = device
        if device.state not in _OUT:
            self._absences.seen(device, self._leases_of(device.id), now)

    def _stored(self, effects: Effects) -> dict[int, Batch | None]:
        found: dict[int, Batch | None] = {}
        for stored in effects.batches:
            if stored.number in self.batches:
                self._fail(f"I4: batch {stored.number} was stored twice")
            self.batches.add(stored.number)
            batch = self._read_batch(stored.content) if self._read_batch is not None else None
            found[stored.number] = batch
            if batch is not None:
                self.blobs.update(item.blob for item in batch.items if item.blob)
                self.blobs.update(file.digest for item in batch.items for file in item.outputs)
        return found

    # -- attempts

    def _new_attempt(self, attempt: Attempt, view: View) -> None:
        key = (attempt.job, attempt.index)
        rows = self.attempts.setdefault(key, [])
        where = f"attempt {task_text(key)}/{attempt.number}"
        if attempt.number != len(rows):
            self._fail(f"I5: {where} comes after {len(rows)} others")
        if attempt.epoch < view.next_epoch or attempt.epoch <= self._last_epoch:
            self._fail(f"I5: {where} has epoch {attempt.epoch}, and {self._last_epoch} was given out before")
        known = self.jobs[attempt.job]
        self._check_copies(attempt, rows, known, where)
        self._check_host(attempt, where)
        if attempt.purpose is not Purpose.PRIMARY and not any(row.digest for row in rows):
            self._fail(f"V1: {where} is to check a result that nobody has committed")
        rows.append(attempt)
        if attempt.state in LIVE:
            self._live[attempt.epoch] += 1
        self._changed[attempt.job].add(attempt.index)

    def _check_copies(self, attempt: Attempt, rows: list[Attempt], known: KnownJob, where: str) -> None:
        trusted = self._trusts(attempt.device)
        for row in rows:
            if row.owner != attempt.owner or row.state not in _WITH_COPY:
                continue
            arbiter = trusted and attempt.purpose is Purpose.ARBITER and row.state not in LIVE
            if not (arbiter and self._trusts(row.device)):
                self._fail(f"I6: {where} gives owner {attempt.owner} a second copy")
                return
        policy = known.spec.verify
        # What an owner or an operator stopped was no try.
        if sum(row.state is not AttemptState.STOPPED for row in rows) >= policy.max_total:
            self._fail(f"I6: {where} is beyond max_total {policy.max_total}")
        lone = policy.mode in {VerifyMode.AUDIT, VerifyMode.NONE, VerifyMode.TRUSTED}
        if lone and attempt.purpose is Purpose.PRIMARY and any(row.state in LIVE for row in rows):
            self._fail(f"V1: {where} is a second copy before the first has committed")

    def _trusts(self, device: DeviceId) -> bool:
        row = self.devices.get(device)
        return row is not None and row.trusted

    def _check_host(self, attempt: Attempt, where: str) -> None:
        device = self.devices.get(attempt.device)
        if device is None:
            self._fail(f"I7: {where} starts on a device that nobody knows")
        elif device.state is not DeviceState.ACTIVE:
            self._fail(f"I7: {where} starts on device {device.id}, which is {device.state}")
        elif not device.power.on_ac_power or device.blockers:
            self._fail(f"I7: {where} starts on device {device.id}, whose host forbids it")
        elif self.jobs[attempt.job].spec.verify.mode is VerifyMode.TRUSTED and not device.trusted:
            self._fail(f"I7: {where} starts on a device that the operator does not trust")

    def _attempt(
        self, attempt: Attempt, batches: dict[int, Batch | None], lasting: dict[Epoch, float], now: float
    ) -> None:
        key = (attempt.job, attempt.index)
        rows = self.attempts.get(key, [])
        where = f"attempt {task_text(key)}/{attempt.number}"
        if attempt.number >= len(rows):
            self._fail(f"I5: {where} changed before it was made")
            return
        old = rows[attempt.number]
        if not can_become(old.state, attempt.state):
            self._fail(f"I5: {where} moved from {old.state} to {attempt.state}")
        if old[:8] != attempt[:8]:
            self._fail(f"I5: {where} changed hands")
        if old.batch and (old.batch, old.position, old.digest) != (attempt.batch, attempt.position, attempt.digest):
            self._fail(f"I4: {where} changed its evidence")
        if old.state in LIVE and attempt.state not in LIVE:
            self._live[attempt.epoch] -= 1
            if attempt.reason == _UNDELIVERABLE:
                self._fail(f"I4: {where} was done, and its device could not deliver it")
            if attempt.batch:
                self._check_evidence(attempt, batches, where)
            elif attempt.state is AttemptState.EXPIRED:
                self._check_expiry(attempt.epoch, lasting, now, where)
        if attempt.state is AttemptState.REJECTED is not old.state and attempt.reason == "mismatch":
            self._check_caught(attempt, where)
        rows[attempt.number] = attempt
        self._changed[attempt.job].add(attempt.index)

    def _check_caught(self, attempt: Attempt, where: str) -> None:
        device = self.devices.get(attempt.device)
        audited = self.jobs[attempt.job].spec.verify.mode is VerifyMode.AUDIT
        if audited and device is not None and device.state not in _OUT:
            self._fail(f"V3: {where} was proven wrong, and {device.id} is {device.state}")

    def _check_evidence(self, attempt: Attempt, batches: dict[int, Batch | None], where: str) -> None:
        if attempt.batch not in batches:
            self._fail(f"I4: {where} ended by batch {attempt.batch}, which is not stored")
            return
        batch = batches[attempt.batch]
        if batch is None:
            return
        item = batch.items[attempt.position]
        if (batch.job, batch.device, item.index, item.attempt) != (
            attempt.job,
            attempt.device,
            attempt.index,
            attempt.number,
        ):
            self._fail(f"I4: {where} ended by an item that is about something else")
        elif item.payload and digest(item.payload) != attempt.digest:
            self._fail(f"I4: {where} has the digest of something else than its device signed")
        elif item.epoch != attempt.epoch:
            self._fail(f"I5: {where} of epoch {attempt.epoch} was ended by a result of epoch {item.epoch}")

    def _check_expiry(self, epoch: Epoch, lasting: dict[Epoch, float], now: float, where: str) -> None:
        lease = self.leases.get(epoch)
        until = lasting.get(epoch, lease.until if lease is not None else 0.0)
        if until > now:
            self._fail(f"I5: {where} expired {until - now:.3f} s before its lease")
        elif until > 0.0 and self._absences.owed_seconds > 0.0:
            self._fail(f"I5: {where} expired, and its lease is owed {self._absences.owed_seconds:.3f} s of an outage")

    # -- leases

    def _extend_leases(self, seconds: float) -> None:
        if seconds:
            for epoch, lease in self.leases.items():
                self.leases[epoch] = lease._replace(until=lease.until + seconds)

    def _lease(self, lease: Lease, *, extended: bool) -> None:
        old = self.leases.get(lease.epoch)
        if old is None and lease.epoch <= self._last_epoch and lease.remaining > 0:
            self._fail(f"I5: lease {lease.epoch} came back from the dead")
        ended = lease.remaining == 0 and extended  # of no use to anybody, so it was not extended
        if old is not None and 0.0 < lease.until < old.until and not ended:
            device = self.devices.get(lease.device)
            if device is None or device.state not in _OUT:
                self._fail(f"I5: lease {lease.epoch} was shortened by {old.until - lease.until:.3f} s")
        self._last_epoch = max(self._last_epoch, lease.epoch)
        if lease.remaining > 0:
            self.leases[lease.epoch] = lease
            self._epochs[lease.device].add(lease.epoch)
        else:
            self.leases.pop(lease.epoch, None)
            self._epochs[lease.device].discard(lease.epoch)

    def _leases_of(self, device: DeviceId) -> Iterator[Lease]:
        return (self.leases[epoch] for epoch in sorted(self._epochs[device]) if epoch in self.leases)

    # -- tasks and jobs

    def _task(self, task: Task) -> None:
        known = self.jobs[task.job]
        old = known.task(task.index)
        where = f"task {task_text((task.job, task.index))}"
        if old.state in TERMINAL:
            self._fail(f"I3: {where} was {old.state} and changed to {task.state}")
        elif old.state is not task.state and not can_follow(old.state, task.state):
            self._fail(f"I2: {where} moved from {old.state} to {task.state}")
        self._keep(known, old, task)

    def _keep(self, known: KnownJob, old: Task, task: Task) -> None:
        known.counts[COLUMN[old.state]] -= 1
        known.counts[COLUMN[task.state]] += 1
        known.unsettled += old.settled - task.settled
        known.tasks[task.index] = task
        self._changed[task.job].add(task.index)

    def _job(self, job: Job) -> None:
        known = self.jobs[job.id]
        if known.row.state is not JobState.RUNNING and job.state is not known.row.state:
            self._fail(f"I2: job {job.id} was {known.row.state} and became {job.state}")
        if job.rev < known.row.rev:
            self._fail(f"I3: job {job.id} went back from revision {known.row.rev} to {job.rev}")
        known.row = job

    def _all_of(self, job: JobId, states: set[TaskState], become: TaskState) -> None:
        known = self.jobs[job]
        for task in [task for task in known.tasks.values() if task.state in states]:
            self._keep(known, task, task._replace(state=become))

    def _cancelled(self, job: JobId) -> None:
        known = self.jobs[job]
        for index in range(known.row.tasks):
            task = known.task(index)
            if task.state not in TERMINAL:
                self._keep(known, task, task._replace(state=TaskState.CANCELLED, open=0, live=0))
            rows = self.attempts.get((job, index), [])
            for row in [row for row in rows if row.state in LIVE]:
                rows[row.number] = row._replace(state=AttemptState.STOPPED)
                self._live[row.epoch] -= 1
        for epoch in [epoch for epoch, lease in self.leases.items() if lease.job == job]:
            del self.leases[epoch]

    # -- what must agree

    def _balance(self, effects: Effects) -> None:
        changed, self._changed = self._changed, defaultdict(set)
        for job, indexes in changed.items():
            known = self.jobs[job]
            for index in indexes:
                self._check_task(known, index)
        for job in dict.fromkeys([*changed, *(row.id for row in effects.jobs)]):
            self._check_counts(self.jobs[job])
        epochs = {attempt.epoch for attempt in (*effects.new_attempts, *effects.attempts)}
        for epoch in sorted(epochs | {lease.epoch for lease in effects.leases}):
            live, lease = self._live[epoch], self.leases.get(epoch)
            if live != (lease.remaining if lease is not None else 0):
                self._fail(f"I5: {live} live attempts under lease {epoch}: {lease}")
            if not live:
                del self._live[epoch]

    def _check_task(self, known: KnownJob, index: int) -> None:
        task, rows = known.task(index), self.attempts.get((known.row.id, index), [])
        where = f"task {task_text((known.row.id, index))}"
        live = sum(row.state in LIVE for row in rows)
        if live != task.live or len(rows) != task.attempts:
            self._fail(f"I5: {where} counts {task.live} of {task.attempts} attempts live: {live} of {len(rows)} are")
        if task.state is TaskState.FINAL:
            self._check_final(known, task, rows, where)
        elif task.state is TaskState.PROVISIONAL and not 0 <= task.accepted < len(rows):
            self._fail(f"I3: {where} is provisional without a result")

    def _check_final(self, known: KnownJob, task: Task, rows: list[Attempt], where: str) -> None:
        row = rows[task.accepted] if 0 <= task.accepted < len(rows) else None
        if row is None or row.state not in _VALID or not row.batch:
            self._fail(f"I3: {where} is final without a result that stands: {row}")
            return
        device = self.devices.get(row.device)
        proven = sum(other.state is AttemptState.ACCEPTED for other in rows) > 1
        checked = known.spec.verify.mode in {VerifyMode.AUDIT, VerifyMode.QUORUM}
        policy = known.spec.verify
        if policy.mode is VerifyMode.QUORUM:
            agreed = sum(other.state is AttemptState.ACCEPTED for other in rows)
            if agreed < policy.min_copies // 2 + 1:
                self._fail(f"V4: {where} is final with {agreed} results that agree")
        if checked and not proven and device is not None and device.state in _OUT:
            self._fail(f"V2: {where} is final by the unchecked word of {device.id}, which is {device.state}")

    def _check_counts(self, known: KnownJob) -> None:
        row = known.row
        if tuple(row.counts) != tuple(known.counts):
            self._fail(f"I2: job {row.id} counts {row.counts} where its tasks are {Counts(*known.counts)}")
        if row.unsettled != known.unsettled:
            self._fail(f"I2: job {row.id} has {row.unsettled} unsettled tasks where {known.unsettled} are")
        if row.state is not JobState.RUNNING and sum(row.counts[COLUMN[state]] for state in TERMINAL) != row.tasks:
            self._fail(f"I2: job {row.id} is {row.state} with tasks that have not ended: {row.counts}")
