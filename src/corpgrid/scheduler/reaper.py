"""What happens because time passes: leases that ran out, tasks that are due, jobs and blobs that are kept no more.

Rules:
* Only while a job runs can a lease run out or a task wait; an idle grid is left alone.
* The first thing that a scheduler does is a sweep: the rules see then whether the grid was out, and forgive it.
* What a job brought is kept for ``keep_seconds`` after its end, by the store's own time, and never before its end.
  First the store throws away what its rows hold; blobs that no other job needs follow.
* A sweep or a collection that fails is logged, and tried again at its next time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from corpgrid.domain.events import Swept
from corpgrid.domain.job import JobState
from corpgrid.errors import CorpGridError, StaleError
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
        self._footprints = Footprints(
            blobs, keys, grace_seconds=limits.collect_grace_seconds, bundle_bytes=limits.bundle_bytes
        )
        self._limits = limits
        self._counters = counters

    async def run(self) -> None:
        """Until it is cancelled."""
        limits = self._limits
        paces = [_every(limits.sweep_seconds, "sweep", self.sweep)]
        if limits.collect_seconds > 0:
            # What is kept for less than that must not lie around for longer than it is kept.
            seconds = min(limits.collect_seconds, limits.keep_seconds or limits.collect_seconds)
            paces.append(_every(seconds, "collection", self.collect))
        await asyncio.gather(*paces)

    async def forgive_outage(self) -> float:
        """Let the rules see, before anybody is served, for how long no scheduler was there; how long that was."""
        try:
            return await self._sweep(started=True)
        except StaleError:
            return 0.0  # another scheduler leads: the grid was not out

    async def sweep(self) -> None:
        """Look at leases and waiting tasks, if there can be any."""
        if await self._store.jobs(states=[JobState.RUNNING], limit=1):
            await self._sweep(started=False)
            self._counters.sweeps += 1

    async def _sweep(self, *, started: bool) -> float:
        outage_seconds = await self._tick.answer(float, Swept(ticket=self._tick.ticket(), started=started))
        if outage_seconds > 0.0:
            log.info("leases extended outage_seconds=%.3f", outage_seconds)
        return outage_seconds

    async def collect(self) -> None:
        """Throw away what jobs brought that ended too long ago, then old blobs that nothing names any more."""
        limits, now = self._limits, await self._time()
        ended_after = max(now - limits.keep_seconds, 0.0) if limits.keep_seconds > 0 else 0.0
        jobs = await self._store.collect(ended_before=ended_after, now=now) if ended_after > 0.0 else 0
        live = self._footprints.live(self._store, ended_after=ended_after)
        blobs = await self._blobs.collect(live, older_than_seconds=limits.collect_grace_seconds)
        self._counters.jobs_collected += jobs
        self._counters.blobs_collected += blobs
        if jobs or blobs:
            log.info("collected jobs=%d blobs=%d", jobs, blobs)

    async def _time(self) -> float:
        """The time by which jobs are old.  A clock that runs ahead must not make them so: of two the earlier counts."""
        return min(self._clock.now(), await self._store.last_seen())


async def _every(seconds: float, name: str, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except CorpGridError as error:
            log.warning("%s failed code=%s error=%s", name, error.code, error)
        except Exception:
            log.exception("%s failed", name)
