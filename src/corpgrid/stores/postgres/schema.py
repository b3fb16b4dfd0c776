"""The schema's version, the way to the present one, and whether a database may be used at all.

* All steps that are missing are one transaction, under an advisory lock: of many schedulers that start at once one
  migrates, the others wait and find it done.
* Schedulers may run meanwhile.  A step waits for a table only for a moment, because everybody else waits behind it;
  then all steps are undone, and tried again a little later.
* Each step says which is the oldest program that goes on working after it, and the database remembers.  A program that
  is older than that is refused, and so is one that runs (``lead``); any other works on a schema newer than its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from corpgrid.errors import ConfigError, MigrationError, StaleError, StoreError
from corpgrid.stores.postgres.database import Connection
from corpgrid.stores.postgres.driver import asyncpg, translated
from corpgrid.stores.statements import Migration, migrations

log = logging.getLogger(__name__)

OLDEST_SERVER = 14
_FAULTS_OF_A_STEP = (asyncpg.SyntaxOrAccessError, asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)
"""All else (no room, no schema, no connection) is the server's trouble, and is told as such."""
VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
  number integer PRIMARY KEY,
  name text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE schema_version ADD COLUMN IF NOT EXISTS oldest_program integer;
"""
_LOCK = 0x636F727067726964
_TRIES = 30
_AGAIN_SECONDS = 2.0
# Read from the catalog itself: `to_regclass` may not know what was committed while this session waited for the lock.
_KNOWN = """
SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'schema_version')
"""
_VERSION = "SELECT coalesce(max(number), 0) FROM schema_version"
_OLDEST = "SELECT max(coalesce(oldest_program, number)) FROM schema_version"
_HAS_OLDEST = """
SELECT EXISTS (
  SELECT FROM pg_attribute WHERE attrelid = 'schema_version'::regclass AND attname = 'oldest_program'
)
"""


async def require_usable(connection: Connection, place: str) -> None:
    """Check the server.

    Raises:
        StoreError: it is too old, a replica, or takes no writes.
    """
    found = connection.get_server_version()
    if found.major < OLDEST_SERVER:
        raise StoreError(
            f"the database server of {place} is PostgreSQL {found.major}; the store needs {OLDEST_SERVER} or newer",
            remedy=f"Upgrade the server, or name another: any from PostgreSQL {OLDEST_SERVER} on will do.",
        )
    with translated(place):
        if await connection.fetchval("SELECT pg_is_in_recovery()"):
            raise StoreError(
                f"the database {place} is a replica, which takes no writes",
                remedy="Name the primary server in scheduler.store; target_session_attrs=primary in its URL finds it.",
            )
        if await connection.fetchval("SELECT current_setting('transaction_read_only')::bool"):
            raise StoreError(
                f"the database {place} takes no writes: default_transaction_read_only is on",
                remedy="Turn it off (ALTER DATABASE, ALTER ROLE or the server's settings), or name another database.",
            )


async def version(connection: Connection) -> int:
    """The number of the last migration that the database has; 0 for a new one."""
    if not await connection.fetchval(_KNOWN):
        return 0
    return int(await connection.fetchval(_VERSION))


async def migrate(connection: Connection, place: str, *, steps: Sequence[Migration] | None = None) -> list[str]:
    """Bring a database to the present schema; the names of the steps that were taken.

    Raises:
        MigrationError: it is newer than this program can work on, not one of CorpGrid, or a step failed; then nothing
            was changed.
        StoreError: somebody holds on to a table for minutes.
    """
    steps = migrations("postgres") if steps is None else steps
    for tries in range(1, _TRIES + 1):
        try:
            with translated(place):
                return await _migrate(connection, place, steps)
        except StaleError as error:
            if tries == _TRIES:
                raise StoreError(
                    f"the schema of {place} cannot be changed: {error}",
                    remedy="A long statement holds a table, a backup perhaps (pg_stat_activity); try again after it.",
                ) from error
            log.info("the schema is changed a little later tries=%d error=%s", tries, error)
        await asyncio.sleep(_AGAIN_SECONDS)
    raise AssertionError


async def require_present(connection: Connection, place: str, *, steps: Sequence[Migration] | None = None) -> None:
    """Check that no migration is missing, and that this program may work on what is there.

    Raises:
        MigrationError: the database's schema is older than this program's, or too new for it.
    """
    with translated(place):
        current = await version(connection)
        newest = len(migrations("postgres") if steps is None else steps)
        await _refuse_newer(connection, place, current, newest=newest)
    if current < newest:
        raise MigrationError(f"{place} has schema {current} where this program needs {newest}")


def require_welcome(place: str, oldest_program: int, *, newest: int | None = None) -> None:
    """Check that this program may work on a database.

    Args:
        place: the database.
        oldest_program: the oldest that may, as the database says.
        newest: the newest schema that this one knows.

    Raises:
        MigrationError: it may not.
    """
    newest = len(migrations("postgres")) if newest is None else newest
    if oldest_program > newest:
        raise MigrationError(
            f"{place} was migrated for programs that know schema {oldest_program}, and this one knows {newest}",
            remedy="Run the newer CorpGrid that migrated it here too, or restore the backup from before the upgrade.",
        )


async def grid_id(connection: Connection, place: str, *, expected: str) -> str:
    """The id of the grid whose state this is.

    Raises:
        ConfigError: it is not the one that is expected.
    """
    with translated(place):
        found = str(await connection.fetchval("SELECT id FROM grid"))
    if expected and found != expected:
        raise ConfigError(
            f"the database {place} belongs to the grid {found}, and this scheduler to the grid {expected}",
            remedy="Name this grid's database in scheduler.store.  A new grid needs an empty scheduler.folder, and a "
            "database of its own or a schema of its own in this one (CREATE SCHEMA its_name; ?search_path=its_name).",
        )
    return found


async def _migrate(connection: Connection, place: str, steps: Sequence[Migration]) -> list[str]:
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0")
        await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        current = await version(connection)
        await _refuse_newer(connection, place, current, newest=len(steps))
        if not current:
            await _refuse_foreign(connection, place)
        # Whoever wants the table next waits behind this: a second without ticks is nothing, a minute is an outage.
        await connection.execute("SET LOCAL lock_timeout = '1s'")
        return [await _apply(connection, place, step) for step in steps[current:]]


async def _refuse_newer(connection: Connection, place: str, current: int, *, newest: int) -> None:
    if current > newest:
        told = await connection.fetchval(_HAS_OLDEST)
        require_welcome(place, int(await connection.fetchval(_OLDEST)) if told else current, newest=newest)


async def _refuse_foreign(connection: Connection, place: str) -> None:
    tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")
    if tables:
        raise MigrationError(
            f"{place} is a database, but not one of CorpGrid", remedy="Name an empty database for the store."
        )


async def _apply(connection: Connection, place: str, step: Migration) -> str:
    try:
        await connection.execute(VERSIONS)
        await connection.execute(step.script)
        await connection.execute(
            "INSERT INTO schema_version (number, name, oldest_program) VALUES ($1, $2, $3)",
            step.number,
            step.name,
            step.oldest_program,
        )
    except asyncpg.InsufficientPrivilegeError:
        raise
    except _FAULTS_OF_A_STEP as error:
        raise MigrationError(
            f"migration {step.number} ({step.name}) of {place} failed: {error}",
            remedy="The database is as it was before; report this.",
        ) from error
    return step.name
