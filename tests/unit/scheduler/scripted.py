"""A store whose commits the test holds in its hand, and rules that say what the test told them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from corpgrid.domain.device import PowerStatus
from corpgrid.domain.effects import Effects, Need, View
from corpgrid.domain.events import Event, Heartbeat, Polled
from corpgrid.domain.ids import DeviceId
from corpgrid.domain.messages import AgentStatus, Reply
from corpgrid.scheduler.counters import Counters
from corpgrid.scheduler.limits import SchedulerLimits
from corpgrid.scheduler.tick import Tick

Script = Callable[[View, Sequence[Event]], Effects]


class ScriptedStore:
    """Only ``transact``.  ``gate`` holds commits back; ``failures`` are raised first, one a try."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: list[Exception] = []
        self.tries = 0
        self.view = View(now=0.0)
        self.committed: list[Effects] = []

    async def transact(self, _need: Need, decide: Callable[[View], Effects]) -> Effects:
        self.tries += 1
        effects = decide(self.view)
        await asyncio.sleep(0)
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.committed.append(effects)
        return effects


class Bench:
    """A tick over a scripted store; ``ticks`` are the events of each try, as the rules saw them."""

    def __init__(self, script: Script, **limits: Any) -> None:
        self.store = ScriptedStore()
        self.counters = Counters()
        self.ticks: list[list[Event]] = []
        self.script = script
        self.tick = Tick(
            self.store,
            need=lambda _events: Need(),
            decide=self._decide,
            limits=SchedulerLimits(**{"store_pause_seconds": 0.001, **limits}),
            counters=self.counters,
        )

    def _decide(self, view: View, events: Sequence[Event]) -> Effects:
        self.ticks.append(list(events))
        return self.script(view, events)

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.tick.run())
        try:
            yield self
        finally:
            self.store.gate.set()
            self.tick.close()
            await task

    def status(self, device: str = "dev_a") -> AgentStatus:
        return AgentStatus(device=DeviceId(device), session="", power=PowerStatus())

    def heartbeat(self) -> Heartbeat:
        return Heartbeat(ticket=self.tick.ticket(), status=self.status())

    def poll(self, device: str = "dev_a") -> Polled:
        return Polled(ticket=self.tick.ticket(), status=self.status(device), wanted=1, known_jobs=frozenset())

    def asked(self, device: str) -> int:
        """How often a poll of this device was put to the rules."""
        return sum(isinstance(event, Polled) and event.status.device == device for tick in self.ticks for event in tick)

    async def settled(self) -> None:
        """Until nothing moves any more."""
        before = -1
        while before != (before := self.store.tries):
            for _ in range(20):
                await asyncio.sleep(0)


def answer_all(_view: View, events: Sequence[Event]) -> Effects:
    """Everything but polls gets an empty reply."""
    return Effects(replies={event.ticket: Reply() for event in events if not isinstance(event, Polled)})
