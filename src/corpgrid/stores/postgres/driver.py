"""The driver of PostgreSQL, which comes with the extra ``postgres``, and its errors as those of this program.

Whoever imports this module without the extra is told what to install.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from corpgrid.errors import ConfigError, StaleError, StoreError

try:
    import asyncpg
except ModuleNotFoundError as error:
    raise ConfigError(
        "scheduler.store names PostgreSQL, whose driver is not installed",
        remedy="Run `pip install 'corpgrid[postgres]'`, or leave scheduler.store empty for SQLite.",
    ) from error

# While the server is away its pool says so every second, with a traceback.  Whoever ticks says it once a try, in words.
logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)

__all__ = ["BROKEN", "asyncpg", "connecting", "translated"]

BROKEN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What a statement raises; the third where the server ends a connection at the very moment in which it is used."""
_STALE = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError)
_NAMES = frozenset({"jobs_id_key", "devices_id_key"})
"""Who adds one of these looked first whether it is there."""
_A_BUG = "Report this; nothing was changed."
_Kinds: TypeAlias = "type[Exception] | tuple[type[Exception], ...]"
_REMEDIES: tuple[tuple[_Kinds, str, str], ...] = (
    # -- what the server says
    (
        asyncpg.TooManyConnectionsError,
        "the database server has no connection left",
        "Raise the server's max_connections, or run fewer schedulers on it.",
    ),
    (
        asyncpg.DiskFullError,
        "no room for the store: the disk of the database server is full",
        "Free space there; nothing that was acknowledged is lost, and a scheduler that runs goes on by itself.",
    ),
    (
        asyncpg.ReadOnlySQLTransactionError,
        "the database takes no writes",
        "Name the primary server in scheduler.store, not a replica; or turn default_transaction_read_only off there.",
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
        "Create it: CREATE DATABASE corpgrid OWNER its_name; or correct the name in scheduler.store.",
    ),
    (
        asyncpg.InvalidSchemaNameError,
        "the schema is not there",
        "Create it: CREATE SCHEMA its_name; or correct search_path in scheduler.store.",
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
        asyncpg.CannotConnectNowError,
        "the database server is starting or stopping",
        "Wait until it is up; a scheduler that runs goes on by itself.",
    ),
    (
        asyncpg.TargetServerAttributeNotMatched,
        "no server of scheduler.store is what target_session_attrs asks for",
        "Name the primary server in scheduler.store, or see why none of them is one.",
    ),
    ((asyncpg.DataError, UnicodeEncodeError, OverflowError), "a value cannot be stored", _A_BUG),
    (asyncpg.UniqueViolationError, "a row that is new is in the store already", _A_BUG),
    # -- why there is no server
    (
        TimeoutError,
        "the database server did not answer in time",
        "Is it running, and does scheduler.store name its host and port?  Look at firewalls, too.",
    ),
    (
        socket.gaierror,
        "the host of the database server is not known",
        "Correct the host in scheduler.store, or see whether this machine's DNS knows it.",
    ),
    (
        ConnectionRefusedError,
        "nobody listens where the database server should",
        "Start the server, or correct host and port in scheduler.store; a scheduler that runs goes on by itself.",
    ),
    (
        ssl.SSLError,
        "the connection to the database server cannot be encrypted as it should",
        "Correct sslmode and sslrootcert in scheduler.store, or the server's certificate.",
    ),
    (
        FileNotFoundError,
        "a file or folder that scheduler.store names is not there",
        "Start the server, or correct host (the folder of its socket) or sslrootcert in scheduler.store.",
    ),
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
        "Is the server running, does scheduler.store name it, and does it speak TLS if sslmode asks for that?",
    ),
)
"""The first line that fits counts."""
_IN_URL = (asyncpg.UndefinedObjectError, asyncpg.CantChangeRuntimeParamError, asyncpg.DataError)
"""At the start of a session: the URL sets what the server does not have, or to what it cannot be."""


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


@contextmanager
def connecting(place: str) -> Iterator[None]:
    """Errors of the driver while it connects: those of ``translated``, and ``ConfigError`` where the URL is to blame.

    Args:
        place: the database, without its password.
    """
    try:
        with translated(place):
            yield
    except (ValueError, asyncpg.ClientConfigurationError) as error:
        raise _unusable(place, error) from error
    except StoreError as error:
        cause = error.__cause__
        if isinstance(cause, _IN_URL):
            raise ConfigError(
                f"scheduler.store has an option that the database server does not take ({place}): {cause}",
                remedy="Correct what stands after the ? in it: host, sslmode, sslrootcert, target_session_attrs, "
                "search_path, or a setting of the server.",
            ) from cause
        if isinstance(cause, (UnicodeEncodeError, OverflowError)):
            raise _unusable(place, cause) from cause
        raise


def store_error(place: str, error: Exception) -> StoreError:
    """What went wrong, and what to do next."""
    said = " ".join(str(error).split()) or type(error).__name__  # on one line, with its hint
    if isinstance(error, _STALE):
        return StaleError(f"another scheduler was faster at {place}: {said}", remedy="The tick is tried again.")
    if isinstance(error, asyncpg.UniqueViolationError) and error.constraint_name in _NAMES:
        return StaleError(f"another scheduler was first: {said}", remedy="The tick is tried again.")
    for kinds, story, remedy in _REMEDIES:
        if isinstance(error, kinds):
            return StoreError(f"{story} ({place}): {said}", remedy=remedy)
    return StoreError(
        f"the store at {place} failed: {said} ({getattr(error, 'sqlstate', type(error).__name__)})",
        remedy="The database server's log says more; a scheduler that runs tries again.",
    )


def _unusable(place: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"scheduler.store has a part that cannot be used ({place}): {error}",
        remedy="Write it as postgresql://user@host:5432/database?sslmode=verify-full.",
    )
