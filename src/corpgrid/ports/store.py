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
from corpgrid.ports.ledger import LedgerStore

Decide = Callable[[View], Effects]
COLLECTED = "job.collected"
"""The line of the audit log after which nothing but rows is left of a job (``Store.collect``)."""


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
    """All state of the grid.  What the rules change they change by ``transact``; ``collect`` throws away."""

    @property
    def shared(self) -> bool:
        """Whether other schedulers may change it too."""

    @property
    def ledger(self) -> LedgerStore:
        """The audit log, once it is sealed."""

    def listen(self, heard: Callable[[Hint], None]) -> None:
        """Tell, in the event loop, where another scheduler's tick changed something; a hint may be lost."""

    async def transact(self, need: Need, decide: Decide) -> Effects:
        """Read ``need``, call ``decide`` once with it, and commit what it returns, all in one durable transaction.

        The effects are returned after the commit.  ``decide`` must not block; it may be called in another thread.

        Raises:
            StaleError: another writer changed the rows in between; nothing was changed, and the caller tries again.
            StoreError: the store failed (disk full, connection lost); nothing was changed.
        """

    async def lead(self) -> bool:
        """Try to have the lead, or to keep it; whether this scheduler has it now.

        At most one of those that share the store has it, and it is lost by who does not ask again for some seconds.
        What a former leader still writes as such is left out (``View.leads``).

        Raises:
            StoreError: nobody can tell; until that is over, it has not.
            MigrationError: the store was migrated beyond this program, which must stop.
        """

    async def upkeep(self) -> None:
        """What the store wants done every minute by who has the lead, such as noting how the grid stands."""

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

    async def referenced(self, *, ended_after: float = 0.0) -> AsyncIterator[Digest]:
        """Every digest that a row of a live job names; garbage collection keeps these.

        A job is live while it runs, and if it ended at ``ended_after`` or later.  One digest may come more than once.
        """

    async def collect(self, *, ended_before: float, now: float) -> int:
        """Throw away what jobs that ended before brought: signed batches, blobs in their rows, checkpoints.

        What is known of them stays: job, tasks, attempts, the signed specification.  Each job gets a line ``COLLECTED``
        in the audit log, dated ``now``, before anything of it is gone, and once.  No tick waits for long: this is many
        small transactions.  Returns how many jobs got their line.
        """

    async def last_seen(self) -> float:
        """When a tick last committed, seconds since the epoch; 0 for a new store."""

    async def close(self) -> None:
        """Finish what is under way and let go."""
