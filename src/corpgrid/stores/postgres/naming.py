"""Gives a new database the name of its grid, once.

A database is made with an id that nobody has.  The first scheduler whose settings name its grid puts that name there,
while nothing stands in the database yet; of two with different names that come at once the second is refused.
"""

from __future__ import annotations

from corpgrid.stores.postgres.database import Connection
from corpgrid.stores.postgres.driver import translated

# Whoever waits for another's update of the row looks again at what it says then.
_NAME = """
UPDATE grid SET id = $1
WHERE id ~ '^[0-9a-f]{32}$' AND NOT EXISTS (SELECT FROM jobs) AND NOT EXISTS (SELECT FROM devices)
"""


async def name_grid(connection: Connection, place: str, grid: str) -> None:
    """Name the grid of a database that was never used and has no name yet; any other stays as it is."""
    with translated(place):
        await connection.execute(_NAME, grid)
