"""What ``corpgrid doctor`` asks of a scheduler's store and blobs: could a scheduler start here, and whose are they?

Nothing that stands there is changed: no table is made, no schema migrated, no bucket taken.
"""

from __future__ import annotations

from typing import NamedTuple

from corpgrid.blobs import cloud_url
from corpgrid.blobs.cloud import CloudBlobs
from corpgrid.compose import identity
from corpgrid.config import SchedulerConfig
from corpgrid.host.clock import SystemClock


class Finding(NamedTuple):
    """What there is, and what to do if it is not as it should be."""

    detail: str
    remedy: str = ""


async def check_store(settings: SchedulerConfig) -> Finding:
    """Look at the database that ``scheduler.store`` names.

    Raises:
        ConfigError: the URL is wrong, or the database is another grid's.
        StoreError: the database cannot be used.
        MigrationError: its schema is too new for this program.
    """
    from corpgrid.stores.postgres.clock import REMEDY  # noqa: PLC0415 - its driver comes with the extra `postgres`
    from corpgrid.stores.postgres.inspection import inspect  # noqa: PLC0415 - as above

    expected = identity.remembered(settings) or settings.grid
    found = await inspect(settings.store, SystemClock(), expected_grid=expected)
    about = f"{found.place}, PostgreSQL {found.server}"
    if not found.grid:
        return Finding(f"{about}, is empty", "`corpgrid scheduler run` makes the tables.")
    if found.is_old:
        return Finding(f"{about}, has an older schema", "`corpgrid scheduler migrate` or `run` brings it up to date.")
    if found.skew.is_worth_telling:
        return Finding(found.skew.story, REMEDY)
    return Finding(f"{about}, grid {found.grid}, clock {found.skew.seconds:+.3f} s")


async def check_blobs(settings: SchedulerConfig) -> Finding:
    """Look at the bucket that ``scheduler.blobs`` names.

    Raises:
        ConfigError: the URL is wrong, or the bucket is another grid's.
        StoreError: it cannot be used, and this is why.
        UnavailableError: nobody answers.
    """
    place = cloud_url.parse(settings.blobs)
    seconds = await CloudBlobs.check(place, grid=identity.remembered(settings) or settings.grid) - SystemClock().now()
    return Finding(f"{place.name}, clock {seconds:+.0f} s")
