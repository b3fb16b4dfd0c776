"""The driver of PostgreSQL, which comes with the extra ``postgres``, and its errors as those of this program.

Whoever imports this module without the extra is told what to install.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from corpgrid.errors import ConfigError, StaleError, StoreError

try:
    import asyncpg
except ModuleNotFoundError as error:
    raise ConfigError(
        "scheduler.store names PostgreSQL, whose driver is not installed",
        remedy="Run `pip install 'corpgrid[postgres]'`, or leave scheduler.store empty for SQLite.",
    ) from error

__all__ = ["BROKEN", "asyncpg", "translated"]

BROKEN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What a statement raises; the third where the server ends a connection at the very moment in which it is used."""
_STALE = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError)
_NAMES = frozenset({"jobs_id_key", "devices_id_key"})
"""Who adds one of these looked first whether it is there."""
_REMEDIES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str, str], ...] = (
    (
        asyncpg.TooManyConnectionsError,
        "the database server has no connection left",
        "Raise the server's max_connections, or run fewer schedulers on it.",
    ),
    (
        asyncpg.DiskFullError,
        "no room for the store: the disk of the database server is full",
        "Free space there; nothing that was acknowledged is lost.",
    ),
    (
        asyncpg.ReadOnlySQLTransactionError,
        "the database takes no writes",
        "Name the primary server in scheduler.store, not a replica.",
    ),
    (
        asyncpg.InsufficientPrivilegeError,
        "the database refuses its user",
        "Make the user the owner of a database of its own: CREATE DATABASE corpgrid OWNER its_name.",
    ),
    (
        asyncpg.InvalidPasswordError,
        "the database refuses the user's password",
        "Correct the password in scheduler.store, or in the file that PGPASSFILE names.",
    ),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "the database server does not let this user in",
        "Correct the user in scheduler.store, or allow it in the server's pg_hba.conf.",
    ),
    (
        asyncpg.InvalidCatalogNameError,
        "the database is not there",
        "Create it: CREATE DATABASE corpgrid OWNER its_name; then try again.",
    ),
    (
        asyncpg.QueryCanceledError,
        "a statement took too long",
        "See what else the database server does (pg_stat_activity); the tick is tried again.",
    ),
    (
        asyncpg.UndefinedTableError,
        "a table of the store is not there",
        "Run `corpgrid scheduler migrate`, or restore the database from its backup.",
    ),
    (
        TimeoutError,
        "the database server did not answer in time",
        "Is it running, and does scheduler.store name its host and port?",
    ),
    ((asyncpg.DataError, UnicodeEncodeError, OverflowError), "a value cannot be stored", ""),
    (asyncpg.UniqueViolationError, "a row that is new is in the store already", ""),
    (
        (
            asyncpg.PostgresConnectionError,
            asyncpg.OperatorInterventionError,
            asyncpg.IdleInTransactionSessionTimeoutError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            OSError,
        ),
        "the connection to the store failed",
        "Is the database server running, and does scheduler.store name it?  It is tried again.",
    ),
)


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Errors of the driver and the system become ``StaleError`` or ``StoreError``.

    Args:
        place: the database, without its password.
    """
    try:
        yield
    except asyncpg.ClientConfigurationError:
        raise
    except (*BROKEN, UnicodeEncodeError, OverflowError) as error:
        raise store_error(place, error) from error


def store_error(place: str, error: Exception) -> StoreError:
    """What went wrong, and what to do next."""
    if isinstance(error, _STALE):
        return StaleError(f"another scheduler was faster at {place}: {error}", remedy="The tick is tried again.")
    if isinstance(error, asyncpg.UniqueViolationError) and error.constraint_name in _NAMES:
        return StaleError(f"another scheduler was first: {error}", remedy="The tick is tried again.")
    for kinds, story, remedy in _REMEDIES:
        if isinstance(error, kinds):
            return StoreError(f"{story} ({place}): {error or type(error).__name__}", remedy=remedy)
    return StoreError(f"the store at {place} failed: {error} ({getattr(error, 'sqlstate', type(error).__name__)})")
