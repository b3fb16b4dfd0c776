"""The computers of the schedulers: on each of them production schedulers run, one after another, over one shared store.

Where there is but one, it has the store for itself, as on SQLite; several share it, as on PostgreSQL.  The store has a
clock of its own, and so has each of these computers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import cast

from corpgrid.domain import compare
from corpgrid.domain.ids import DeviceId
from corpgrid.domain.job import Comparator
from corpgrid.domain.rules import GridRules
from corpgrid.errors import CorpGridError
from corpgrid.ports.store import Store
from corpgrid.scheduler.limits import SchedulerLimits
from corpgrid.scheduler.scheduler import Scheduler
from corpgrid.sim.clocks import SimClock
from corpgrid.sim.loop import Process, SimLoop
from corpgrid.sim.network import Door
from corpgrid.sim.storage import Connection, SimBlobs, SimStore
from corpgrid.sim.trace import Trace
from corpgrid.transport.dispatch import Dispatch
from corpgrid.transport.limits import TransportLimits
from corpgrid.trust.keys import Keyring
from corpgrid.wire import data

_AGAIN_SECONDS = 2.0


def agree(comparator: Comparator, one: bytes, two: bytes) -> bool:
    """Whether two encoded results are the same under a comparator that looks inside them."""
    return compare.same(comparator, one, two, decode=data.decode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What all schedulers stand on."""

    loop: SimLoop
    store: SimStore
    blobs: SimBlobs
    rules: GridRules
    limits: SchedulerLimits
    keyring: Keyring
    trusted: Callable[[DeviceId], bool]
    trace: Trace
    schedulers: int


class Station:
    """One computer on which schedulers run.

    Attributes:
        scheduler: the one that runs, once it serves.
        connection: its way to the store.
        starts: how many there were.
    """

    def __init__(self, number: int, grid: Grid, clock: SimClock, rng: Random) -> None:
        self.number = number
        self.door = Door()
        self.scheduler: Scheduler | None = None
        self.connection: Connection | None = None
        self.starts = 0
        self._grid = grid
        self._clock = clock
        self._rng = rng

    def start(self) -> None:
        """Start a scheduler, if none runs."""
        if self.door.process is None:
            self.starts += 1
            process = Process(self._grid.loop, f"scheduler-{self.number}.{self.starts}")
            self._grid.trace.note(f"{process.name} starts")
            self.door.process = process
            process.spawn(self._serve(process))

    def kill(self) -> None:
        """End it as by a power cut."""
        process, self.door.process, self.door.server = self.door.process, None, None
        self.scheduler = self.connection = None
        if process is not None:
            self._grid.trace.note(f"{process.name} is killed")
            process.kill()

    def freeze(self) -> None:
        """It stands still, as a virtual machine does that is suspended."""
        if self.door.process is not None and not self.door.process.asleep:
            self._grid.trace.note(f"{self.door.process.name} stands still")
            self.door.process.sleep()

    def thaw(self) -> None:
        """It goes on where it was."""
        if self.door.process is not None and self.door.process.asleep:
            self._grid.trace.note(f"{self.door.process.name} goes on")
            self.door.process.wake()

    def cut(self, *, off: bool) -> None:
        """The store is out of its reach, or is not any more."""
        if self.connection is not None:
            self.connection.cut = off

    async def _serve(self, process: Process) -> None:
        grid = self._grid
        connection = self.connection = grid.store.connect(process, grid.loop, shared=grid.schedulers > 1)
        scheduler = Scheduler(
            store=cast(Store, connection),
            blobs=grid.blobs,
            clock=self._clock,
            rng=Random(self._rng.random()),
            rules=grid.rules,
            limits=grid.limits,
            keys=lambda: grid.keyring,
            trusted=grid.trusted,
            new_secret=lambda: f"{self._rng.getrandbits(128):032x}",
            sealer=None,
        )
        try:
            await scheduler.start()
        except CorpGridError as error:
            # The daemon ends, and whoever watches over it starts it again.
            grid.trace.note(f"{process.name} cannot start: {error.code}")
            await asyncio.sleep(_AGAIN_SECONDS)
            if self.door.process is process:
                grid.loop.call_soon(self._start_again, process)
            return
        self.scheduler = scheduler
        dispatch = Dispatch(scheduler.agents, scheduler.grid, scheduler.blobs, TransportLimits())
        self.door.serve(scheduler.agents, dispatch)
        grid.trace.note(f"{process.name} serves")
        await scheduler.failed()

    def _start_again(self, process: Process) -> None:
        if self.door.process is process:
            self.kill()
            self.start()


class Headquarters:
    """All computers on which schedulers run."""

    def __init__(self, grid: Grid, clocks: Iterable[SimClock], rng: Random) -> None:
        self.grid = grid
        self.stations = [
            Station(number, grid, clock, Random(rng.random())) for number, clock in enumerate(clocks, start=1)
        ]

    @property
    def store(self) -> SimStore:
        """What they share."""
        return self.grid.store

    @property
    def doors(self) -> tuple[Door, ...]:
        """Where they can be reached."""
        return tuple(station.door for station in self.stations)

    @property
    def starts(self) -> int:
        """How often a scheduler was started."""
        return sum(station.starts for station in self.stations)

    def start(self) -> None:
        """Everything runs."""
        for station in self.stations:
            station.thaw()
            station.cut(off=False)
            station.start()

    def kill(self) -> None:
        """Nothing runs."""
        for station in self.stations:
            station.kill()

    def station_of(self, process: Process) -> Station | None:
        """On which of them this process runs."""
        return next((station for station in self.stations if station.door.process is process), None)
