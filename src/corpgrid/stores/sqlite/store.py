"""The store on one SQLite file: the default of a grid that one scheduler serves.

* One thread writes, another reads; the event loop does neither.  ``transact`` is one hop to the writer: begin, load,
  decide, write, commit.  What is acknowledged is on the disk (``synchronous=FULL``).
* One process at a time: the file ``<path>.lock`` is held while the store is open.
* Any error undoes the whole tick, and the store goes on with the next.

    store = await SqliteStore.open(path, settings)
    effects = await store.transact(need, decide)
    await store.close()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from corpgrid.domain.attempt import Attempt
from corpgrid.domain.device import Device
from corpgrid.domain.effects import AuditEntry, Checkpoint, Effects, Need
from corpgrid.domain.hints import Hint
from corpgrid.domain.ids import DeviceId, Digest, JobId
from corpgrid.domain.job import Job, JobState, Task, TaskState
from corpgrid.errors import StoreError
from corpgrid.ports.store import Decide, StoredResult
from corpgrid.stores.collecting import DETAIL, collect
from corpgrid.stores.lockfile import LockFile
from corpgrid.stores.settings import StoreSettings
from corpgrid.stores.sqlite.commit import commit
from corpgrid.stores.sqlite.database import Database, Row
from corpgrid.stores.sqlite.ledger import SqliteLedger
from corpgrid.stores.sqlite.load import load
from corpgrid.stores.sqlite.numbers import Numbers
from corpgrid.stores.sqlite.read import Page, Reader
from corpgrid.stores.sqlite.remembered import Known
from corpgrid.stores.sqlite.schema import migrate, require_present, version
from corpgrid.stores.ticks import worth_writing

Result = TypeVar("Result")

METRICS_SECONDS = 60.0
METRICS_KEPT_SECONDS = 30 * 86_400.0


class Writer:
    """The writing half; lives in the writer's thread."""

    def __init__(self, database: Database, settings: StoreSettings) -> None:
        self._database = database
        self._settings = settings
        self._known = Known(jobs=Numbers(database, kind="job"), devices=Numbers(database, kind="device"))
        self._metrics_at = float("-inf")

    def transact(self, need: Need, decide: Decide) -> Effects:
        """One tick."""
        database, known = self._database, self._known
        try:
            with database.transaction():
                view, held = load(database, known, need, now=self._settings.clock.now(), settings=self._settings)
                effects = decide(view)
                last_tick = known.counters.last_tick if known.counters else 0.0
                if worth_writing(effects, now=view.now, last_tick=last_tick):
                    commit(database, known, held, effects, view)
                    self._measure(view.now)
        except BaseException:
            known.forget()
            self._metrics_at = float("-inf")
            raise
        return effects

    def change(self, statement: str, keys: Sequence[int], *values: object) -> list[Row]:
        """Change rows of which nothing is remembered; what the statement gives."""
        with self._database.transaction():
            return self._database.rows_for(statement, keys, *values)

    def _measure(self, now: float) -> None:
        """Once a minute, note how the grid stands."""
        if 0 <= now - self._metrics_at < METRICS_SECONDS:
            return
        self._database.run("add_metrics", now, METRICS_SECONDS, now - self._settings.seen_within_seconds)
        self._database.run("drop_old_metrics", now - METRICS_KEPT_SECONDS)
        self._metrics_at = now


