"""A wire over the simulated network: the caller's side of every call.

Rules:
* As over a real wire a call that found nobody is tried again until its deadline.  Where there are several schedulers,
  one that does not answer in time, or turns a call away, is left for the next, with all calls that wait there.
* Messages are encoded and decoded as on a real wire.  Of heartbeats, and of polls that bring nothing, only a share is:
  the others arrive as the values that they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Any, TypeVar, cast

from corpgrid.domain.ids import Digest
from corpgrid.errors import CorpGridError, OverloadedError, UnavailableError
from corpgrid.sim.loop import Process
from corpgrid.sim.network import SILENT_SECONDS, Answer, Door, Exchange, Network, Server
from corpgrid.transport.backoff import Backoff
from corpgrid.transport.limits import TransportLimits
from corpgrid.transport.remote import Parts
from corpgrid.wire import methods
from corpgrid.wire.methods import GetPart, Method

Q = TypeVar("Q")
R = TypeVar("R")

_TRY_SECONDS = 5.0
"""How long one of several schedulers may take before the next is asked, as over a real wire."""


class SimWire:
    """A ``Wire`` over the simulated network.

    Args:
        network: what carries it.
        process: the caller's.
        caller: the computer on which that runs.
        doors: where the schedulers are.
        limits: what a call may take.
    """

    def __init__(
        self, network: Network, process: Process, caller: str, doors: Sequence[Door], limits: TransportLimits
    ) -> None:
        self.network = network
        self.process = process
        self.caller = caller
        self._doors = doors
        self._limits = limits
        self._rng = Random(network.rng.random())
        self._at = self._rng.randrange(len(doors))
        self._waiting: dict[Exchange, int] = {}

    @property
    def door(self) -> Door:
        """Where it asks now."""
        return self._doors[self._at]

    async def call(self, method: Method[Any, Q, R], request: Q) -> R:
        """One unary call."""
        network, asked_at = self.network, self.network.loop.time()
        light = method is methods.HEARTBEAT or (method is methods.POLL_JOBS and not cast(Any, request).batches)
        waits = method.waits(request)
        if light and not network.encodes():
            answer = self._with_values(method, request)
        else:
            answer = self._with_bytes(method, request)
        reply = await self._again(
            method.name, answer, seconds=self._limits.call_seconds + waits, most=self._try_seconds() + waits
        )
        if isinstance(reply, bytes):
            reply = method.reply.decode(reply)
        network.watch.heard(request, reply, asked_at)
        return cast(R, reply)

    async def put(self, parts: Parts) -> Digest:
        """Store a blob."""
        sent = [methods.PUT_PART.encode(part) async for part in parts()]

        async def stream() -> AsyncIterator[bytes]:
            for content in sent:
                yield content

        async def answer(server: Server) -> bytes:
            return await server.dispatch.put(stream())

        return methods.PUT_REPLY.decode(await self._again("PutBlob", answer, seconds=self._limits.call_seconds))

    async def get(self, name: Digest) -> AsyncIterator[bytes]:
        """A blob's bytes."""
        request = methods.GET_REQUEST.encode(GetPart(name, 0))

        async def answer(server: Server) -> list[bytes]:
            return [content async for content in server.dispatch.get(request)]

        for content in await self._again("GetBlob", answer, seconds=self._limits.call_seconds):
            yield methods.GET_CHUNK.decode(content)

    async def close(self) -> None:
        """Nothing to let go of."""

    def _with_values(self, method: Method[Any, Q, R], request: Q) -> Answer:
        async def answer(server: Server) -> R:
            self.network.watch.asked(request)
            try:
                return await server.call(method, request)
            finally:
                self.network.watch.answered(request)

        return answer

    def _with_bytes(self, method: Method[Any, Q, R], request: Q) -> Answer:
        content = method.request.encode(request)

        async def answer(server: Server) -> bytes:
            self.network.watch.asked(request)
            try:
                return await server.dispatch.call(method, content)
            finally:
                self.network.watch.answered(request)

        return answer

    def _try_seconds(self) -> float:
        """How long one scheduler may take before the next is asked; the only one has all the time."""
        seconds = self._limits.call_seconds
        return seconds if len(self._doors) == 1 else min(_TRY_SECONDS, seconds / 2)

    async def _again(self, name: str, answer: Answer, *, seconds: float, most: float = SILENT_SECONDS) -> Any:
        """Try until it is answered, or ``seconds`` are over; no server has longer than ``most`` for it."""
        loop, trace = self.network.loop, self.network.trace
        deadline, backoff = loop.time() + seconds, Backoff(self._rng)
        while True:
            at = self._at
            exchange = Exchange(self.network, self.process, self.caller, self.door, answer)
            self._waiting[exchange] = at
            exchange.begin()
            patience = min(deadline - loop.time(), most)
            timer = loop.call_later(patience, exchange.run_late, name, context=self.process.context)
            try:
                said = await exchange.reply
            except CorpGridError as error:
                trace.note(f"{self.caller} {name} {error.code}")
                if at == self._at and isinstance(error, UnavailableError | OverloadedError):
                    self._move_on()
                pause = backoff.next_seconds()
                if not isinstance(error, UnavailableError) or loop.time() + pause >= deadline:
                    raise
                await asyncio.sleep(pause)
            else:
                trace.note(f"{self.caller} {name} ok")
                return said
            finally:
                timer.cancel()
                del self._waiting[exchange]
                exchange.give_up()

    def _move_on(self) -> None:
        """Go to the next scheduler, with all calls: one that waits here for work would wait in vain."""
        left, self._at = self._at, (self._at + 1) % len(self._doors)
        if left != self._at:
            for exchange in [exchange for exchange, at in self._waiting.items() if at == left]:
                exchange.end(UnavailableError("this scheduler does not answer others"))
