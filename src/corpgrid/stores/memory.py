"""The store in memory: the simulator's, and the reference that every other store must equal.

``transact`` decides inline, in the caller's thread, and never waits.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

from corpgrid.domain.attempt import Attempt
from corpgrid.domain.device import Device
from corpgrid.domain.effects import AuditEntry, Checkpoint, Effects, Need, OwnerPresence, View
from corpgrid.domain.hints import Hint
from corpgrid.domain.ids import DeviceId, Digest, JobId, OwnerId
from corpgrid.domain.job import Job, JobState, Task, TaskState
from corpgrid.errors import StoreError
from corpgrid.ports.store import COLLECTED, Decide, StoredResult
from corpgrid.stores.collecting import collected_line
from corpgrid.stores.memory_ledger import MemoryLedger
from corpgrid.stores.memory_tables import Tables
from corpgrid.stores.memory_view import Selection
from corpgrid.stores.presence import changes_owners, count_owners
from corpgrid.stores.settings import StoreSettings
from corpgrid.stores.ticks import worth_writing


class MemoryStore:
    """``Store`` in dictionaries."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._tables = Tables()
        self._ledger = MemoryLedger(self._tables.audit)
        self._next_epoch = 1
        self._next_batch = 1
        self._last_tick = 0.0
        self._owners: Mapping[OwnerId, OwnerPresence] = {}
        self._owners_at = float("-inf")
        self._open = True

    @property
    def shared(self) -> bool:
        """No: one scheduler has it for itself."""
        return False

    @property
    def ledger(self) -> MemoryLedger:
        """The audit log, once it is sealed."""
        self._require_open()
        return self._ledger

    def listen(self, heard: Callable[[Hint], None]) -> None:
        """Nobody else writes here, so there is nothing to hear."""

    async def lead(self) -> bool:
        """Yes, always."""
        return True

    async def upkeep(self) -> None:
        """Nothing is noted here."""

    async def transact(self, need: Need, decide: Decide) -> Effects:
        """Read ``need``, call ``decide`` with it, and keep what it returns."""
        self._require_open()
        view = self._view(need, now=self._settings.clock.now())
        effects = decide(view)
        if worth_writing(effects, now=view.now, last_tick=self._last_tick):
            self._check(effects)
            self._apply(effects, view)
        return effects

    async def job(self, job: JobId) -> Job | None:
        """One job, or None."""
        self._require_open()
        rows = self._tables.jobs.get(job)
        return rows.row if rows is not None else None

    async def jobs(self, *, states: Sequence[JobState] = (), limit: int = 100) -> list[Job]:
        """The newest jobs, newest first."""
        self._require_open()
        newest = sorted(self._tables.jobs.values(), key=lambda rows: (rows.row.created_at, rows.order), reverse=True)
        return [rows.row for rows in newest if not states or rows.row.state in states][:limit]

    async def envelope(self, job: JobId) -> bytes | None:
        """The signed specification as it was submitted."""
        self._require_open()
        rows = self._tables.jobs.get(job)
        return rows.envelope if rows is not None else None

    async def tasks(
        self, job: JobId, *, states: Sequence[TaskState] = (), after: int = -1, limit: int = 1_000
    ) -> list[Task]:
        """Tasks of a job with an index above ``after``, by index."""
        self._require_open()
        found: list[Task] = []
        rows = self._tables.jobs.get(job)
        for index in range(after + 1, rows.row.tasks) if rows is not None else ():
            task = rows.task(index) if rows is not None and len(found) < limit else None
            if task is None:
                break
            if not states or task.state in states:
                found.append(task)
        return found

    async def attempts(self, job: JobId, index: int) -> list[Attempt]:
        """All attempts of one task, by number."""
        self._require_open()
        return list(self._tables.attempts_of((job, index)))

    async def attached(self, digest: Digest) -> bytes | None:
        """A small blob that came with a job, or None."""
        self._require_open()
        return next(iter(self._tables.attached.get(digest, {}).values()), None)

    async def ended(self, job: JobId, *, after: tuple[int, int], limit: int) -> tuple[Job, list[StoredResult]] | None:
        """The job, and its tasks that ended after ``(final_rev, index)``, in that order, at one moment; or None."""
        self._require_open()
        rows = self._tables.jobs.get(job)
        if rows is None:
            return None
        return rows.row, [self._result(task, TaskState.FINAL) for task in rows.ended_after(*after, limit)]

    async def provisional(self, job: JobId, *, after: int = -1, limit: int = 1_000) -> list[StoredResult]:
        """Provisional results with an index above ``after``, by index."""
        self._require_open()
        rows = self._tables.jobs.get(job)
        if rows is None:
            return []
        tasks = (rows.tasks[index] for index in sorted(rows.provisional) if index > after)
        results = (self._result(task, TaskState.PROVISIONAL) for task in tasks)
        return [result for result in results if result.device][:limit]

    async def batches(self, numbers: Sequence[int]) -> Mapping[int, bytes]:
        """Stored batches by number, as they arrived."""
        self._require_open()
        return {number: self._tables.batches[number].content for number in numbers if number in self._tables.batches}

    async def device(self, device: DeviceId) -> Device | None:
        """One device, or None."""
        self._require_open()
        return self._tables.devices.get(device)

    async def devices(self) -> list[Device]:
        """All devices, by id."""
        self._require_open()
        return sorted(self._tables.devices.values(), key=lambda device: device.id)

    async def checkpoints(self, job: JobId, index: int) -> list[Checkpoint]:
        """Checkpoints of one task, newest first."""
        self._require_open()
        return self._tables.checkpoints.get((job, index), [])[::-1]

    async def audit_log(self, *, subject: str = "", after: int = 0, limit: int = 1_000) -> list[tuple[int, AuditEntry]]:
        """Numbered lines of the audit log, oldest first."""
        self._require_open()
        lines = enumerate(self._tables.audit[after:], after + 1)
        return [line for line in lines if not subject or line[1].subject == subject][:limit]

    async def referenced(self, *, ended_after: float = 0.0) -> AsyncIterator[Digest]:
        """Every digest that a row of a live job names; one may come more than once."""
        self._require_open()
        return _stream(list(self._digests(ended_after)))

    async def collect(self, *, ended_before: float, now: float) -> int:
        """Throw away what jobs that ended before brought; how many got their line in the audit log."""
        self._require_open()
        tables = self._tables
        told = {line.subject for line in tables.audit if line.kind == COLLECTED}
        ended = {job for job in tables.jobs if not self._is_live(job, ended_before)}
        unmarked = [job for job in tables.jobs if job in ended and job not in told]
        tables.audit.extend(collected_line(job, now) for job in unmarked)
        tables.throw_away(ended)
        return len(unmarked)

    async def last_seen(self) -> float:
        """When a tick last committed, seconds since the epoch; 0 for a new store."""
        self._require_open()
        return self._last_tick

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._open = False

    def _require_open(self) -> None:
        if not self._open:
            raise StoreError("the store is closed", remedy="Open it again.")

    def _view(self, need: Need, *, now: float) -> View:
        selection = Selection(self._tables, now=now)
        selection.select(need)
        return selection.view(
            last_tick=self._last_tick,
            next_epoch=self._next_epoch,
            next_batch=self._next_batch,
            owners=self._count_owners(now),
            item_payload=self._settings.item_payload,
        )

    def _count_owners(self, now: float) -> Mapping[OwnerId, OwnerPresence]:
        if not 0 <= now - self._owners_at < self._settings.owners_seconds:
            seen_since = now - self._settings.seen_within_seconds
            self._owners = count_owners(self._tables.devices.values(), seen_since=seen_since)
            self._owners_at = now
        return self._owners

    def _check(self, effects: Effects) -> None:
        """Refuse effects that no store could hold, before anything is changed.

        Raises:
            StoreError: a row that is new is there already, or a row names a job that is not there.
        """
        tables = self._tables
        for new in effects.new_jobs:
            if new.job.id in tables.jobs:
                raise StoreError(f"job {new.job.id} is in the store already")
        fresh = {new.job.id for new in effects.new_jobs}
        for rows in (effects.tasks, effects.new_attempts, effects.attempts, effects.batches, effects.checkpoints):
            for row in rows:
                if row.job not in tables.jobs and row.job not in fresh:
                    raise StoreError(f"a row names a job that is not in the store: {row.job}")
        for attempt in effects.new_attempts:
            if attempt.number in tables.attempts.get((attempt.job, attempt.index), {}):
                raise StoreError(f"attempt {attempt.job}/{attempt.index}/{attempt.number} is in the store already")
        for batch in effects.batches:
            if batch.number in tables.batches:
                raise StoreError(f"batch {batch.number} is in the store already")

    def _apply(self, effects: Effects, view: View) -> None:
        tables = self._tables
        if changes_owners(tables.devices, effects.devices):
            self._owners_at = float("-inf")
        self._apply_jobs(effects)
        self._apply_leases(effects)
        for device in effects.devices:
            tables.put_device(device)
        for standing in effects.standings:
            tables.put_standing(standing)
        for batch in effects.batches:
            tables.batches[batch.number] = batch
        self._end_jobs(effects)
        for checkpoint in effects.checkpoints:
            tables.checkpoints[checkpoint.job, checkpoint.index].append(checkpoint)
        tables.audit.extend(effects.audit)
        self._next_epoch = max(view.next_epoch, *(lease.epoch + 1 for lease in effects.leases), 0)
        self._next_batch = max(view.next_batch, *(batch.number + 1 for batch in effects.batches), 0)
        self._last_tick = view.now

    def _apply_jobs(self, effects: Effects) -> None:
        tables = self._tables
        for new in effects.new_jobs:
            tables.add_job(new)
        for job in effects.jobs:
            tables.jobs[job.id].row = job
        for attempt in (*effects.new_attempts, *effects.attempts):
            tables.put_attempt(attempt)
        for task in effects.tasks:
            tables.put_task(task)

    def _end_jobs(self, effects: Effects) -> None:
        tables = self._tables
        for job in effects.finalised:
            tables.finalise(job, tables.jobs[job].row.rev)
        for job in effects.cancelled:
            tables.cancel(job, tables.jobs[job].row.rev)

    def _apply_leases(self, effects: Effects) -> None:
        if effects.extend_leases_seconds:
            for lease in [lease for lease in self._tables.leases.values() if lease.until > 0]:
                self._tables.put_lease(lease._replace(until=lease.until + effects.extend_leases_seconds))
        for lease in effects.leases:
            self._tables.put_lease(lease)

    def _result(self, task: Task, state: TaskState) -> StoredResult:
        """The accepted result of a task that is in the state in which it has one."""
        accepted = self._tables.attempts.get((task.job, task.index), {}).get(task.accepted)
        if accepted is None or task.state is not state:
            return StoredResult(task, DeviceId(""), 0, 0)
        return StoredResult(task, accepted.device, accepted.batch, accepted.position)

    def _digests(self, ended_after: float) -> Iterable[Digest]:
        """Not those of ``Tables.attached``: what is in it is no blob of the blob store."""
        tables = self._tables
        live = {job for job in tables.jobs if self._is_live(job, ended_after)}
        for spec in (tables.jobs[job].spec for job in live):
            yield from (spec.bundle, spec.arguments.pages, *spec.inputs.values())
        for attempts in (attempts for key, attempts in tables.attempts.items() if key[0] in live):
            yield from (attempt.digest for attempt in attempts.values() if attempt.digest)
        for checkpoints in (checkpoints for key, checkpoints in tables.checkpoints.items() if key[0] in live):
            yield from (checkpoint.blob for checkpoint in checkpoints)
        for batch in (batch for batch in tables.batches.values() if batch.job in live):
            yield from self._settings.batch_blobs(batch.content)

    def _is_live(self, job: JobId, ended_after: float) -> bool:
        row = self._tables.jobs[job].row
        return row.state is JobState.RUNNING or row.finished_at >= ended_after


async def _stream(digests: Sequence[Digest]) -> AsyncIterator[Digest]:
    for digest in digests:
        yield digest
