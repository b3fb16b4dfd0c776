"""The grid's state in a simulation: the store in memory, with the faults that real ones have, and who shares it.

Rules:
* A commit takes time, before it and after it: a scheduler that dies before it has changed nothing, one that dies after
  it has told nobody.
* The store says that its view was stale, after the rules have decided on it; or it fails, before anything is changed.
* Each scheduler has a ``Connection`` of its own.  Where there are several, each hears of the others' commits by hints,
  late or never; ready work of jobs that another is just writing is passed over, as locks on rows have it; and one of
  them leads, until it is dead or was not heard of for some seconds.
* After every commit, and after every collection of blobs, a watcher sees what was changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import Context
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from corpgrid.blobs.memory import MemoryBlobs
from corpgrid.domain.effects import Effects, Need, View
from corpgrid.domain.hints import Hint, hint_of
from corpgrid.domain.ids import DeviceId, Digest, JobId, OwnerId
from corpgrid.errors import StaleError, StoreError
from corpgrid.ports.host import Clock
from corpgrid.ports.store import Decide
from corpgrid.sim.loop import Process, SimLoop
from corpgrid.stores.memory import MemoryStore
from corpgrid.stores.presence import changes_owners, count_owners
from corpgrid.stores.settings import StoreSettings

Heard = Callable[[Hint], None]
_SILENT_SECONDS = 5.0
"""A leader that is not heard of for so long is one no more."""
_NOTHING = Hint()
_ANYTHING = Hint(work=True)


@dataclass(slots=True, kw_only=True)
class StoreWeather:
    """What the store does now.

    Attributes:
        stale: share of ticks that are told that their view was stale.
        failing: share of ticks that fail.
        down: whether everything fails.
        lost_hints: share of hints that reach nobody.
    """

    stale: float = 0.0
    failing: float = 0.0
    down: bool = False
    lost_hints: float = 0.0


class SimStore(MemoryStore):
    """What all schedulers share.

    Args:
        settings: as for the store in memory.
        rng: chance.
        watch: told of each commit, before anybody is answered.
        commit_seconds: mean time of each of the two ways of a commit.

    Attributes:
        trap: called once, after the next commit that has something to answer and before anybody is answered, with the
            process that made it.
    """

    def __init__(
        self, settings: StoreSettings, rng: Random, watch: Callable[[View, Effects], None], *, commit_seconds: float
    ) -> None:
        super().__init__(settings)
        self.weather = StoreWeather()
        self.trap: Callable[[Process], None] | None = None
        self.rng = rng
        self.watch = watch
        self.commit_seconds = commit_seconds
        self.connections: dict[Connection, None] = {}
        self._leader: Connection | None = None
        self._led_at = 0.0
        self._of_owner: dict[OwnerId, dict[DeviceId, None]] = {}

    def connect(self, process: Process, loop: SimLoop, *, shared: bool) -> Connection:
        """A connection for the scheduler that runs in this process."""
        connection = Connection(self, process, loop, shared=shared)
        self.connections = {one: None for one in (*self.connections, connection) if one.process.alive}
        return connection

    def take_lead(self, candidate: Connection, *, now: float) -> bool:
        """Whether this one leads now."""
        self._require_open()
        leader = self._leader
        held = leader is not None and leader.process.alive and now - self._led_at < _SILENT_SECONDS
        if leader is not candidate and held:
            return False
        self._leader, self._led_at = candidate, now
        return True

    def leads(self, connection: Connection) -> bool:
        """Whether nobody took the lead from it."""
        return self._leader is connection

    def _apply(self, effects: Effects, view: View) -> None:
        """As it is, but one owner who comes or goes is counted alone: in a large fleet somebody always does."""
        devices, counted_at = self._tables.devices, self._owners_at
        moved = {row.owner for row in effects.devices if changes_owners(devices, (row,))}
        super()._apply(effects, view)
        if not moved:
            return
        for row in effects.devices:
            self._of_owner.setdefault(row.owner, {})[row.id] = None
        theirs = [devices[device] for owner in moved for device in self._of_owner[owner]]
        seen_since = view.now - self._settings.seen_within_seconds
        others = {owner: there for owner, there in self._owners.items() if owner not in moved}
        self._owners = {**others, **count_owners(theirs, seen_since=seen_since)}
        self._owners_at = counted_at

    def _require_open(self) -> None:
        super()._require_open()
        if self.weather.down:
            raise StoreError("the store cannot be reached", remedy="It can again in a while.")


class Connection:
    """``Store`` as one scheduler has it.

    Attributes:
        shared: whether there are other schedulers.
        cut: whether the store is out of its reach.
        busy: jobs whose rows it holds just now.
    """

    def __init__(self, store: SimStore, process: Process, loop: SimLoop, *, shared: bool) -> None:
        self.shared = shared
        self.process = process
        self.cut = False
        self.busy: frozenset[JobId] = frozenset()
        self._store = store
        self._loop = loop
        self._heard: Heard | None = None
        self._led = False

    def __getattr__(self, name: str) -> Any:
        """Everything that is read is read from what all share."""
        self._require_reached()
        return getattr(self._store, name)

    def _require_reached(self) -> None:
        if self.cut:
            raise StoreError("the connection to the store is lost", remedy="It comes back in a while.")

    async def lead(self) -> bool:
        """Try to have the lead, or to keep it."""
        self._require_reached()
        leads = self._store.take_lead(self, now=self._loop.time())
        self._led |= leads
        return leads

    def listen(self, heard: Heard) -> None:
        """Tell where another scheduler changed something."""
        if self.shared:
            self._heard = heard
            self.hear(_ANYTHING)

    def hear(self, hint: Hint) -> None:
        """A hint is on its way to this scheduler."""
        seconds = self._store.rng.expovariate(1.0 / self._store.commit_seconds)
        self._loop.call_later(seconds, self._pass_on, hint, context=self.process.context)

    def _pass_on(self, hint: Hint) -> None:
        if self._heard is not None and self.process.alive and not self.cut:
            self._heard(hint)

    async def transact(self, need: Need, decide: Decide) -> Effects:
        """Commit one tick, if all goes well."""
        store, rng = self._store, self._store.rng
        views: list[View] = []
        stale, fails = rng.random() < store.weather.stale, rng.random() < store.weather.failing

        def deciding(view: View) -> Effects:
            seen = self._as_shared(view, need) if self.shared else view
            views.append(seen)
            effects = decide(seen)
            if stale:
                raise StaleError("somebody else changed the rows in between")
            if fails:
                raise StoreError("the store could not write", remedy="It can again in a moment.")
            return effects

        await asyncio.sleep(rng.expovariate(1.0 / store.commit_seconds))
        assert self.process.alive, "the dead write nothing"
        self._require_reached()
        effects = await store.transact(need, deciding)
        store.watch(views[0], effects)
        if self.shared:
            self._hold(views[0])
            self._tell(hint_of(views[0], effects))
        if store.trap is not None and effects.replies:
            trap, store.trap = store.trap, None
            trap(self.process)
        await asyncio.sleep(rng.expovariate(1.0 / store.commit_seconds))
        return effects

    def _hold(self, view: View) -> None:
        """Its locks last a little longer than the moment at which everything is committed here."""
        self.busy = frozenset(view.jobs)
        self._loop.call_later(
            self._store.rng.expovariate(1.0 / self._store.commit_seconds), self._let_go, context=Context()
        )

    def _let_go(self) -> None:
        self.busy = frozenset()

    def _as_shared(self, view: View, need: Need) -> View:
        """The view as it is where others write too: without the ready work of jobs that another holds."""
        if self._led and need.sweep and not self._store.leads(self):
            view = replace(view, leads=False)
        others = (other for other in self._store.connections if other is not self and other.process.alive)
        held = {job for other in others for job in other.busy}
        held.difference_update(need.jobs, (job for job, _ in need.tasks))
        if held.isdisjoint(job for job, _ in view.ready):
            return view
        return replace(view, ready=tuple(key for key in view.ready if key[0] not in held))

    def _tell(self, hint: Hint) -> None:
        if hint == _NOTHING:
            return
        for other in self._store.connections:
            if other is not self and other.process.alive and self._store.rng.random() >= self._store.weather.lost_hints:
                other.hear(hint)


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
