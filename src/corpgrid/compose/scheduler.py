"""A scheduler daemon: store, blobs, rules, tick, services and reaper behind one address."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from corpgrid.blobs import cloud_url
from corpgrid.blobs.cloud import CloudBlobs
from corpgrid.blobs.local import LocalBlobs
from corpgrid.compose import identity
from corpgrid.compose.audit_key import audit_key_of
from corpgrid.compose.clock import clock_of
from corpgrid.compose.ledger import sealer_of
from corpgrid.compose.process import spare_the_collector, transport_limits
from corpgrid.config import Config, SchedulerConfig
from corpgrid.config.sections import DAY_SECONDS
from corpgrid.domain import compare
from corpgrid.domain.ids import DeviceId
from corpgrid.domain.job import Comparator
from corpgrid.domain.rules import GridRules
from corpgrid.host.clock import SystemClock
from corpgrid.host.keyfiles import KeyFolder, load_keyring
from corpgrid.ports.blobs import Blobs
from corpgrid.ports.host import Clock
from corpgrid.ports.store import Store
from corpgrid.scheduler.admission import OF_TASKS
from corpgrid.scheduler.limits import SchedulerLimits
from corpgrid.scheduler.scheduler import Scheduler
from corpgrid.scheduler.sealer import Sealer
from corpgrid.stores.settings import StoreSettings
from corpgrid.stores.sqlite.store import SqliteStore
from corpgrid.transport.address import parse
from corpgrid.transport.dispatch import Dispatch
from corpgrid.transport.grpc_server import serving
from corpgrid.trust.keys import Keyring
from corpgrid.wire import data
from corpgrid.wire.convert import batch_blobs, item_payload

log = logging.getLogger(__name__)

_SECRET_BYTES = 32
_PRIVATE_FOLDER = 0o700
_DATABASE = "grid.db"
_SWEEP_LATE_SECONDS = 2.0
"""A grid that is at rest but for its sweeps is not out, even if one of them comes so late."""


class Serving(NamedTuple):
    """A scheduler that serves: where, and a wait for what ends it before its time."""

    address: str
    failed: Callable[[], Awaitable[None]]


@asynccontextmanager
async def running_scheduler(config: Config) -> AsyncIterator[Serving]:
    """A scheduler that serves within the block.

    Raises:
        ConfigError: a setting cannot be used.
        StoreError: the store cannot be opened.
    """
    settings = config.scheduler
    store, grid = await _open_store(settings, SystemClock())
    try:
        blobs = await _open_blobs(settings, grid)
        rules = _rules(config, await audit_key_of(store, settings.folder))
        async with (
            clock_of(store) as clock,
            _serving(
                config, _scheduler(config, rules, store, blobs, clock, sealer=sealer_of(grid, settings.folder))
            ) as serving,
        ):
            yield serving
    finally:
        await store.close()


def _rules(config: Config, audit_key: bytes) -> GridRules:
    settings = config.scheduler
    return GridRules(
        audit_key=audit_key,
        agree=agree,
        settings=settings.agent_settings(config.limits),
        outage_seconds=max(settings.outage_seconds, settings.sweep_seconds + _SWEEP_LATE_SECONDS),
    )


def _scheduler(  # noqa: PLR0913 - what it stands on
    config: Config, rules: GridRules, store: Store, blobs: Blobs, clock: Clock, *, sealer: Sealer
) -> Scheduler:
    settings = config.scheduler
    return Scheduler(
        store=store,
        blobs=blobs,
        clock=clock,
        # Drawn once, from the system: chance here breaks ties, it keeps no secret.
        rng=random.Random(secrets.randbits(64)),  # noqa: S311 - see above
        rules=rules,
        limits=scheduler_limits(config),
        keys=KeyFolder(settings.trusted_keys, clock.now),
        trusted=partial(_is_trusted, settings.trusted_devices),
        new_secret=partial(secrets.token_urlsafe, _SECRET_BYTES),
        sealer=sealer,
    )


@asynccontextmanager
async def _serving(config: Config, scheduler: Scheduler) -> AsyncIterator[Serving]:
    """Tick, sweep and serve within the block; then let who waits come home, and stop."""
    limits = transport_limits(config)
    dispatch = Dispatch(scheduler.agents, scheduler.grid, scheduler.blobs, limits)
    await scheduler.start()
    try:
        async with serving(dispatch, parse(config.scheduler.listen), limits) as server:
            try:
                yield Serving(address=server.address.target, failed=scheduler.failed)
            finally:
                scheduler.drain()
    finally:
        await scheduler.stop()


def agree(comparator: Comparator, one: bytes, two: bytes) -> bool:
    """Whether two encoded results are the same under a comparator that looks inside them."""
    return compare.same(comparator, one, two, decode=data.decode)


def scheduler_limits(config: Config) -> SchedulerLimits:
    """The limits of one scheduler."""
    settings = config.scheduler
    return SchedulerLimits(
        queue_events=config.limits.queued_requests,
        sweep_seconds=settings.sweep_seconds,
        keep_seconds=settings.keep_days * DAY_SECONDS,
        collect_grace_seconds=settings.blob_grace_seconds,
        bundle_bytes=config.limits.bundle_bytes,
        job_tasks=config.limits.job_tasks,
        task_attempts=config.limits.task_attempts,
        **{name: getattr(config.limits, name) for name in OF_TASKS},
    )


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)


def _is_trusted(folder: Path, device: DeviceId) -> bool:
    """Whether the operator put the device's public key into the folder."""
    keyring: Keyring = load_keyring(folder) if folder.is_dir() else Keyring()
    return any(key.device_id == device for key in keyring.values())


