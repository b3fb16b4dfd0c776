"""A whole scheduler: tick, services and duties over one store, started and stopped as one.

* Order matters at both ends.  At the start leases are extended by the outage before anything is swept or anybody is
  served.  At the end ``drain`` lets every waiting call come home, the sockets close, and ``stop`` decides what is left.
* Before the rules decide on a tick, it leaves out what must not be: what came in a session that has ended since, and
  the sweep of a scheduler that leads no more.

    scheduler = Scheduler(store=store, blobs=blobs, clock=clock, rng=rng, rules=rules, ...)
    await scheduler.start()
    async with serving(Dispatch(scheduler.agents, scheduler.grid, blobs, limits), address, limits):
        await scheduler.failed()
    await scheduler.stop()
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from random import Random

import corpgrid
from corpgrid.domain import grid
from corpgrid.domain.answers import GridInfo
from corpgrid.domain.effects import Effects, View
from corpgrid.domain.events import Event, Swept
from corpgrid.domain.hints import Hint
from corpgrid.domain.ids import DeviceId
from corpgrid.domain.rules import GridRules
from corpgrid.errors import CorpGridError, StaleError
from corpgrid.ports.blobs import Blobs
from corpgrid.ports.host import Clock
from corpgrid.ports.store import Store
from corpgrid.scheduler.attachments import Attachments
from corpgrid.scheduler.changes import Changes
from corpgrid.scheduler.counters import Counters
from corpgrid.scheduler.duties import Duties
from corpgrid.scheduler.evidence import Evidence
from corpgrid.scheduler.footprint import Keys
from corpgrid.scheduler.grid_service import GridService
from corpgrid.scheduler.job_blobs import JobBlobs
from corpgrid.scheduler.limits import SchedulerLimits
from corpgrid.scheduler.news import news_of
from corpgrid.scheduler.reaper import Reaper
from corpgrid.scheduler.results import Results
from corpgrid.scheduler.sealer import Sealer
from corpgrid.scheduler.service import AgentService
from corpgrid.scheduler.sessions import Sessions
from corpgrid.scheduler.specs import Specs
from corpgrid.scheduler.tick import Tick

log = logging.getLogger(__name__)

_TICKING_SECONDS = 2.0
"""Who ticks says so in the store every second, also while nothing changes."""


class Scheduler:
    """Everything but the sockets.

    Args:
        store: all state.
        blobs: where bytes stand.
        clock: what the time is.
        rng: chance for the rules; used in the store's thread alone.
        rules: what the operator decides.
        limits: what is taken on.
        keys: the submitters that are trusted now.
        trusted: whether a device is the operator's own.
        new_secret: makes a session's secret, which nobody can guess.
        sealer: what seals the ledger; None leaves it open.

    Attributes:
        agents: what agents ask (``ports.SchedulerApi``).
        grid: what everybody else asks (``ports.GridApi``).
        blobs: where bytes stand (``ports.blobs.Blobs``), those in jobs' rows included.
        counters: what is counted.
    """

    def __init__(  # noqa: PLR0913 -- what a scheduler stands on, by name
        self,
        *,
        store: Store,
        blobs: Blobs,
        clock: Clock,
        rng: Random,
        rules: GridRules,
        limits: SchedulerLimits,
        keys: Keys,
        trusted: Callable[[DeviceId], bool],
        new_secret: Callable[[], str],
        sealer: Sealer | None,
    ) -> None:
        self.counters = Counters()
        self._store = store
        self._clock = clock
        self._limits = limits
        self._rules = rules
        self._changes = Changes()
        self._sessions = Sessions(store)
        self._started_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._tick = Tick(
            store,
            need=partial(grid.need, rules=rules),
            decide=partial(self._decide, rng),
            limits=limits,
            counters=self.counters,
            committed=self._committed,
            shared=store.shared,
        )
        self.blobs = blobs = JobBlobs(blobs, store, self.counters)
        self._specs = specs = Specs(store)
        self._attachments = attachments = Attachments(blobs)
        self._evidence = evidence = Evidence(store, blobs, self.counters, keep_bytes=limits.evidence_bytes)
        self.agents = AgentService(
            tick=self._tick,
            blobs=blobs,
            clock=clock,
            sessions=self._sessions,
            evidence=evidence,
            specs=specs,
            attachments=attachments,
            settings=rules.settings,
            trusted=trusted,
            new_secret=new_secret,
        )
        self.grid = GridService(
            tick=self._tick,
            store=store,
            blobs=blobs,
            clock=clock,
            keys=keys,
            results=Results(store, evidence, self._changes, limits, self.counters),
            specs=specs,
            limits=limits,
            seen_within_seconds=rules.seen_within_seconds,
            told=self._told,
        )
        self._reaper = Reaper(
            tick=self._tick,
            store=store,
            blobs=blobs,
            clock=clock,
            keys=keys,
            limits=limits,
            counters=self.counters,
        )
        self._duties = Duties(store, self._tick, self._reaper, sealer, look_seconds=limits.sweep_seconds)

    async def start(self) -> None:
        """Begin to tick; when this returns, calls may come."""
        self._started_at = self._clock.now()
        self._store.listen(self._heard)
        self._tasks.append(asyncio.create_task(self._tick.run(), name="tick"))
        if await self._store.lead() and not await self._others_tick():
            await self._reaper.forgive_outage()
        self._tasks.append(asyncio.create_task(self._duties.run(), name="duties"))

    async def failed(self) -> None:
        """Wait until something that must run has ended; raises what ended it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def drain(self) -> None:
        """Let every call that waits come home, and let none wait any more."""
        self._tick.drain()
        self._changes.close()

    async def stop(self) -> None:
        """Decide what came in, then end."""
        self.drain()
        self._tick.close()
        tasks, self._tasks = self._tasks, []
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks[1:], return_exceptions=True)
        for task in tasks[:1]:
            await task
        log.info("scheduler stopped ticks=%d events=%d", self.counters.ticks, self.counters.events)

    async def _others_tick(self) -> bool:
        """Whether other schedulers are there: then the grid was not out, and a tick that says it was is never first."""
        return self._store.shared and self._clock.now() - await self._store.last_seen() < _TICKING_SECONDS

    def _decide(self, rng: Random, view: View, events: Sequence[Event]) -> Effects:
        """Called in the store's thread."""
        refused: dict[int, CorpGridError] = dict(self._sessions.ended(view, events))
        if not view.leads:
            late = StaleError("another scheduler leads now", remedy="Nothing is amiss: it goes on with this.")
            refused.update((event.ticket, late) for event in events if isinstance(event, Swept))
        if not refused:
            return grid.decide(view, events, rng=rng, rules=self._rules)
        kept = [event for event in events if event.ticket not in refused]
        effects = grid.decide(view, kept, rng=rng, rules=self._rules)
        return replace(effects, replies={**effects.replies, **refused})

    def _committed(self, view: View, effects: Effects, hint: Hint) -> None:
        for new in effects.new_jobs:
            self._specs.note(new)
            self._attachments.note(new.attachments)
        for batch in effects.batches:
            self._evidence.note(batch)
        self._sessions.note(effects.devices)
        self._changes.notify(hint.ended, news_of(view, effects))

    def _heard(self, hint: Hint) -> None:
        """Another scheduler's tick changed something."""
        self._sessions.forget(hint.devices)
        self._changes.notify(hint.ended)
        self._tick.hint(hint)

    def _told(self, now: float) -> GridInfo:
        return GridInfo(
            version=corpgrid.__version__,
            now=now,
            started_at=self._started_at,
            limits=_named(asdict(self._limits) | asdict(self._rules.settings)),
            counters=self.counters.snapshot(),
        )


def _named(limits: Mapping[str, float]) -> Mapping[str, float]:
    return {name: float(value) for name, value in limits.items()}
