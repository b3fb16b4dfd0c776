"""Light calls, many at a time: heartbeats and polls of agents that hold nothing, nearly all that happens in a fleet.

Rules:
* A call goes this way if its agent holds no work and the network is as it should be.  Those that leave for one
  scheduler within a moment travel together, as values, and so do the replies that are ready within one.
* Both ends are production code: the session that asks, and the scheduler's service and tick that answer.  What is saved
  is tasks, deadlines and messages for each.
* Whatever goes wrong (the scheduler is gone or stands still, refuses, or does not answer in time) is no news to the
  agent yet: it asks again, the ordinary way, and meets there what it has to meet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from corpgrid.domain.messages import HeartbeatRequest, PollRequest, Reply
from corpgrid.errors import CorpGridError
from corpgrid.sim.loop import Process, SimLoop
from corpgrid.sim.network import Door, Network, Server
from corpgrid.sim.wire import SimWire

Request = HeartbeatRequest | PollRequest
Answered = Callable[[Reply | None], None]


class _Call:
    """One call on its way; ``answered`` is told once: the reply, or that none came."""

    __slots__ = ("answered", "asked_at", "over", "request", "wire")

    def __init__(self, wire: SimWire, request: Request, answered: Answered, asked_at: float) -> None:
        self.wire = wire
        self.request = request
        self.answered = answered
        self.asked_at = asked_at
        self.over = False

    def serve(self, server: Server) -> Coroutine[Any, Any, Reply]:
        """What the scheduler does with it."""
        agents, request = server.agents, self.request
        return agents.heartbeat(request) if isinstance(request, HeartbeatRequest) else agents.poll(request)

    def end(self, reply: Reply | None) -> None:
        """In the agent's process: that came of it."""
        if not self.over:
            self.over = True
            if reply is not None:
                self.wire.network.watch.heard(self.request, reply, self.asked_at)
            self.answered(reply)


class LightCalls:
    """What carries them.

    Args:
        network: whose weather counts.
        gather_seconds: for how long others are waited for.
        patience_seconds: for how long a call is waited for, beyond what it waits by itself.
    """

    def __init__(self, network: Network, *, gather_seconds: float, patience_seconds: float) -> None:
        self._network = network
        self._loop = network.loop
        self._gather_seconds = gather_seconds
        self._patience_seconds = patience_seconds
        self._leaving: dict[tuple[Door, float], list[_Call]] = {}
        self._replies: list[tuple[_Call, Reply | None]] = []

    def send(self, wire: SimWire, request: Request, answered: Answered, *, waits_seconds: float = 0.0) -> bool:
        """Take a call along; False if it has to go the ordinary way."""
        network = self._network
        if not network.is_fair_for(wire.caller) or network.encodes():
            return False
        where = wire.door, waits_seconds
        calls = self._leaving.get(where)
        if calls is None:
            calls = self._leaving[where] = []
            seconds = self._gather_seconds + network.delay_seconds()
            self._loop.call_later(seconds, self._arrive, *where, context=network.nature)
        calls.append(_Call(wire, request, answered, self._loop.time()))
        return True

    def _arrive(self, door: Door, waits_seconds: float) -> None:
        calls, process, server = self._leaving.pop((door, waits_seconds)), door.process, door.server
        self._network.trace.note(f"{len(calls)} light calls")
        if process is None or server is None:
            self._end_all(calls)
            return
        patience = self._patience_seconds + waits_seconds
        self._loop.call_later(patience, self._end_all, calls, context=self._network.nature)
        self._loop.call_soon(self._serve, calls, process, server, context=process.context)

    def _serve(self, calls: list[_Call], process: Process, server: Server) -> None:
        """In the scheduler's process, when it is awake."""
        for call in calls if process.alive else ():
            if not call.over:
                self._network.watch.asked(call.request)
                _Strand(self._loop, process.context, call, self._said).begin(server)

    def _said(self, call: _Call, reply: Reply | None) -> None:
        self._network.watch.answered(call.request)
        if not self._replies:
            self._loop.call_later(self._network.delay_seconds(), self._deliver, context=self._network.nature)
        self._replies.append((call, reply))

    def _deliver(self) -> None:
        replies, self._replies = self._replies, []
        for call, reply in replies:
            if call.wire.caller not in self._network.deaf:
                self._tell(call, reply)

    def _end_all(self, calls: list[_Call]) -> None:
        """Nobody need tell a caller that it has waited for long enough."""
        for call in calls:
            self._tell(call, None)

    def _tell(self, call: _Call, reply: Reply | None) -> None:
        if not call.over:
            self._loop.run_in(call.wire.process, call.end, reply)


class _Strand:
    """What answers one call, driven without a task: whoever it waits for drives it on."""

    __slots__ = ("_call", "_context", "_loop", "_said", "_work")

    def __init__(
        self, loop: SimLoop, context: Context, call: _Call, said: Callable[[_Call, Reply | None], None]
    ) -> None:
        self._loop = loop
        self._context = context
        self._call = call
        self._said = said
        self._work: Coroutine[Any, Any, Reply]

    def begin(self, server: Server) -> None:
        """Run until it waits."""
        self._work = self._call.serve(server)
        self._step()

    def _step(self, _done: object = None) -> None:
        try:
            future: asyncio.Future[Any] | None = self._work.send(None)
        except StopIteration as end:
            self._said(self._call, end.value)
        except CorpGridError:
            self._said(self._call, None)
        else:
            if future is None:
                self._loop.call_soon(self._step, context=self._context)
            else:
                future._asyncio_future_blocking = False  # noqa: SLF001 - as a task does with a future that it is handed
                future.add_done_callback(self._step, context=self._context)
