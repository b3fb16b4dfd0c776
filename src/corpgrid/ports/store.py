"""All state of the grid: one way to change it, and what is read outside of ticks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from corpgrid.domain.attempt import Attempt
from corpgrid.domain.device import Device
from corpgrid.domain.effects import AuditEntry, Checkpoint, Effects, Need, View
from corpgrid.domain.hints import Hint
from corpgrid.domain.ids import DeviceId, Digest, JobId
from corpgrid.domain.job import Job, JobState, Task, TaskState

Decide = Callable[[View], Effects]


class StoredResult(NamedTuple):
    """The accepted result of a task that ended well.

    Attributes:
        content: the signed batch in which it came, and ``position`` its place there.
    """

    task: Task
    device: DeviceId
    batch: int
    position: int


class Store(Protocol):
    """All state of the grid.  ``transact`` is the only way to change it."""

    @property
    def shared(self) -> bool:
        """Whether other schedulers may change it too."""

    def listen(self, heard: Callable[[Hint], None]) -> None:
        """Tell, in the event loop, where another scheduler's tick changed something; a hint may be lost."""

    async def transact(self, need: Need, decide: Decide) -> Effects:
        """Read ``need``, call ``decide`` once with it, and commit what it returns, all in one durable transaction.

        The effects are returned after the commit.  ``decide`` must not block; it may be called in another thread.

        Raises:
            StaleError: another writer changed the rows in between; nothing was changed, and the caller tries again.
            StoreError: the store failed (disk full, connection lost); nothing was changed.
        """

    async def job(self, job: JobId) -> Job | None:
        """One job, or None."""

    async def jobs(self, *, states: Sequence[JobState] = (), limit: int = 100) -> list[Job]:
        """The newest jobs, newest first."""

    async def envelope(self, job: JobId) -> bytes | None:
        """The signed specification as it was submitted."""

    async def tasks(
        self, job: JobId, *, states: Sequence[TaskState] = (), after: int = -1, limit: int = 1_000
    ) -> list[Task]:
        """Tasks of a job with an index above ``after``, by index."""

    async def attempts(self, job: JobId, index: int) -> list[Attempt]:
        """All attempts of one task, by number."""

    async def attached(self, digest: Digest) -> bytes | None:
        """A small blob that came with a job and stands in its rows, or None."""

    async def ended(self, job: JobId, *, after: tuple[int, int], limit: int) -> tuple[Job, list[StoredResult]] | None:
        """The job, and its tasks that ended after ``(final_rev, index)``, in that order, both at one moment; or None.

        Failed and cancelled tasks have batch 0.
        """

    async def provisional(self, job: JobId, *, after: int = -1, limit: int = 1_000) -> list[StoredResult]:
        """Provisional results with an index above ``after``, by index."""

    async def batches(self, numbers: Sequence[int]) -> Mapping[int, bytes]:
        """Stored batches by number, as they arrived."""

    async def device(self, device: DeviceId) -> Device | None:
        """One device, or None."""

    async def devices(self) -> list[Device]:
        """All devices, by id."""

    async def checkpoints(self, job: JobId, index: int) -> list[Checkpoint]:
        """Checkpoints of one task, newest first."""

    async def audit_log(self, *, subject: str = "", after: int = 0, limit: int = 1_000) -> list[tuple[int, AuditEntry]]:
        """Numbered lines of the audit log, oldest first."""

    async def referenced(self) -> AsyncIterator[Digest]:
        """Every digest that a live row names; garbage collection keeps these."""

    async def last_seen(self) -> float:
        """When a tick last committed, seconds since the epoch; 0 for a new store."""

    async def close(self) -> None:
        """Finish what is under way and let go."""