async def migrate_store(config: Config) -> str:
    """Bring the store to the schema of this program, and make it if it is not there; where it is.

    Older schedulers may run meanwhile where they share a database.

    Raises:
        StoreError: a scheduler has it for itself, or it cannot be read.
        MigrationError: its schema is too new for this program.
    """
    settings = config.scheduler
    store, _ = await _open_store(settings, SystemClock())
    await store.close()
    return urlsplit(settings.store).path.lstrip("/") if settings.store else str(settings.folder / _DATABASE)


async def _open_store(config: SchedulerConfig, clock: Clock) -> tuple[Store, str]:
    """SQLite in the scheduler's folder, or the database that is named; and the id of its grid."""
    _make_private(config.folder)
    settings = StoreSettings(clock=clock, item_payload=item_payload, batch_blobs=batch_blobs)
    if not config.store:
        grid = identity.of_folder(config)
        return await SqliteStore.open(config.folder / _DATABASE, settings), grid
    from corpgrid.stores.postgres.store import PostgresStore  # noqa: PLC0415 - its driver comes with the extra `postgres`

    known = identity.remembered(config)
    store = await PostgresStore.open(config.store, settings, expected_grid=known, new_grid=config.grid)
    if not known:
        identity.remember(config.folder, store.grid)
        log.info("this scheduler belongs to the grid %s now folder=%s", store.grid, config.folder)
    return store, store.grid


async def _open_blobs(settings: SchedulerConfig, grid: str) -> Blobs:
    if not settings.blobs:
        return await LocalBlobs.at(settings.folder / "blobs")
    return await CloudBlobs.at(cloud_url.parse(settings.blobs), settings.folder / "spool", grid=grid)


Ready = Callable[[str], None]


async def run_scheduler(config: Config, *, stop: asyncio.Event, ready: Ready) -> None:
    """Serve until ``stop`` is set; ``ready`` is told the address."""
    async with running_scheduler(config) as scheduler:
        spare_the_collector()
        ready(scheduler.address)
        stopping = asyncio.ensure_future(stop.wait())
        failing = asyncio.ensure_future(scheduler.failed())
        ends: set[asyncio.Future[Any]] = {stopping, failing}
        done, left = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        for task in done:
            task.result()
