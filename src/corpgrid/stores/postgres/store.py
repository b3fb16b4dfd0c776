"""The store on PostgreSQL: one database for any number of schedulers.

* A tick is one transaction: lock, read, decide, write, commit.  What is acknowledged is on the server's disk.
* A job's row lock is the lock of everything of that job.  Schedulers that work on different jobs do not wait for each
  other; one that finds a job busy passes its ready work over (docs/adr/0012).
* The time is the database's, so that the clocks of schedulers do not matter.
* Any error undoes the whole tick, and the store goes on with the next, on a new connection if the old one is lost.
* What only one scheduler should do is done by the one that leads (docs/adr/0016).

    store = await PostgresStore.open("postgresql://corpgrid@db.example/corpgrid", settings)
    effects = await store.transact(need, decide)
    await store.close()
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from corpgrid.domain.attempt import Attempt
from corpgrid.domain.device import Device
from corpgrid.domain.effects import AuditEntry, Checkpoint, Effects, Need
from corpgrid.domain.hints import Hint
from corpgrid.domain.ids import DeviceId, Digest, JobId
from corpgrid.domain.job import Job, JobState, Task, TaskState
from corpgrid.errors import ConfigError, StoreError
from corpgrid.ports.host import Clock
from corpgrid.ports.store import Decide, StoredResult
from corpgrid.stores.postgres.database import Address, Pool, Session
from corpgrid.stores.postgres.driver import translated
from corpgrid.stores.postgres.hints import Hints
from corpgrid.stores.postgres.lead import Lead
from corpgrid.stores.postgres.ledger import PostgresLedger
from corpgrid.stores.postgres.naming import name_grid
from corpgrid.stores.postgres.read import Reader
from corpgrid.stores.postgres.schema import grid_id, migrate, require_present, require_usable, version
from corpgrid.stores.postgres.upkeep import Upkeep
from corpgrid.stores.postgres.writer import Writer
from corpgrid.stores.settings import StoreSettings

READING_CONNECTIONS = 4
_CLOSE_SECONDS = 10.0


class PostgresStore:
    """``Store`` on a PostgreSQL database; made by ``open``.

    Attributes:
        grid: the id of the grid whose state the database holds.
        place: the database, without user and password.
    """

    def __init__(  # noqa: PLR0913 - the parts that ``open`` made, and their names
        self,
        place: str,
        grid: str,
        pools: Sequence[Pool],
        hints: Hints,
        lead: Lead,
        *,
        writer: Writer,
        reader: Reader,
        upkeep: Upkeep,
    ) -> None:
        self.place = place
        self.grid = grid
        self._pools = pools
        self._hints = hints
        self._lead = lead
        self._writer = writer
        self._reader = reader
        self._upkeep = upkeep
        self._ledger = PostgresLedger(pools[-1], lead, place=place)
        self._open = True

    @classmethod
    async def open(  # noqa: PLR0913 - what a store is opened with, by name
        cls,
        dsn: str,
        settings: StoreSettings,
        *,
        upgrade: bool = True,
        expected_grid: str = "",
        new_grid: str = "",
        clock: Clock | None = None,
    ) -> PostgresStore:
        """Open a store, and make its tables if there are none.

        Args:
            dsn: ``postgresql://user:password@host:port/database``.
            settings: wire format and limits; its clock is not used.
            upgrade: bring an older database to the present schema; otherwise refuse it.
            expected_grid: the id of the grid that the database must belong to, and cannot be empty; empty for any.
            new_grid: likewise, but a database that was never used becomes that grid's.
            clock: the store's time; None for the database's.

        Raises:
            ConfigError: the URL is wrong, or the database belongs to another grid.
            StoreError: the database cannot be reached, is a replica, or its server too old.
            MigrationError: its schema is newer, or older and ``upgrade`` is off.
        """
        address = Address.of(dsn)
        ticking = await address.pool(smallest=1, largest=1)
        pools = [ticking]
        try:
            grid = await _prepare(ticking, address.place, upgrade=upgrade, expected=expected_grid, new=new_grid)
            pools.append(await address.pool(smallest=0, largest=READING_CONNECTIONS))
        except BaseException:
            await _close(pools)
            raise
        instance = uuid.uuid4().hex
        hints, lead = Hints(address, pools[1], instance=instance), Lead(address, instance=instance)
        writer = Writer(ticking, hints, lead, place=address.place, settings=settings, clock=clock, instance=instance)
        reader = Reader(pools[1], address.place, batch_blobs=settings.batch_blobs)
        upkeep = Upkeep(pools[1], lead, place=address.place, settings=settings, clock=clock)
        store = cls(address.place, grid, pools, hints, lead, writer=writer, reader=reader, upkeep=upkeep)
        writer.start(last_tick=await reader.last_tick())
        return store

    @property
    def shared(self) -> bool:
        """Yes: any number of schedulers may open the same database."""
        return True

    @property
    def ledger(self) -> PostgresLedger:
        """The audit log, once it is sealed."""
        self._require_open()
        return self._ledger

    def listen(self, heard: Callable[[Hint], None]) -> None:
        """Tell, in the event loop, where another scheduler's tick changed something; a hint may be lost."""
        self._require_open()
        self._hints.listen(heard)

    async def lead(self) -> bool:
        """Try to have the lead, or to keep it; whether this store has it now."""
        self._require_open()
        return await self._lead.keep()

    async def upkeep(self) -> None:
        """Note how the grid stands, and drop old notes; only for who leads."""
        self._require_open()
        await self._upkeep.run()

    async def secret(self, name: str, proposed: bytes) -> bytes:
        """The secret of this name that all schedulers of the grid share; ``proposed``, if there is none yet."""
        self._require_open()
        with translated(self.place):
            async with self._pools[-1].acquire() as connection:
                session = Session(connection, self.place)
                await session.run("add_secret", name, proposed)
                (value,) = await session.row("secret", name)
        return bytes(value)

    async def transact(self, need: Need, decide: Decide) -> Effects:
        """Read ``need``, call ``decide`` with it in the event loop, and commit what it returns."""
        self._require_open()
        return await self._writer.transact(need, decide)

    async def job(self, job: JobId) -> Job | None:
        """One job, or None."""
        return await self._read().job(job)

    async def jobs(self, *, states: Sequence[JobState] = (), limit: int = 100) -> list[Job]:
        """The newest jobs, newest first."""
        return await self._read().jobs(states, limit)

    async def envelope(self, job: JobId) -> bytes | None:
        """The signed specification as it was submitted."""
        return await self._read().envelope(job)

    async def tasks(
        self, job: JobId, *, states: Sequence[TaskState] = (), after: int = -1, limit: int = 1_000
    ) -> list[Task]:
        """Tasks of a job with an index above ``after``, by index."""
        return await self._read().tasks(job, states, after, limit)

    async def attempts(self, job: JobId, index: int) -> list[Attempt]:
        """All attempts of one task, by number."""
        return await self._read().attempts(job, index)

    async def attached(self, digest: Digest) -> bytes | None:
        """A small blob that came with a job, or None."""
        return await self._read().attached(digest)

    async def ended(self, job: JobId, *, after: tuple[int, int], limit: int) -> tuple[Job, list[StoredResult]] | None:
        """The job, and its tasks that ended after ``(final_rev, index)``, in that order, at one moment; or None."""
        return await self._read().ended(job, after, limit)

    async def provisional(self, job: JobId, *, after: int = -1, limit: int = 1_000) -> list[StoredResult]:
        """Provisional results with an index above ``after``, by index."""
        return await self._read().provisional(job, after, limit)

    async def batches(self, numbers: Sequence[int]) -> Mapping[int, bytes]:
        """Stored batches by number, as they arrived."""
        return await self._read().batches(numbers)

    async def device(self, device: DeviceId) -> Device | None:
        """One device, or None."""
        return await self._read().device(device)

    async def devices(self) -> list[Device]:
        """All devices, by id."""
        return await self._read().devices()

    async def checkpoints(self, job: JobId, index: int) -> list[Checkpoint]:
        """Checkpoints of one task, newest first."""
        return await self._read().checkpoints(job, index)

    async def audit_log(self, *, subject: str = "", after: int = 0, limit: int = 1_000) -> list[tuple[int, AuditEntry]]:
        """Numbered lines of the audit log, oldest first; lines of ticks that overlap may come in any order."""
        return await self._read().audit_log(subject, after, limit)

    async def referenced(self, *, ended_after: float = 0.0) -> AsyncIterator[Digest]:
        """Every digest that a row of a live job names; one may come more than once."""
        return self._read().referenced(ended_after)

    async def collect(self, *, ended_before: float, now: float) -> int:
        """Throw away what jobs that ended before brought; how many got their line in the audit log."""
        self._require_open()
        return await self._upkeep.collect(ended_before, now)

    async def last_seen(self) -> float:
        """When a tick of any scheduler last committed, seconds since the epoch; 0 for a new store."""
        return await self._read().last_tick()

    async def time(self) -> float:
        """What the database's clock shows, seconds since the epoch."""
        return await self._read().clock()

    async def close(self) -> None:
        """Finish what is under way and let go."""
        if self._open:
            self._open = False
            await self._lead.close()
            await self._hints.close()
            await _close(self._pools)

    def _read(self) -> Reader:
        self._require_open()
        return self._reader

    def _require_open(self) -> None:
        if not self._open:
            raise StoreError("the store is closed", remedy="Open it again.")


async def _prepare(pool: Pool, place: str, *, upgrade: bool, expected: str, new: str) -> str:
    """Make sure that the database can be used; its grid's id."""
    async with pool.acquire() as connection:
        await require_usable(connection, place)
        with translated(place):
            empty = await version(connection) == 0
        if empty and expected:
            raise ConfigError(
                f"the database {place} is empty, and this scheduler belongs to the grid {expected}",
                remedy="Name the database of this grid in scheduler.store, or start with an empty scheduler.folder.",
            )
        if expected:
            await grid_id(connection, place, expected=expected)
        if upgrade or empty:
            await migrate(connection, place)
        await require_present(connection, place)
        if new:
            await name_grid(connection, place, new)
        return await grid_id(connection, place, expected=expected or new)


async def _close(pools: Sequence[Pool]) -> None:
    """Let go of all connections; one that does not end in time is cut."""
    for pool in reversed(pools):
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await pool.close()
        except TimeoutError:
            pool.terminate()
