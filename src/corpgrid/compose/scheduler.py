"""A scheduler daemon: store, blobs, rules, tick, services and reaper behind one address."""

from __future__ import annotations

import asyncio
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
from corpgrid.compose.process import spare_the_collector, transport_limits
from corpgrid.config import Config, SchedulerConfig
from corpgrid.domain import compare
from corpgrid.domain.ids import DeviceId
from corpgrid.domain.job import Comparator
from corpgrid.domain.rules import GridRules
from corpgrid.errors import ConfigError
from corpgrid.host.clock import SystemClock
from corpgrid.host.keyfiles import KeyFolder, load_keyring
from corpgrid.ports.blobs import Blobs
from corpgrid.ports.store import Store
from corpgrid.scheduler.limits import SchedulerLimits
from corpgrid.scheduler.scheduler import Scheduler
from corpgrid.stores.settings import StoreSettings
from corpgrid.stores.sqlite.store import SqliteStore
from corpgrid.transport.address import parse
from corpgrid.transport.dispatch import Dispatch
from corpgrid.transport.grpc_server import GrpcServer, serving
from corpgrid.trust.keys import Keyring
from corpgrid.wire import data
from corpgrid.wire.convert import batch_blobs, item_payload

_KEY_BYTES = 32
_SECRET_BYTES = 32
_PRIVATE_FOLDER = 0o700
_DATABASE = "grid.db"
_GRID = "grid.id"


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
    clock = SystemClock()
    store = await _open_store(settings, clock)
    try:
        blobs = await _open_blobs(settings)
        scheduler = _scheduler(config, store, blobs, clock)
        async with _serving(config, scheduler) as server:
            yield Serving(address=server.address.target, failed=scheduler.failed)
    finally:
        await store.close()


def _scheduler(config: Config, store: Store, blobs: Blobs, clock: SystemClock) -> Scheduler:
    settings = config.scheduler
    rules = GridRules(
        audit_key=_audit_key(settings.folder / "audit.key"),
        agree=agree,
        settings=settings.agent_settings(config.limits),
    )
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
    )


@asynccontextmanager
async def _serving(config: Config, scheduler: Scheduler) -> AsyncIterator[GrpcServer]:
    """Tick, sweep and serve within the block; then let who waits come home, and stop."""
    limits = transport_limits(config)
    dispatch = Dispatch(scheduler.agents, scheduler.grid, scheduler.blobs, limits)
    await scheduler.start()
    try:
        async with serving(dispatch, parse(config.scheduler.listen), limits) as server:
            try:
                yield server
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
        outage_seconds=settings.outage_seconds,
        collect_grace_seconds=settings.blob_grace_seconds,
    )


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)


def _is_trusted(folder: Path, device: DeviceId) -> bool:
    """Whether the operator put the device's public key into the folder."""
    keyring: Keyring = load_keyring(folder) if folder.is_dir() else Keyring()
    return any(key.device_id == device for key in keyring.values())


def _audit_key(path: Path) -> bytes:
    """The secret of the audit coin; made once."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(secrets.token_bytes(_KEY_BYTES))
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ConfigError(f"{path} is damaged", remedy="Delete it; a new one is made, and open audits are drawn anew.")
    return key


async def migrate_store(config: Config) -> str:
    """Bring the store to the schema of this program, and make it if it is not there; where it is.

    Raises:
        StoreError: a scheduler has it open, or it cannot be read.
        MigrationError: its schema is newer than this program.
    """
    settings = config.scheduler
    store = await _open_store(settings, SystemClock())
    await store.close()
    return urlsplit(settings.store).path.lstrip("/") if settings.store else str(settings.folder / _DATABASE)


async def _open_store(config: SchedulerConfig, clock: SystemClock) -> Store:
    """SQLite in the scheduler's folder, or the database that is named; the folder remembers whose that is."""
    folder = config.folder
    _make_private(folder)
    settings = StoreSettings(clock=clock, item_payload=item_payload, batch_blobs=batch_blobs)
    if not config.store:
        return await SqliteStore.open(folder / _DATABASE, settings)
    from corpgrid.stores.postgres.store import PostgresStore  # noqa: PLC0415 - its driver comes with the extra `postgres`

    known = folder / _GRID
    expected = known.read_text(encoding="ascii").strip() if known.exists() else ""
    store = await PostgresStore.open(config.store, settings, expected_grid=expected)
    known.write_text(f"{store.grid}\n", encoding="ascii")
    return store


async def _open_blobs(settings: SchedulerConfig) -> Blobs:
    if not settings.blobs:
        return await LocalBlobs.at(settings.folder / "blobs")
    return await CloudBlobs.at(cloud_url.parse(settings.blobs), settings.folder / "spool")


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