class SqliteStore:
    """``Store`` on a SQLite file; made by ``open``."""

    def __init__(self, lock: LockFile, writing: ThreadPoolExecutor, reading: ThreadPoolExecutor) -> None:
        self._lock = lock
        self._writing = writing
        self._reading = reading
        self._writer: Writer
        self._reader: Reader
        self._ledger: SqliteLedger
        self._databases: list[tuple[ThreadPoolExecutor, Database]] = []
        self._open = True

    @classmethod
    async def open(
        cls,
        path: Path,
        settings: StoreSettings,
        *,
        max_bytes: int = 0,
        upgrade: bool = True,
    ) -> SqliteStore:
        """Open a store, and make it if it is not there.

        Args:
            path: the file; SQLite keeps two more beside it, and the lock a fourth.
            settings: clock and wire format.
            max_bytes: refuse to let the file grow beyond this; 0 is no limit.
            upgrade: bring an older file to the present schema; otherwise refuse it.

        Raises:
            StoreError: another process has it open, or it cannot be read.
            MigrationError: its schema is newer, or older and ``upgrade`` is off.
        """
        lock = LockFile(path.with_name(path.name + ".lock"), what=f"the store {path}")
        threads = (
            ThreadPoolExecutor(1, thread_name_prefix="corpgrid-store-writer"),
            ThreadPoolExecutor(1, thread_name_prefix="corpgrid-store-reader"),
        )
        store = cls(lock, *threads)
        try:
            await store._start(path, settings, max_bytes=max_bytes, upgrade=upgrade)
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def shared(self) -> bool:
        """No: one scheduler has it for itself."""
        return False

    @property
    def ledger(self) -> SqliteLedger:
        """The audit log, once it is sealed."""
        return self._ledger

    def listen(self, heard: Callable[[Hint], None]) -> None:
        """Nobody else writes here, so there is nothing to hear."""

    async def lead(self) -> bool:
        """Yes, always: whoever has the file has it alone."""
        return True

    async def upkeep(self) -> None:
        """Ticks do it on their way."""

    async def transact(self, need: Need, decide: Decide) -> Effects:
        """Read ``need``, call ``decide`` with it in the writer's thread, and commit what it returns."""
        return await self._hop(self._writing, self._writer.transact, need, decide)

    async def job(self, job: JobId) -> Job | None:
        """One job, or None."""
        return await self._read(Reader.job, job)

    async def jobs(self, *, states: Sequence[JobState] = (), limit: int = 100) -> list[Job]:
        """The newest jobs, newest first."""
        return await self._read(Reader.jobs, states, limit)

    async def envelope(self, job: JobId) -> bytes | None:
        """The signed specification as it was submitted."""
        return await self._read(Reader.envelope, job)

    async def tasks(
        self, job: JobId, *, states: Sequence[TaskState] = (), after: int = -1, limit: int = 1_000
    ) -> list[Task]:
        """Tasks of a job with an index above ``after``, by index."""
        return await self._read(Reader.tasks, job, states, after, limit)

    async def attempts(self, job: JobId, index: int) -> list[Attempt]:
        """All attempts of one task, by number."""
        return await self._read(Reader.attempts, job, index)

    async def attached(self, digest: Digest) -> bytes | None:
        """A small blob that came with a job, or None."""
        return await self._read(Reader.attached, digest)

    async def ended(self, job: JobId, *, after: tuple[int, int], limit: int) -> tuple[Job, list[StoredResult]] | None:
        """The job, and its tasks that ended after ``(final_rev, index)``, in that order, at one moment; or None."""
        return await self._read(Reader.ended, job, after, limit)

    async def provisional(self, job: JobId, *, after: int = -1, limit: int = 1_000) -> list[StoredResult]:
        """Provisional results with an index above ``after``, by index."""
        return await self._read(Reader.provisional, job, after, limit)

    async def batches(self, numbers: Sequence[int]) -> Mapping[int, bytes]:
        """Stored batches by number, as they arrived."""
        return await self._read(Reader.batches, numbers)

    async def device(self, device: DeviceId) -> Device | None:
        """One device, or None."""
        return await self._read(Reader.device, device)

    async def devices(self) -> list[Device]:
        """All devices, by id."""
        return await self._read(Reader.devices)

    async def checkpoints(self, job: JobId, index: int) -> list[Checkpoint]:
        """Checkpoints of one task, newest first."""
        return await self._read(Reader.checkpoints, job, index)

    async def audit_log(self, *, subject: str = "", after: int = 0, limit: int = 1_000) -> list[tuple[int, AuditEntry]]:
        """Numbered lines of the audit log, oldest first."""
        return await self._read(Reader.audit_log, subject, after, limit)

    async def referenced(self, *, ended_after: float = 0.0) -> AsyncIterator[Digest]:
        """Every digest that a row of a live job names; one may come more than once."""
        return self._referenced(ended_after)

    async def collect(self, *, ended_before: float, now: float) -> int:
        """Throw away what jobs that ended before brought; how many got their line in the audit log."""

        def look(statement: str, after: int) -> Awaitable[list[tuple[int, bool]]]:
            return self._read(Reader.page, statement, after, ended_before)

        async def mark(jobs: Sequence[int]) -> int:
            told = await self._hop(
                self._writing, self._writer.change, "mark_collected", jobs, ended_before, now, DETAIL
            )
            return len(told)

        async def drop(statement: str, keys: Sequence[int]) -> None:
            await self._hop(self._writing, self._writer.change, statement, keys, ended_before)

        return await collect(look, mark, drop)

    async def last_seen(self) -> float:
        """When a tick last committed, seconds since the epoch; 0 for a new store."""
        return await self._read(Reader.last_tick)

    async def close(self) -> None:
        """Finish what is under way and let go."""
        self._open = False
        databases, self._databases = self._databases, []
        loop = asyncio.get_running_loop()
        for thread, database in reversed(databases):
            await loop.run_in_executor(thread, database.close)
        self._writing.shutdown()
        self._reading.shutdown()
        self._lock.release()

    async def _start(self, path: Path, settings: StoreSettings, *, max_bytes: int, upgrade: bool) -> None:
        writing = await self._connect(self._writing, path, read_only=False, max_bytes=max_bytes)
        await self._hop(self._writing, _prepare, writing, settings.clock.now(), upgrade)
        reading = await self._connect(self._reading, path, read_only=True, max_bytes=max_bytes)
        self._writer = Writer(writing, settings)
        self._reader = Reader(reading, batch_blobs=settings.batch_blobs)
        self._ledger = SqliteLedger(
            write=lambda call: self._hop(self._writing, call, writing),
            read=lambda call: self._hop(self._reading, call, reading),
        )

    async def _connect(self, thread: ThreadPoolExecutor, path: Path, *, read_only: bool, max_bytes: int) -> Database:
        def connect() -> Database:
            return Database(path, read_only=read_only, max_bytes=max_bytes)

        database = await self._hop(thread, connect)
        self._databases.append((thread, database))
        return database

    async def _referenced(self, ended_after: float) -> AsyncIterator[Digest]:
        sources: tuple[Callable[[Reader, int, float], Page], ...] = (
            Reader.spec_digests,
            Reader.result_digests,
            Reader.checkpoint_digests,
            Reader.batch_digests,
        )
        for source in sources:
            after: int | None = 0
            while after is not None:
                digests, after = await self._read(source, after, ended_after)
                for digest in digests:
                    yield digest

    async def _read(self, method: Callable[..., Result], *args: object) -> Result:
        return await self._hop(self._reading, method, self._reader, *args)

    async def _hop(self, thread: ThreadPoolExecutor, call: Callable[..., Result], *args: object) -> Result:
        if not self._open:
            raise StoreError("the store is closed", remedy="Open it again.")
        return await asyncio.get_running_loop().run_in_executor(thread, call, *args)


def _prepare(database: Database, now: float, upgrade: bool) -> None:  # noqa: FBT001 - an executor passes no keywords
    if upgrade or version(database) == 0:
        migrate(database, now=now)
    require_present(database)
