"""The network between simulated computers: every message is encoded and decoded as on a wire, and any may go astray.

Rules:
* A call is a request that travels, a handler that runs in the server's process, and a reply that travels back.  Each
  way takes its own time, so that messages overtake each other.
* Bad *weather* loses requests, loses replies, delivers requests twice, and makes both late.  A *deaf* computer's
  messages get out and nothing comes in; of a *mute* one nothing gets out.  The server's side of a call lives on then:
  it does not know.
* Whose message is lost hears nothing for a while, or is told that the connection broke.  As over a real wire, a call
  that found nobody is tried again until its deadline, and one whose caller gave up is cancelled at the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from corpgrid.domain.ids import Digest
from corpgrid.errors import CorpGridError, UnavailableError
from corpgrid.sim.loop import Process, SimLoop
from corpgrid.sim.trace import Trace
from corpgrid.transport.backoff import Backoff
from corpgrid.transport.dispatch import Dispatch
from corpgrid.transport.limits import TransportLimits
from corpgrid.transport.remote import Parts
from corpgrid.wire import methods
from corpgrid.wire.convert_errors import error_from_wire, error_to_wire
from corpgrid.wire.methods import GetPart, Method

Q = TypeVar("Q")
R = TypeVar("R")

Answer = Callable[[Dispatch], Awaitable[list[bytes]]]
_SILENT_SECONDS = 30.0
"""After so long a connection on which nothing comes is given up, as keepalive does it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What the network does to messages.

    Attributes:
        lose_request: share of requests that get lost.
        lose_reply: share of replies that get lost after the work was done.
        twice: share of requests that arrive a second time.
        late_seconds: mean of an extra delay, each way.
    """

    lose_request: float = 0.0
    lose_reply: float = 0.0
    twice: float = 0.0
    late_seconds: float = 0.0


@dataclass(slots=True)
class Door:
    """Where a server can be reached, as long as it is up."""

    process: Process | None = None
    dispatch: Dispatch | None = None


@dataclass(slots=True)
class Network:
    """All computers' connections.

    Attributes:
        weather: everybody's.
        deaf: computers to which nothing comes through.
        mute: computers from which nothing gets out.
        heard: told of each reply that reaches its caller: (method, request, reply, when it was asked).
    """

    loop: SimLoop
    rng: Random
    trace: Trace
    weather: Weather = field(default_factory=Weather)
    deaf: set[str] = field(default_factory=set)
    mute: set[str] = field(default_factory=set)
    heard: Callable[[str, Any, Any, float], None] = lambda _method, _request, _reply, _asked_at: None
    nature: Context = field(default_factory=Context)
    """Messages under way belong to nobody, and no sleeper holds them up."""

    def delay_seconds(self) -> float:
        """How long one message travels."""
        seconds = 0.0002 + 0.001 * self.rng.random()
        if self.weather.late_seconds:
            seconds += self.rng.expovariate(1.0 / self.weather.late_seconds)
        return seconds

    def chance(self, share: float) -> bool:
        """Whether it happens this time."""
        return share > 0.0 and self.rng.random() < share


class _Exchange:
    """One request on its way, and what comes back."""

    def __init__(self, wire: SimWire, answer: Answer) -> None:
        self._wire = wire
        self._net = wire.network
        self._answer = answer
        self._handlers: list[asyncio.Task[None]] = []
        self.reply: asyncio.Future[list[bytes]] = self._net.loop.create_future()

    def begin(self) -> None:
        """Send the request."""
        net = self._net
        if self._wire.caller in net.mute or net.chance(net.weather.lose_request):
            self._break_off()
            return
        net.loop.call_later(net.delay_seconds(), self._arrive, context=self._net.nature)
        if net.chance(net.weather.twice):
            net.loop.call_later(0.01 + 10 * net.delay_seconds(), self._arrive, context=self._net.nature)

    def give_up(self) -> None:
        """The caller waits no longer; the server is told, if it can be."""
        if self._wire.caller not in self._net.mute and not self._wire.process.asleep:
            for handler in self._handlers:
                self._net.loop.call_later(self._net.delay_seconds(), handler.cancel, context=self._net.nature)

    def _arrive(self) -> None:
        door = self._wire.door
        if door.process is None or door.dispatch is None or not door.process.alive:
            self._tell(UnavailableError("nobody listens there"))
            return
        self._handlers.append(door.process.spawn(self._handle(door.process, door.dispatch)))

    async def _handle(self, server: Process, dispatch: Dispatch) -> None:
        said: list[bytes] | CorpGridError
        try:
            said = await self._answer(dispatch)
        except CorpGridError as error:
            said = error_from_wire(error_to_wire(error))
        except asyncio.CancelledError:
            self._tell(UnavailableError("the connection broke"))
            raise
        if not server.alive:
            self._tell(UnavailableError("the connection broke"))
        elif self._net.chance(self._net.weather.lose_reply):
            self._break_off()
        else:
            self._tell(said)

    def _tell(self, said: list[bytes] | CorpGridError) -> None:
        """Send something back."""
        if self._wire.caller not in self._net.deaf:
            self._net.loop.call_later(self._net.delay_seconds(), self._settle, said, context=self._wire.process.context)

    def _break_off(self) -> None:
        """A message is lost: the connection breaks, at once or when it was silent for long."""
        quickly = self._net.rng.random() < 0.5
        seconds = self._net.rng.random() if quickly else _SILENT_SECONDS
        error = UnavailableError("the connection broke")
        self._net.loop.call_later(seconds, self._settle, error, context=self._wire.process.context)

    def _settle(self, said: list[bytes] | CorpGridError) -> None:
        if self.reply.done():
            return
        if isinstance(said, CorpGridError):
            self.reply.set_exception(said)
        else:
            self.reply.set_result(said)


class SimWire:
    """A ``Wire`` over the simulated network.

    Args:
        network: what carries it.
        process: the caller's.
        caller: the computer on which that runs.
        door: where the server is.
        limits: what a call may take.
    """

    def __init__(self, network: Network, process: Process, caller: str, door: Door, limits: TransportLimits) -> None:
        self.network = network
        self.process = process
        self.caller = caller
        self.door = door
        self._limits = limits
        self._rng = Random(network.rng.random())

    async def call(self, method: Method[Any, Q, R], request: Q) -> R:
        """One unary call."""
        content, asked_at = method.request.encode(request), self.network.loop.time()

        async def answer(dispatch: Dispatch) -> list[bytes]:
            return [await dispatch.call(method, content)]

        (said,) = await self._again(method.name, answer, seconds=self._limits.call_seconds + method.waits(request))
        reply = method.reply.decode(said)
        self.network.heard(method.name, request, reply, asked_at)
        return reply

    async def put(self, parts: Parts) -> Digest:
        """Store a blob."""
        sent = [methods.PUT_PART.encode(part) async for part in parts()]

        async def stream() -> AsyncIterator[bytes]:
            for content in sent:
                yield content

        async def answer(dispatch: Dispatch) -> list[bytes]:
            return [await dispatch.put(stream())]

        (said,) = await self._again("PutBlob", answer, seconds=self._limits.call_seconds)
        return methods.PUT_REPLY.decode(said)

    async def get(self, name: Digest) -> AsyncIterator[bytes]:
        """A blob's bytes."""
        request = methods.GET_REQUEST.encode(GetPart(name, 0))

        async def answer(dispatch: Dispatch) -> list[bytes]:
            return [content async for content in dispatch.get(request)]

        for content in await self._again("GetBlob", answer, seconds=self._limits.call_seconds):
            yield methods.GET_CHUNK.decode(content)

    async def close(self) -> None:
        """Nothing to let go of."""

    async def _again(self, name: str, answer: Answer, *, seconds: float) -> list[bytes]:
        """Try until it is answered, or ``seconds`` are over."""
        loop, trace = self.network.loop, self.network.trace
        deadline, backoff = loop.time() + seconds, Backoff(self._rng)
        while True:
            exchange = _Exchange(self, answer)
            exchange.begin()
            try:
                async with asyncio.timeout_at(deadline):
                    said = await exchange.reply
            except TimeoutError:
                trace.note(f"{self.caller} {name} not answered in time")
                raise UnavailableError(f"{name} was not answered in {seconds:g} s") from None
            except CorpGridError as error:
                trace.note(f"{self.caller} {name} {error.code}")
                pause = backoff.next_seconds()
                if not isinstance(error, UnavailableError) or loop.time() + pause >= deadline:
                    raise
                await asyncio.sleep(pause)
            else:
                trace.note(f"{self.caller} {name} ok")
                return said
            finally:
                exchange.give_up()
