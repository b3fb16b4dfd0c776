"""What people and clients read from PostgreSQL, on connections of their own: a long read delays no tick."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from corpgrid.domain.attempt import Attempt
from corpgrid.domain.device import Device
from corpgrid.domain.effects import AuditEntry, Checkpoint
from corpgrid.domain.ids import DeviceId, Digest, JobId
from corpgrid.domain.job import Job, JobState, Task, TaskState
from corpgrid.ports.store import StoredResult
from corpgrid.stores.pages import attempts_at, ended_after, provisional_after, tasks_after
from corpgrid.stores.postgres.database import Pool, Session
from corpgrid.stores.postgres.driver import translated
from corpgrid.stores.postgres.rows import device_of_row, job_of_row, received
from corpgrid.stores.rows import Row, task_state_number
from corpgrid.stores.runs import digests_of
from corpgrid.stores.settings import BatchBlobs
from corpgrid.trust.jobspec import decode_spec

Page = tuple[list[Digest], int | None]
"""Some digests, and after which row the next ones come; None at the end."""


class Reader:
    """The reading half of the store.

    Args:
        pool: connections.
        place: the database, for messages.
        batch_blobs: digests of the blobs that a stored batch names.
    """

    def __init__(self, pool: Pool, place: str, *, batch_blobs: BatchBlobs) -> None:
        self._pool = pool
        self._place = place
        self._batch_blobs = batch_blobs

    async def job(self, job: JobId) -> Job | None:
        """See ``Store.job``; so for the other verbs of the port."""
        rows = await self._rows("job", job)
        return job_of_row(rows[0]) if rows else None

    async def jobs(self, states: Sequence[JobState], limit: int) -> list[Job]:
        """``Store.jobs``."""
        rows = await (self._rows("jobs_in", limit, [*map(str, states)]) if states else self._rows("jobs", limit))
        return list(map(job_of_row, rows))

    async def envelope(self, job: JobId) -> bytes | None:
        """``Store.envelope``."""
        return await self._content("envelope", job)

    async def attached(self, digest: Digest) -> bytes | None:
        """``Store.attached``."""
        return await self._content("attached", digest)

    async def tasks(self, job: JobId, states: Sequence[TaskState], after: int, limit: int) -> list[Task]:
        """``Store.tasks``."""
        numbers = list(map(task_state_number, states))
        if numbers:
            rows = await self._rows("tasks_of_job_in", job, after, limit, numbers)
        else:
            rows = await self._rows("tasks_of_job", job, after, limit)
        return tasks_after(list(map(received, rows)), job, after=after, limit=limit)

    async def attempts(self, job: JobId, index: int) -> list[Attempt]:
        """``Store.attempts``."""
        rows = await self._rows("attempts_of_task", job, index)
        return attempts_at(list(map(received, rows)), job, index)

    async def ended(self, job: JobId, after: tuple[int, int], limit: int) -> tuple[Job, list[StoredResult]] | None:
        """``Store.ended``: both reads see the database as it was at one moment."""
        async with self._session() as session:
            try:
                await session.begin(moment=True)
                rows = await session.rows("job", job)
                results = list(map(received, await session.rows("ended", rows[0][0], *after, limit))) if rows else []
            finally:
                await session.undo()
        return (job_of_row(rows[0]), ended_after(results, job, after=after, limit=limit)) if rows else None

    async def provisional(self, job: JobId, after: int, limit: int) -> list[StoredResult]:
        """``Store.provisional``."""
        rows = await self._rows("provisional", job, after, limit)
        return provisional_after(list(map(received, rows)), job, after=after, limit=limit)

    async def batches(self, numbers: Sequence[int]) -> Mapping[int, bytes]:
        """``Store.batches``."""
        return dict(await self._rows("batches", list(numbers)))

    async def device(self, device: DeviceId) -> Device | None:
        """``Store.device``."""
        rows = await self._rows("device", device)
        return device_of_row(rows[0], rows[0][-1]) if rows else None

    async def devices(self) -> list[Device]:
        """``Store.devices``."""
        return [device_of_row(row, row[-1]) for row in await self._rows("all_devices")]

    async def checkpoints(self, job: JobId, index: int) -> list[Checkpoint]:
        """``Store.checkpoints``."""
        return [Checkpoint(job, index, *row) for row in await self._rows("checkpoints", job, index)]

    async def audit_log(self, subject: str, after: int, limit: int) -> list[tuple[int, AuditEntry]]:
        """``Store.audit_log``."""
        if subject:
            rows = await self._rows("audit_log_of_subject", after, limit, subject)
        else:
            rows = await self._rows("audit_log", after, limit)
        return [(row[0], AuditEntry._make(received(row)[1:])) for row in rows]

    async def clock(self) -> float:
        """The database's time, seconds since the epoch."""
        return float((await self._rows("clock"))[0][0])

    async def last_tick(self) -> float:
        """``Store.last_seen``."""
        return float((await self._rows("last_tick"))[0][0])

    async def referenced(self, ended_after: float) -> AsyncIterator[Digest]:
        """``Store.referenced``, page by page."""
        pages: tuple[Callable[[int, float], Awaitable[Page]], ...] = (
            self._specs,
            self._results,
            self._saved,
            self._evidence,
        )
        for page in pages:
            after: int | None = 0
            while after is not None:
                digests, after = await page(after, ended_after)
                for digest in digests:
                    yield digest

    async def _specs(self, after: int, ended_after: float) -> Page:
        rows = await self._rows("referenced_specs", after, ended_after)
        specs = [decode_spec(content) for _, content in rows if content is not None]
        found = [[spec.bundle, spec.arguments.pages, *spec.inputs.values()] for spec in specs]
        return [digest for digests in found for digest in digests], _last(rows)

    async def _results(self, after: int, ended_after: float) -> Page:
        rows = await self._rows("referenced_results", after, ended_after)
        return [digest for row in rows if row[2] for digest in digests_of(row[2], row[1])], _last(rows)

    async def _saved(self, after: int, ended_after: float) -> Page:
        rows = await self._rows("referenced_checkpoints", after, ended_after)
        return [Digest(row[1]) for row in rows if row[1]], _last(rows)

    async def _evidence(self, after: int, ended_after: float) -> Page:
        rows = await self._rows("referenced_batches", after, ended_after)
        contents = (content for _, content in rows if content is not None)
        return [digest for content in contents for digest in self._batch_blobs(content)], _last(rows)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        with translated(self._place):
            connection = await self._pool.acquire()
        try:
            yield Session(connection, self._place)
        finally:
            await self._pool.release(connection)

    async def _rows(self, name: str, *values: Any) -> list[tuple[Any, ...]]:
        async with self._session() as session:
            return await session.rows(name, *values)

    async def _content(self, name: str, value: Any) -> bytes | None:
        rows = await self._rows(name, value)
        return bytes(rows[0][0]) if rows else None


def _last(rows: Sequence[Row]) -> int | None:
    return rows[-1][0] if rows else None
