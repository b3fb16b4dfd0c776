"""The agent's supervisor as simulated computers run it: the production code, but for what happens a million times.

* A supervisor has a task that sleeps until its session has something to do, and begins anew after each piece of news.
  Here one timer stands for that task: news puts it forward, and nothing more.
* What an agent that holds nothing asks travels with what others ask (``light``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from corpgrid.agent.bell import Bell
from corpgrid.agent.instructions import Beat, Instruction, Poll
from corpgrid.agent.session import Session
from corpgrid.agent.supervisor import Supervisor
from corpgrid.domain.messages import HeartbeatRequest, PollReply, PollRequest, Reply
from corpgrid.ports.host import Clock
from corpgrid.sim.light import LightCalls
from corpgrid.sim.loop import Process
from corpgrid.sim.wire import SimWire


class _OrderedBell(Bell):
    """A bell that wakes its listeners in the order in which they began to listen, in every process alike."""

    def __init__(self) -> None:
        super().__init__()
        self._ordered: dict[asyncio.Future[None], None] = {}

    def ring(self) -> None:
        """Wake everybody who listens."""
        for listener in self._ordered:
            if not listener.done():
                listener.set_result(None)

    async def heard(self) -> None:
        """Wait until it rings."""
        listener = asyncio.get_running_loop().create_future()
        self._ordered[listener] = None
        try:
            await listener
        finally:
            del self._ordered[listener]


class _Alarm(asyncio.Event):
    """An event for which nobody waits, for simulated agents end by a crash and never close; it is heard at once."""

    def __init__(self, ring: Callable[[], None]) -> None:
        super().__init__()
        self.set = ring  # type: ignore[method-assign]


class SimSupervisor(Supervisor):
    """One agent.

    Args:
        wire: its connection.
        light: what carries light calls.
        session: what it decides.
        clock: its computer's.
        parts: the other parts of a supervisor.
    """

    def __init__(self, wire: SimWire, light: LightCalls, *, session: Session, clock: Clock, **parts: Any) -> None:
        super().__init__(session=session, clock=clock, **parts)
        self._wire = wire
        self._light = light
        self._loop = wire.network.loop
        self._process: Process = wire.process
        self._due = _Alarm(self._set_timer)
        self._work_came = _OrderedBell()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def _carry_out(self, instructions: Iterable[Instruction]) -> None:
        left = [instruction for instruction in instructions if not self._goes_with_others(instruction)]
        if left or self._session.queue.jobs() or self._session.message != self._told:
            super()._carry_out(left)
        else:
            self._set_timer()

    def _goes_with_others(self, instruction: Instruction) -> bool:
        match instruction:
            case Beat(status=status) if not status.held:
                answered = partial(self._heard, instruction)
                return self._light.send(self._wire, HeartbeatRequest(status=status), answered)
            case Poll(status=status, batches=batches) if not status.held and not batches:
                waits_seconds = instruction.wait_seconds
                poll = PollRequest(
                    status=status,
                    wanted=instruction.wanted,
                    wait_seconds=waits_seconds,
                    known_jobs=self._runners.known_jobs(),
                )
                answered = partial(self._heard, instruction)
                return self._light.send(self._wire, poll, answered, waits_seconds=waits_seconds)
            case _:
                return False

    def _heard(self, asked: Beat | Poll, reply: Reply | None) -> None:
        if not self._process.alive or self._over.done():
            return
        now = self._clock.monotonic()
        if reply is None:
            self._spawn(self._ask(asked))
        elif isinstance(reply, PollReply):
            self._carry_out(self._session.polled(reply, now=now))
        else:
            self._carry_out(self._session.beaten(reply, now=now))

    async def _keep_time(self) -> None:
        self._time_came()
        await self._over

    def _time_came(self) -> None:
        self._timer = None
        if self._process.alive and not self._over.done():
            self._carry_out(self._session.advance(now=self._clock.monotonic()))

    def _set_timer(self) -> None:
        """Wake when the session has something to do; a timer that comes too early finds nothing, and is set again."""
        due = self._loop.time() + self._session.next_due(now=self._clock.monotonic())
        if self._timer is not None:
            if self._timer_at <= due:
                return
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._loop.call_at(due, self._time_came, context=self._process.context)
