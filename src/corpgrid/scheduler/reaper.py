"""What happens because time passes: leases that ran out, tasks that are due, blobs that nothing names.

Rules:
* Only while a job runs can a lease run out or a task wait; an idle grid is left alone.
* A scheduler that comes up, or wakes from a sleep, or gets its store back, extends every lease by the time that it was
  not there, before anything is swept: its own absence is nobody's fault.
* A sweep or a collection that fails is logged, and tried again at its next time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from corpgrid.domain.events import Swept
from corpgrid.domain.job import JobState
from corpgrid.errors import CorpGridError
from corpgrid.ports.blobs import Blobs
from corpgrid.ports.host import Clock
from corpgrid.ports.store import Store
from corpgrid.scheduler.counters import Counters
from corpgrid.scheduler.footprint import Footprints, Keys
from corpgrid.scheduler.limits import SchedulerLimits
from corpgrid.scheduler.tick import Tick

log = logging.getLogger(__name__)


class Reaper:
    """Sweeps and collects, each at its own pace.

    Args:
        tick: what decides.
        store: all state.
        blobs: where bytes stand.
        clock: what the time is.
        keys: the submitters that are trusted now.
        limits: how often.
        counters: what is counted.
    """

    def __init__(  # noqa: PLR0913 -- what the reaper stands on, by name
        self,
        *,
        tick: Tick,
        store: Store,
        blobs: Blobs,
        clock: Clock,
        keys: Keys,
        limits: SchedulerLimits,
        counters: Counters,
    ) -> None:
        self._tick = tick
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._footprints = Footprints(blobs, keys, grace_seconds=limits.collect_grace_seconds)
        self._limits = limits
        self._counters = counters
        self._swept_at = 0.0

    async def run(self) -> None:
        """Until it is cancelled."""
        paces = [_every(self._limits.sweep_seconds, "sweep", self.sweep)]
        if self._limits.collect_seconds > 0:
            paces.append(_every(self._limits.collect_seconds, "collection", self.collect))
        await asyncio.gather(*paces)

    async def forgive_outage(self) -> float:
        """Extend leases by the time that no scheduler was there; how long that was."""
        last_seen, now = await self._store.last_seen(), self._clock.now()
        outage_seconds = await self._forgive(now - last_seen) if last_seen > 0 else 0.0
        self._swept_at = now
        return outage_seconds

    async def sweep(self) -> None:
        """Look at leases and waiting tasks, if there can be any."""
        now = self._clock.now()
        gap_seconds = now - self._swept_at - self._limits.sweep_seconds
        if self._swept_at > 0 and gap_seconds > self._limits.outage_seconds:
            await self._forgive(gap_seconds)
        if await self._store.jobs(states=[JobState.RUNNING], limit=1):
            await self._tick.ask(Swept(ticket=self._tick.ticket()))
            self._counters.sweeps += 1
        # Only now: while the store fails, nobody could renew a lease.
        self._swept_at = now

    async def _forgive(self, seconds: float) -> float:
        outage_seconds = min(seconds, self._limits.outage_longest_seconds)
        if outage_seconds <= 0:
            return 0.0
        await self._tick.ask(Swept(ticket=self._tick.ticket(), outage_seconds=outage_seconds))
        log.info("leases extended outage_seconds=%.3f", outage_seconds)
        return outage_seconds

    async def collect(self) -> None:
        """Delete old blobs that nothing names."""
        live = self._footprints.live(self._store)
        collected = await self._blobs.collect(live, older_than_seconds=self._limits.collect_grace_seconds)
        self._counters.blobs_collected += collected
        if collected:
            log.info("blobs collected count=%d", collected)


async def _every(seconds: float, name: str, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except CorpGridError as error:
            log.warning("%s failed code=%s error=%s", name, error.code, error)
        except Exception:
            log.exception("%s failed", name)
