"""The scheduler's computer: production schedulers, one after another, over one store that outlives them all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from corpgrid.domain import compare
from corpgrid.domain.ids import DeviceId
from corpgrid.domain.job import Comparator
from corpgrid.domain.rules import GridRules
from corpgrid.errors import CorpGridError
from corpgrid.scheduler.limits import SchedulerLimits
from corpgrid.scheduler.scheduler import Scheduler
from corpgrid.sim.clocks import SimClock
from corpgrid.sim.loop import Process, SimLoop
from corpgrid.sim.network import Door
from corpgrid.sim.storage import SimBlobs, SimStore
from corpgrid.sim.trace import Trace
from corpgrid.transport.dispatch import Dispatch
from corpgrid.transport.limits import TransportLimits
from corpgrid.trust.keys import Keyring
from corpgrid.wire import data

_AGAIN_SECONDS = 2.0


def agree(comparator: Comparator, one: bytes, two: bytes) -> bool:
    """Whether two encoded results are the same under a comparator that looks inside them."""
    return compare.same(comparator, one, two, decode=data.decode)


@dataclass(slots=True, kw_only=True)
class Headquarters:
    """Starts and kills schedulers.

    Attributes:
        scheduler: the one that runs, once it serves.
        starts: how many there were.
    """

    loop: SimLoop
    store: SimStore
    blobs: SimBlobs
    clock: SimClock
    rng: Random
    rules: GridRules
    limits: SchedulerLimits
    keyring: Keyring
    trusted: Callable[[DeviceId], bool]
    door: Door
    trace: Trace
    scheduler: Scheduler | None = None
    starts: int = 0

    def start(self) -> None:
        """Start a scheduler, if none runs."""
        if self.door.process is None:
            self.starts += 1
            self.trace.note(f"scheduler {self.starts} starts")
            self.door.process = Process(self.loop, f"scheduler-{self.starts}")
            self.door.process.spawn(self._serve(self.door.process))

    def kill(self) -> None:
        """End it as by a power cut."""
        process, self.door.process, self.door.dispatch = self.door.process, None, None
        self.scheduler = None
        if process is not None:
            self.trace.note(f"{process.name} is killed")
            process.kill()

    async def _serve(self, process: Process) -> None:
        scheduler = Scheduler(
            store=self.store,
            blobs=self.blobs,
            clock=self.clock,
            rng=Random(self.rng.random()),
            rules=self.rules,
            limits=self.limits,
            keys=lambda: self.keyring,
            trusted=self.trusted,
            new_secret=lambda: f"{self.rng.getrandbits(128):032x}",
        )
        try:
            await scheduler.start()
        except CorpGridError as error:
            # The daemon ends, and whoever watches over it starts it again.
            self.trace.note(f"{process.name} cannot start: {error.code}")
            await asyncio.sleep(_AGAIN_SECONDS)
            if self.door.process is process:
                self.loop.call_soon(self._start_again, process)
            return
        self.scheduler = scheduler
        self.door.dispatch = Dispatch(scheduler.agents, scheduler.grid, scheduler.blobs, TransportLimits())
        self.trace.note(f"{process.name} serves")
        await scheduler.failed()

    def _start_again(self, process: Process) -> None:
        if self.door.process is process:
            self.kill()
            self.start()
