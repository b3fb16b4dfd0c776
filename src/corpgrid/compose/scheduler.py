"""A scheduler daemon: store, blobs, rules, tick, services and reaper behind one address."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from corpgrid import __version__
from corpgrid.blobs.local import LocalBlobs
from corpgrid.config import Config
from corpgrid.domain import compare, grid
from corpgrid.domain.answers import GridInfo
from corpgrid.domain.effects import Effects, View
from corpgrid.domain.events import Event
from corpgrid.domain.ids import DeviceId
from corpgrid.domain.job import Comparator
from corpgrid.errors import ConfigError
from corpgrid.host.clock import SystemClock
from corpgrid.host.keyfiles import load_keyring
from corpgrid.ports import Blobs, Store
from corpgrid.scheduler.changes import Changes
from corpgrid.scheduler.counters import Counters
from corpgrid.scheduler.evidence import Evidence
from corpgrid.scheduler.grid_service import GridService
from corpgrid.scheduler.limits import SchedulerLimits
from corpgrid.scheduler.reaper import Reaper
from corpgrid.scheduler.results import Results
from corpgrid.scheduler.service import AgentService
from corpgrid.scheduler.sessions import Sessions
from corpgrid.scheduler.specs import Specs
from corpgrid.scheduler.tick import Tick
from corpgrid.stores.settings import StoreSettings
from corpgrid.stores.sqlite import SqliteStore
from corpgrid.transport.address import parse
from corpgrid.transport.dispatch import Dispatch
from corpgrid.transport.grpc_server import GrpcServer
from corpgrid.transport.limits import TransportLimits
from corpgrid.trust.keys import Keyring
from corpgrid.wire import data
from corpgrid.wire.convert import batch_blobs, item_payload

log = logging.getLogger(__name__)

_KEY_BYTES = 32
_SECRET_BYTES = 32
_PRIVATE_FOLDER = 0o700


@asynccontextmanager
async def running_scheduler(config: Config) -> AsyncIterator[GrpcServer]:
    """A scheduler that serves within the block.

    Raises:
        ConfigError: a setting cannot be used.
        StoreError: the store cannot be opened.
    """
    settings = config.scheduler
    if settings.store or settings.blobs:
        raise ConfigError(
            "scheduler.store and scheduler.blobs name services that this version cannot use",
            remedy="Leave both empty: SQLite and files in scheduler.folder.",
        )
    settings.folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    clock = SystemClock()
    store = await SqliteStore.open(
        settings.folder / "grid.db", StoreSettings(clock=clock, item_payload=item_payload, batch_blobs=batch_blobs)
    )
    try:
        blobs = await LocalBlobs.at(settings.folder / "blobs")
        scheduler = _Scheduler(config, store, blobs, clock)
        async with scheduler.serving() as server:
            yield server
    finally:
        await store.close()


class _Scheduler:
    """Everything between the store and the socket."""

    def __init__(self, config: Config, store: Store, blobs: Blobs, clock: SystemClock) -> None:
        self._config = config
        self._limits = scheduler_limits(config)
        self._counters = Counters()
        self._started_at = clock.now()
        changes, sessions = Changes(), Sessions(store)
        rules = grid.GridRules(
            audit_key=_audit_key(config.scheduler.folder / "audit.key"),
            agree=agree,
            settings=config.scheduler.agent_settings(config.limits),
        )

        def committed(effects: Effects) -> None:
            sessions.note(effects.devices)
            changes.notify([job.id for job in effects.jobs])

        # Drawn once, from the system: chance here breaks ties, it keeps no secret.
        rng = random.Random(secrets.randbits(64))  # noqa: S311
        self.tick = Tick(
            store,
            need=partial(grid.need, rules=rules),
            decide=partial(_decide, rng=rng, rules=rules),
            limits=self._limits,
            counters=self._counters,
            committed=committed,
        )
        keys = partial(load_keyring, config.scheduler.trusted_keys)
        specs = Specs(store)
        evidence = Evidence(store, blobs, self._counters, keep_bytes=self._limits.evidence_bytes)
        self._agents = AgentService(
            tick=self.tick,
            blobs=blobs,
            clock=clock,
            sessions=sessions,
            evidence=evidence,
            specs=specs,
            settings=rules.settings,
            trusted=partial(_is_trusted, config.scheduler.trusted_devices),
            new_secret=partial(secrets.token_urlsafe, _SECRET_BYTES),
        )
        self._grid = GridService(
            tick=self.tick,
            store=store,
            blobs=blobs,
            clock=clock,
            keys=keys,
            results=Results(store, evidence, changes, self._limits, self._counters),
            specs=specs,
            limits=self._limits,
            seen_within_seconds=rules.seen_within_seconds,
            told=self._told,
        )
        self._reaper = Reaper(
            tick=self.tick,
            store=store,
            blobs=blobs,
            clock=clock,
            keys=keys,
            limits=self._limits,
            counters=self._counters,
        )
        self._blobs = blobs

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[GrpcServer]:
        """Tick, sweep and serve within the block; then answer who waits, and stop."""
        limits = transport_limits(self._config)
        server = GrpcServer(
            Dispatch(self._agents, self._grid, self._blobs, limits), parse(self._config.scheduler.listen), limits
        )
        ticking = asyncio.create_task(self.tick.run())
        await self._reaper.forgive_outage()
        reaping = asyncio.create_task(self._reaper.run())
        await server.start()
        try:
            yield server
        finally:
            self.tick.drain()
            await server.stop()
            reaping.cancel()
            self.tick.close()
            await asyncio.gather(reaping, ticking, return_exceptions=True)

    def _told(self, now: float) -> GridInfo:
        return GridInfo(
            version=__version__,
            now=now,
            started_at=self._started_at,
            limits={name: float(value) for name, value in asdict(self._config.limits).items()},
            counters=self._counters.snapshot(),
        )


def agree(comparator: Comparator, one: bytes, two: bytes) -> bool:
    """Whether two encoded results are the same under a comparator that looks inside them."""
    return compare.same(comparator, one, two, decode=data.decode)


def scheduler_limits(config: Config) -> SchedulerLimits:
    """The limits of one scheduler."""
    settings = config.scheduler
    return SchedulerLimits(
        queue_events=config.limits.queued_requests,
        sweep_seconds=settings.sweep_seconds,
        collect_grace_seconds=settings.blob_grace_seconds,
    )


def transport_limits(config: Config) -> TransportLimits:
    """The limits of a connection."""
    return TransportLimits(message_bytes=config.limits.message_bytes, blob_bytes=config.limits.blob_bytes)


def _decide(view: View, events: list[Event], *, rng: random.Random, rules: grid.GridRules) -> Effects:
    return grid.decide(view, events, rng=rng, rules=rules)


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


Ready = Callable[[str], None]


async def run_scheduler(config: Config, *, stop: asyncio.Event, ready: Ready) -> None:
    """Serve until ``stop`` is set; ``ready`` is told the address."""
    async with running_scheduler(config) as server:
        ready(server.address.target)
        await stop.wait()
