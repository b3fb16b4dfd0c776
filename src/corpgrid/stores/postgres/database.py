"""Connections to PostgreSQL: how they are made, and named statements on them.

* A plan must not depend on what the planner thinks of a table at the moment, such as one that just got a million rows:
  every statement is planned once, and may only follow indexes.
* ``synchronous_commit`` is on: a commit that returned is on the server's disk.
* Nobody waits long: for a lock, in a statement, or in a transaction whose scheduler has gone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from corpgrid.errors import ConfigError, StoreError
from corpgrid.stores.postgres.driver import BROKEN, asyncpg, connecting, translated
from corpgrid.stores.postgres.rows import sent
from corpgrid.stores.statements import statements

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Columns = Sequence[Sequence[Any]]

SETTINGS = {
    "application_name": "corpgrid",
    "default_transaction_isolation": "read committed",
    "synchronous_commit": "on",
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    # A scheduler that stands still holds up the jobs that it locked no longer; none takes as long for a tick's rules.
    "idle_in_transaction_session_timeout": "10s",
    "timezone": "UTC",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
}
CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 35.0
"""A server that has not ended a statement by then, nor given it up, is not there any more."""
UNDO_SECONDS = 5.0
_PATIENCE_SECONDS = 3_600.0
_CACHED_STATEMENTS = 512
_PRESENT = ("put_", "drop_tasks", "drop_attempts")
_ABSENT = {"taken_attempts"}
"""Statements that find what they are given, and that must find nothing."""
_PARAMETER = re.compile(r"\$(\d+)")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is.

    Attributes:
        dsn: with user and password.
        place: for messages: without them.
    """

    dsn: str
    place: str

    @classmethod
    def of(cls, dsn: str) -> Address:
        """Read a URL.

        Raises:
            ConfigError: it is not one of PostgreSQL.
        """
        try:
            parts = urlsplit(dsn)
        except ValueError:
            parts = urlsplit("")
        # With an @ in its path the password holds a / that ended it too soon: nothing of that URL is repeated.
        if parts.scheme not in {"postgresql", "postgres"} or len(parts.path) < len("/x") or "@" in parts.path:
            raise ConfigError(
                "scheduler.store is not the URL of a PostgreSQL database",
                remedy="Write it as postgresql://user@host:5432/database; a / in the password is %2F, an @ is %40.",
            )
        return cls(dsn, parts.netloc.rpartition("@")[2] + parts.path)

    async def pool(self, *, smallest: int, largest: int) -> Pool:
        """Open connections.

        Raises:
            ConfigError: the URL has a setting that the driver does not know.
            StoreError: the server cannot be reached, or refuses.
        """
        with connecting(self.place):
            return await asyncpg.create_pool(
                self.dsn,
                min_size=smallest,
                max_size=largest,
                timeout=CONNECT_SECONDS,
                command_timeout=COMMAND_SECONDS,
                statement_cache_size=_CACHED_STATEMENTS,
                max_cached_statement_lifetime=0,
                server_settings=SETTINGS,
                reset=_keep,
            )

    async def connect(self) -> asyncpg.Connection[asyncpg.Record]:
        """Open one connection; raises what ``pool`` does."""
        with connecting(self.place):
            return await asyncpg.connect(self.dsn, timeout=CONNECT_SECONDS, server_settings=SETTINGS)


async def _keep(_connection: object) -> None:
    """Nothing to reset: a session's settings never change, and every transaction is ended where it began."""


class Session:
    """Named statements on one connection.

    Args:
        connection: a connection.
        place: the database, for messages.
    """

    def __init__(self, connection: Connection, place: str) -> None:
        self.connection = connection
        self.place = place
        self._statements = statements("postgres")
        self._seconds: float | None = None

    async def rows(self, name: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a statement."""
        with translated(self.place):
            rows = await self.connection.fetch(self._statements[name], *map(sent, values), timeout=self._seconds)
        return list(map(tuple, rows))

    async def row(self, name: str, *values: Any) -> tuple[Any, ...]:
        """The only row of a statement."""
        (row,) = await self.rows(name, *values)
        return row

    async def run(self, name: str, *values: Any) -> None:
        """Run a statement whose rows do not matter."""
        await self.rows(name, *values)

    async def begin(self, *, moment: bool = False) -> None:
        """Start a transaction; with ``moment`` one that only reads, and sees the database as it was when it began."""
        with translated(self.place):
            await self.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if moment else "BEGIN")

    async def take_time(self) -> None:
        """Let the statements that follow in this transaction touch as many rows as a job may have."""
        with translated(self.place):
            await self.connection.execute("SET LOCAL statement_timeout = 0")
        self._seconds = _PATIENCE_SECONDS

    async def commit(self) -> None:
        """Make a transaction durable."""
        with translated(self.place):
            await self.connection.execute("COMMIT")

    async def undo(self) -> None:
        """Undo a transaction, if need be with its connection."""
        with suppress(*BROKEN):
            try:
                await self.connection.execute("ROLLBACK", timeout=UNDO_SECONDS)
            except BROKEN:
                self.connection.terminate()

    async def transaction_state(self, transaction: int) -> str:
        """What became of a transaction: ``committed``, ``aborted`` or ``in progress``."""
        with translated(self.place):
            return str(await self.connection.fetchval("SELECT pg_xact_status($1::text::xid8)", str(transaction)))

    async def write(self, parts: Mapping[str, Columns]) -> int:
        """Run all statements of ``parts`` as one, each with its columns; the transaction's number.

        Raises:
            StoreError: a statement found less rows to replace than it was given, or some that should not be there.
        """
        values = [sent(column) for columns in parts.values() for column in columns]
        with translated(self.place):
            row = await self.connection.fetchrow(_joined(tuple(parts)), *values, timeout=self._seconds)
        assert row is not None
        transaction, *counts = row.values()
        for (name, columns), count in zip(parts.items(), counts, strict=True):
            if name in _ABSENT and count:
                raise StoreError(f"{count:,} rows of {name} are in the store already")
            if name.startswith(_PRESENT) and count != len(columns[0]):
                raise StoreError(f"{len(columns[0]) - count:,} rows of {name} are not in the store")
        return int(transaction)


@cache
def _joined(names: tuple[str, ...]) -> str:
    """One statement of many; its row has the number of rows that each touched."""
    texts, parts, before = statements("postgres"), [], 0
    for name in names:
        parts.append(f"{name} AS (\n{_shifted(texts[name], before)}\n)")
        before += width(texts[name])
    counts = (f"(SELECT count(*) FROM {name})" for name in names)  # noqa: S608 - names of this program's statements
    return f"WITH {', '.join(parts)} SELECT pg_current_xact_id()::text, {', '.join(counts)}"


def width(text: str) -> int:
    """How many parameters a statement has."""
    return max((int(number) for number in _PARAMETER.findall(text)), default=0)


def _shifted(text: str, by: int) -> str:
    return _PARAMETER.sub(lambda match: f"${int(match[1]) + by}", text)
