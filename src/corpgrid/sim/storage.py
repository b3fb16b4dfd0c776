"""The grid's state in a simulation: the stores in memory, with the faults that real ones have.

Rules:
* A commit takes time, before it and after it: a scheduler that dies before it has changed nothing, one that dies after
  it has told nobody.
* The store says that its view was stale, after the rules have decided on it; or it fails, before anything is changed.
* After every commit, and after every collection of blobs, a watcher sees what was changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from random import Random

from corpgrid.blobs.memory import MemoryBlobs
from corpgrid.domain.effects import Effects, Need, View
from corpgrid.domain.ids import Digest
from corpgrid.errors import StaleError, StoreError
from corpgrid.ports.host import Clock
from corpgrid.ports.store import Decide
from corpgrid.sim.loop import current_process
from corpgrid.stores.memory import MemoryStore
from corpgrid.stores.settings import StoreSettings


@dataclass(slots=True, kw_only=True)
class StoreWeather:
    """What the store does now.

    Attributes:
        commit_seconds: mean time of one commit.
        stale: share of ticks that are told that their view was stale.
        failing: share of ticks that fail.
        down: whether everything fails.
    """

    commit_seconds: float = 0.002
    stale: float = 0.0
    failing: float = 0.0
    down: bool = False


class SimStore(MemoryStore):
    """``Store`` with faults.

    Args:
        settings: as for the store in memory.
        rng: chance.
        watch: told of each commit, before anybody is answered.

    Attributes:
        trap: called once, after the next commit that has something to answer and before anybody is answered.
    """

    def __init__(self, settings: StoreSettings, rng: Random, watch: Callable[[View, Effects], None]) -> None:
        super().__init__(settings)
        self.weather = StoreWeather()
        self.trap: Callable[[], None] | None = None
        self._rng = rng
        self._watch = watch

    async def transact(self, need: Need, decide: Decide) -> Effects:
        """Commit one tick, if all goes well."""
        views: list[View] = []
        stale, fails = self._rng.random() < self.weather.stale, self._rng.random() < self.weather.failing

        def deciding(view: View) -> Effects:
            views.append(view)
            effects = decide(view)
            if stale:
                raise StaleError("somebody else changed the rows in between")
            if fails:
                raise StoreError("the store could not write", remedy="It can again in a moment.")
            return effects

        await asyncio.sleep(self._rng.expovariate(1.0 / self.weather.commit_seconds))
        process = current_process()
        assert process is None or process.alive, "the dead write nothing"
        effects = await super().transact(need, deciding)
        self._watch(views[0], effects)
        if self.trap is not None and effects.replies:
            trap, self.trap = self.trap, None
            trap()
        await asyncio.sleep(self._rng.expovariate(1.0 / self.weather.commit_seconds))
        return effects

    def _require_open(self) -> None:
        super()._require_open()
        if self.weather.down:
            raise StoreError("the store cannot be reached", remedy="It can again in a while.")


class SimBlobs(MemoryBlobs):
    """``Blobs`` whose collections are watched."""

    def __init__(self, clock: Clock, watch: Callable[[set[Digest]], None]) -> None:
        super().__init__(clock)
        self._watch = watch

    async def collect(self, referenced: AsyncIterator[Digest], *, older_than_seconds: float) -> int:
        """Delete blobs that nothing references."""
        count = await super().collect(referenced, older_than_seconds=older_than_seconds)
        self._watch(set(self._contents))
        return count
