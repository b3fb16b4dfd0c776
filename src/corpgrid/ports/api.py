"""What may be asked of a scheduler: by agents, and by everybody else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from corpgrid.domain.answers import AttemptLog, Cursor, Explanation, GridInfo, Report, ResultsPage
from corpgrid.domain.attempt import Attempt
from corpgrid.domain.device import Device, DeviceState
from corpgrid.domain.ids import DeviceId, Digest, JobId
from corpgrid.domain.job import Job, JobState, Task, TaskState
from corpgrid.domain.messages import (
    CheckpointRequest,
    HeartbeatRequest,
    PollReply,
    PollRequest,
    RegisterReply,
    RegisterRequest,
    Reply,
    SubmitRequest,
)


class BlobApi(Protocol):
    """Bytes by digest, as those see them who ask a scheduler for them."""

    async def get_blob(self, digest: Digest) -> bytes:
        """A small blob, whole and verified."""

    async def fetch_blob(self, digest: Digest, target: Path) -> None:
        """A large blob into a new file, verified."""

    async def put_blob(self, content: bytes) -> Digest:
        """Store bytes."""

    async def put_blob_file(self, path: Path) -> Digest:
        """Store a file."""

    async def missing_blobs(self, digests: Sequence[Digest]) -> list[Digest]:
        """Those of ``digests`` that are not stored."""

    async def locate_blob(self, digest: Digest, *, put_bytes: int | None = None) -> str | None:
        """An address at which the caller can fetch a blob by HTTP itself, or, given its size, store it.

        None: all blobs of this grid pass through its scheduler.

        Raises:
            ConflictError: it was to be stored, and is.
        """

    async def close(self) -> None:
        """Let go of the connection."""


class SchedulerApi(BlobApi, Protocol):
    """What an agent may ask of a scheduler: the specification's five RPCs, and blobs.

    Raises (all of them):
        UnavailableError: nobody answered in time.
        OverloadedError: come back later.
        RefusedError: the session is not known (register again), or the device may not take part.
    """

    async def register(self, request: RegisterRequest) -> RegisterReply:
        """RegisterAgent."""

    async def poll(self, request: PollRequest) -> PollReply:
        """PollJobs, a long poll."""

    async def heartbeat(self, request: HeartbeatRequest) -> Reply:
        """Heartbeat."""

    async def submit(self, request: SubmitRequest) -> Reply:
        """SubmitResult."""

    async def checkpoint(self, request: CheckpointRequest) -> Reply:
        """ReportCheckpoint."""


class GridApi(BlobApi, Protocol):
    """What submitters, owners and operators may ask of a scheduler.

    Raises (all of them):
        UnavailableError, OverloadedError: trying again is safe.
        NotFoundError: no such job, task or device.
    """

    async def info(self) -> GridInfo:
        """Who answers, and under which limits."""

    async def submit_job(self, envelope: bytes, *, blobs: Sequence[bytes] = ()) -> Job:
        """Store small blobs, then the job, all of whose blobs must be stored; the same envelope names the same job."""

    async def cancel_job(self, job: JobId, *, reason: str = "") -> Job:
        """No more of it; a job that ended stays as it is."""

    async def job(self, job: JobId) -> Job:
        """One job."""

    async def jobs(self, *, states: Sequence[JobState] = (), limit: int = 100) -> list[Job]:
        """The newest jobs, newest first."""

    async def tasks(
        self, job: JobId, *, states: Sequence[TaskState] = (), after: int = -1, limit: int = 1_000
    ) -> list[Task]:
        """Tasks with an index above ``after``, by index."""

    async def attempts(self, job: JobId, index: int) -> list[Attempt]:
        """All attempts of a task, by number."""

    async def results(self, job: JobId, *, after: Cursor, limit: int = 1_000, wait_seconds: float = 0) -> ResultsPage:
        """What ended after the cursor; while nothing did and the job runs, waits."""

    async def provisional(self, job: JobId, *, after: Cursor, limit: int = 1_000) -> ResultsPage:
        """What may still be audited, with an index above the cursor's."""

    async def log(self, job: JobId, index: int) -> list[AttemptLog]:
        """What each attempt of a task printed."""

    async def explain_job(self, job: JobId) -> Explanation:
        """Why it has not ended."""

    async def report(self, job: JobId) -> Report:
        """How far its results can be believed."""

    async def devices(self) -> list[Device]:
        """All devices, by id."""

    async def device(self, device: DeviceId) -> Device:
        """One device."""

    async def set_device(self, device: DeviceId, state: DeviceState, *, reason: str = "") -> Device:
        """Pause, resume, drain, quarantine or revoke it; ``ConflictError`` where its state forbids that."""

    async def explain_device(self, device: DeviceId) -> Explanation:
        """Why it has no work."""
