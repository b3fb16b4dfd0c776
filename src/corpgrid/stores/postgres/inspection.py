"""A look at a database, on one connection, that changes nothing."""

from __future__ import annotations

from typing import NamedTuple

from corpgrid.errors import MigrationError, StoreError
from corpgrid.ports.host import Clock
from corpgrid.stores.postgres.clock import Skew, measure
from corpgrid.stores.postgres.database import Address, Connection
from corpgrid.stores.postgres.driver import translated
from corpgrid.stores.postgres.schema import grid_id, require_present, require_usable, version
from corpgrid.stores.statements import migrations

_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"
_SCHEMA = "SELECT current_schema(), (SELECT count(*) FROM pg_tables WHERE schemaname = current_schema())"


class Found(NamedTuple):
    """A database that a scheduler can use.

    Attributes:
        place: the database, without user and password.
        server: the server's version.
        grid: whose state it holds; empty if it holds none yet.
        is_old: whether it has to be migrated first.
        skew: how far this machine's clock is from the database's.
    """

    place: str
    server: str
    grid: str
    is_old: bool
    skew: Skew


async def inspect(dsn: str, own: Clock, *, expected_grid: str = "") -> Found:
    """What stands in a database.

    Args:
        dsn: as ``PostgresStore.open`` takes it.
        own: this machine's clock.
        expected_grid: the id of the grid that the database must belong to; empty for any.

    Raises:
        ConfigError: the URL is wrong, or the database belongs to another grid.
        StoreError: it cannot be used.
        MigrationError: its schema is too new for this program, or it is another program's.
    """
    address = Address.of(dsn)
    connection = await address.connect()

    async def read() -> float:
        with translated(address.place):
            return float(await connection.fetchval(_CLOCK))

    try:
        await require_usable(connection, address.place)
        with translated(address.place):
            known = await version(connection)
        grid = await grid_id(connection, address.place, expected=expected_grid) if known else ""
        is_old = 0 < known < len(migrations("postgres"))
        if not known:
            await _require_empty(connection, address.place)
        elif not is_old:
            await require_present(connection, address.place)
        skew = await measure(own, read)
    finally:
        connection.terminate()
    server = connection.get_server_version()
    return Found(address.place, f"{server.major}.{server.minor}", grid, is_old, skew)


async def _require_empty(connection: Connection, place: str) -> None:
    """Check that tables could be made."""
    with translated(place):
        row = await connection.fetchrow(_SCHEMA)
    assert row is not None
    schema, tables = row
    if schema is None:
        raise StoreError(
            f"the schema is not there ({place}): search_path names no schema that is",
            remedy="Create it: CREATE SCHEMA its_name; or correct search_path in scheduler.store.",
        )
    if tables:
        raise MigrationError(
            f"{place} is a database, but not one of CorpGrid", remedy="Name an empty database for the store."
        )
