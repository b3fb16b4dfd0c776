"""The schema's version, the way to the present one, and whether a database may be used at all.

All steps that are missing are one transaction, under an advisory lock: of many schedulers that start at once one
migrates, the others wait and find it done.
"""

from __future__ import annotations

from collections.abc import Sequence

from corpgrid.errors import ConfigError, MigrationError, StoreError
from corpgrid.stores.postgres.database import Connection
from corpgrid.stores.postgres.driver import asyncpg, translated
from corpgrid.stores.statements import Migration, migrations

OLDEST_SERVER = 14
_LOCK = 0x636F727067726964
_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
  number integer PRIMARY KEY,
  name text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
)
"""
# Read from the catalog itself: `to_regclass` may not know what was committed while this session waited for the lock.
_KNOWN = """
SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'schema_version')
"""
_VERSION = "SELECT coalesce(max(number), 0) FROM schema_version"


async def require_usable(connection: Connection, place: str) -> None:
    """Check the server.

    Raises:
        StoreError: it is too old, or a replica.
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


async def version(connection: Connection) -> int:
    """The number of the last migration that the database has; 0 for a new one."""
    if not await connection.fetchval(_KNOWN):
        return 0
    return int(await connection.fetchval(_VERSION))


async def migrate(connection: Connection, place: str, *, steps: Sequence[Migration] | None = None) -> list[str]:
    """Bring a database to the present schema; the names of the steps that were taken.

    Raises:
        MigrationError: it is newer than this program, not one of CorpGrid, or a step failed; then nothing was changed.
    """
    steps = migrations("postgres") if steps is None else steps
    with translated(place):
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0")
            await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
            current = await version(connection)
            _refuse_newer(place, current, newest=len(steps))
            if not current:
                await _refuse_foreign(connection, place)
            return [await _apply(connection, place, step) for step in steps[current:]]


async def require_present(connection: Connection, place: str, *, steps: Sequence[Migration] | None = None) -> None:
    """Check that no migration is missing.

    Raises:
        MigrationError: the database's schema is older or newer than this program's.
    """
    with translated(place):
        current = await version(connection)
    newest = len(migrations("postgres") if steps is None else steps)
    _refuse_newer(place, current, newest=newest)
    if current < newest:
        raise MigrationError(f"{place} has schema {current} where this program needs {newest}")


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
            remedy="Name the database of this grid in scheduler.store, or start with an empty scheduler.folder.",
        )
    return found


def _refuse_newer(place: str, current: int, *, newest: int) -> None:
    if current > newest:
        raise MigrationError(
            f"{place} has schema {current} where this program knows {newest}",
            remedy="Run the newer CorpGrid that wrote it, or restore the backup from before the upgrade.",
        )


async def _refuse_foreign(connection: Connection, place: str) -> None:
    tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")
    if tables:
        raise MigrationError(
            f"{place} is a database, but not one of CorpGrid", remedy="Name an empty database for the store."
        )


async def _apply(connection: Connection, place: str, step: Migration) -> str:
    try:
        await connection.execute(_VERSIONS)
        await connection.execute(step.script)
        await connection.execute("INSERT INTO schema_version VALUES ($1, $2)", step.number, step.name)
    except asyncpg.InsufficientPrivilegeError:
        raise
    except asyncpg.PostgresError as error:
        raise MigrationError(
            f"migration {step.number} ({step.name}) of {place} failed: {error}",
            remedy="The database is as it was before; report this.",
        ) from error
    return step.name
