"""What submitters, owners and operators ask: commands through the tick, questions from the store.

Rules:
* A job is admitted only if its signature holds and every blob that it needs is stored; blobs that come with it are
  stored once its signature is known to hold.  The same envelope again is the same job.
* Questions never go through the tick: they read the store, and wait for its commits where they wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from corpgrid.domain.answers import AttemptLog, Cursor, Explanation, GridInfo, Report, ResultsPage
from corpgrid.domain.attempt import Attempt
from corpgrid.domain.device import Device, DeviceState
from corpgrid.domain.events import DeviceSet, JobCancelled, JobSubmitted
from corpgrid.domain.ids import DeviceId, JobId, OwnerId
from corpgrid.domain.job import Job, JobState, Task, TaskState
from corpgrid.errors import LimitError, NotFoundError, UsageError
from corpgrid.ports.blobs import Blobs
from corpgrid.ports.host import Clock
from corpgrid.ports.store import Store
from corpgrid.scheduler import explain
from corpgrid.scheduler.admission import require_within
from corpgrid.scheduler.footprint import Footprints, Keys
from corpgrid.scheduler.job_blobs import split
from corpgrid.scheduler.limits import SchedulerLimits
from corpgrid.scheduler.results import Results
from corpgrid.scheduler.service import DirectBlobs
from corpgrid.scheduler.specs import Specs
from corpgrid.scheduler.tick import Tick
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import verify_job

log = logging.getLogger(__name__)

_JOBS_EXPLAINED = 10
_TASKS_SAMPLED = 1_000


class GridService(DirectBlobs):
    """``ports.GridApi``.

    Args:
        tick: what decides.
        store: all state.
        blobs: where bytes stand.
        clock: against which signatures are dated.
        keys: the submitters that are trusted now.
        results: reads results.
        specs: signed specifications of stored jobs.
        limits: what is taken on.
        seen_within_seconds: a device that was not heard of for longer is not there.
        told: what ``info`` says, but for the time.
    """

    def __init__(  # noqa: PLR0913 -- what the service stands on, by name
        self,
        *,
        tick: Tick,
        store: Store,
        blobs: Blobs,
        clock: Clock,
        keys: Keys,
        results: Results,
        specs: Specs,
        limits: SchedulerLimits,
        seen_within_seconds: float,
        told: Callable[[float], GridInfo],
    ) -> None:
        super().__init__(blobs)
        self._tick = tick
        self._store = store
        self._clock = clock
        self._keys = keys
        self._footprints = Footprints(
            blobs, keys, grace_seconds=limits.collect_grace_seconds, bundle_bytes=limits.bundle_bytes
        )
        self._results = results
        self._specs = specs
        self._limits = limits
        self._seen_within_seconds = seen_within_seconds
        self._told = told

    async def info(self) -> GridInfo:
        """Who answers, and under which limits."""
        return self._told(self._clock.now())

    async def submit_job(self, envelope: bytes, *, blobs: Sequence[bytes] = ()) -> Job:
        """Store what came with a job, then the job; what is small and its alone goes into its rows."""
        job = verify_job(envelope, keyring=self._keys(), now=self._clock.now())
        require_within(job.spec, self._limits)
        if len(blobs) > self._limits.submit_blobs:
            raise LimitError("submit_blobs", limit=self._limits.submit_blobs, got=len(blobs), what="the job's blobs")
        attached, shared = split(job.spec, {digest(content): content for content in blobs})
        await asyncio.gather(*map(self._blobs.put, shared))
        await self._footprints.require(job.spec, attached)
        event = JobSubmitted(
            ticket=self._tick.ticket(),
            job=job.id,
            spec=job.spec,
            envelope=envelope,
            submitter=job.submitter,
            payload=job.payload,
            attachments=tuple(attached.items()),
        )
        row = await self._tick.answer(Job, event)
        log.info("job submitted job=%s tasks=%d submitter=%s", row.id, row.tasks, row.submitter)
        return row

    async def cancel_job(self, job: JobId, *, reason: str = "") -> Job:
        """No more of it."""
        row = await self._tick.answer(Job, JobCancelled(ticket=self._tick.ticket(), job=job, reason=reason))
        log.info("job cancelled job=%s state=%s", row.id, row.state)
        return row

    async def job(self, job: JobId) -> Job:
        """One job."""
        return await self._results.job(job)

    async def jobs(self, *, states: Sequence[JobState] = (), limit: int = 100) -> list[Job]:
        """The newest jobs, newest first."""
        return await self._store.jobs(states=states, limit=self._listed(limit))

    async def tasks(
        self, job: JobId, *, states: Sequence[TaskState] = (), after: int = -1, limit: int = 1_000
    ) -> list[Task]:
        """Tasks with an index above ``after``, by index."""
        await self._results.job(job)
        return await self._store.tasks(job, states=states, after=after, limit=self._listed(limit))

    async def attempts(self, job: JobId, index: int) -> list[Attempt]:
        """All attempts of a task, by number."""
        return await self._results.attempts(job, index)

    async def results(self, job: JobId, *, after: Cursor, limit: int = 1_000, wait_seconds: float = 0) -> ResultsPage:
        """What ended after the cursor."""
        return await self._results.ended(job, after=after, limit=_counted(limit), wait_seconds=wait_seconds)

    async def provisional(self, job: JobId, *, after: Cursor, limit: int = 1_000) -> ResultsPage:
        """What may still be audited."""
        return await self._results.provisional(job, after=after, limit=_counted(limit))

    async def log(self, job: JobId, index: int) -> list[AttemptLog]:
        """What each attempt of a task printed."""
        return await self._results.log(job, index)

    async def explain_job(self, job: JobId) -> Explanation:
        """Why it has not ended."""
        row, spec = await self._results.job(job), await self._specs.spec(job)
        owners = await self._audit_owners(row)
        return explain.explain_job(row, spec, await self._scene(), audit_owners=owners)

    async def report(self, job: JobId) -> Report:
        """How far its results can be believed."""
        row, spec = await self._results.job(job), await self._specs.spec(job)
        return explain.report(row, spec, await self._store.audit_log(subject=job, limit=self._limits.listed))

    async def devices(self) -> list[Device]:
        """All devices, by id."""
        return [_shown(row) for row in await self._store.devices()]

    async def device(self, device: DeviceId) -> Device:
        """One device."""
        row = await self._store.device(device)
        if row is None:
            raise NotFoundError(f"there is no device {device}")
        return _shown(row)

    async def set_device(self, device: DeviceId, state: DeviceState, *, reason: str = "") -> Device:
        """Pause, resume, drain, quarantine or revoke it."""
        event = DeviceSet(ticket=self._tick.ticket(), device=device, state=state, reason=reason)
        row = await self._tick.answer(Device, event)
        log.info("device set device=%s state=%s reason=%s", device, state, reason)
        return _shown(row)

    async def explain_device(self, device: DeviceId) -> Explanation:
        """Why it has no work."""
        row = await self.device(device)
        running = await self._store.jobs(states=[JobState.RUNNING], limit=self._limits.listed)
        wanting = [job for job in running if job.counts.ready][:_JOBS_EXPLAINED]
        jobs = [(job, await self._specs.spec(job.id)) for job in wanting]
        return explain.explain_device(row, jobs, await self._scene())

    async def _scene(self) -> explain.Scene:
        return explain.Scene(
            devices=await self._store.devices(),
            now=self._clock.now(),
            seen_within_seconds=self._seen_within_seconds,
        )

    async def _audit_owners(self, job: Job) -> frozenset[OwnerId] | None:
        """The owners that have a copy of a task whose audit nobody has taken, if there is one."""
        if job.state is not JobState.RUNNING or not job.unsettled:
            return None
        tasks = await self._store.tasks(job.id, states=[TaskState.PROVISIONAL], limit=_TASKS_SAMPLED)
        task = next((task for task in tasks if task.open and not task.live), None)
        if task is None:
            return None
        attempts = await self._store.attempts(job.id, task.index)
        return frozenset(attempt.owner for attempt in attempts if attempt.batch)

    def _listed(self, limit: int) -> int:
        return min(_counted(limit), self._limits.listed)


def _shown(device: Device) -> Device:
    """A device's row as people may see it: without the digest of its session's secret."""
    return replace(device, session=b"")


def _counted(limit: int) -> int:
    if limit < 1:
        raise UsageError(f"limit is {limit}; it must be at least 1")
    return limit
