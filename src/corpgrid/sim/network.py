"""The network between simulated computers: messages travel, and any may go astray.

Rules:
* A message to a scheduler travels, is worked on by a handler in the scheduler's process, and a reply travels back.
  Each way takes its own time, so that messages overtake each other.
* Bad *weather* loses requests, loses replies, delivers requests twice, and makes both late.  A *deaf* computer's
  messages get out and nothing comes in; of a *mute* one nothing gets out.  The server's side of a call lives on then:
  it does not know.
* Whose message is lost hears nothing for a while, or is told that the connection broke; who gives up is cancelled at
  the server, if word of it gets there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol, TypeVar

from corpgrid.errors import CorpGridError, StoreError, UnavailableError
from corpgrid.ports.api import SchedulerApi
from corpgrid.sim.loop import Process, SimLoop
from corpgrid.sim.trace import Trace
from corpgrid.transport.dispatch import Dispatch
from corpgrid.wire.convert_errors import error_from_wire, error_to_wire
from corpgrid.wire.methods import Method

Q = TypeVar("Q")
R = TypeVar("R")

SILENT_SECONDS = 30.0
"""After so long a connection on which nothing comes is given up, as keepalive does it."""


@dataclass(frozen=True, slots=True)
class Server:
    """A scheduler that answers: with bytes, and with values."""

    agents: SchedulerApi
    dispatch: Dispatch

    async def call(self, method: Method[Any, Q, R], request: Q) -> R:
        """One call of an agent, with values."""
        try:
            return await method.call(self.agents, request)
        except StoreError as error:
            raise UnavailableError(f"the scheduler's store failed: {error}") from None


Answer = Callable[[Server], Awaitable[Any]]


@dataclass(slots=True, eq=False)
class Door:
    """Where a scheduler can be reached, as long as it is up."""

    process: Process | None = None
    server: Server | None = None

    def serve(self, agents: SchedulerApi, dispatch: Dispatch) -> None:
        """From now on."""
        self.server = Server(agents, dispatch)


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


FAIR = Weather()


class Watch(Protocol):
    """Who looks at what travels."""

    def asked(self, request: Any) -> None:
        """A server begins to work on a request."""

    def answered(self, request: Any) -> None:
        """That ended, well or not."""

    def heard(self, request: Any, reply: Any, asked_at: float) -> None:
        """A reply reached its caller."""


@dataclass(slots=True)
class Network:
    """All computers' connections.

    Attributes:
        watch: looks on.
        wire: share of the light messages that are encoded and decoded.
        weather: everybody's.
        deaf: computers to which nothing comes through.
        mute: computers from which nothing gets out.
    """

    loop: SimLoop
    rng: Random
    trace: Trace
    watch: Watch
    wire: float = 1.0
    weather: Weather = FAIR
    deaf: set[str] = field(default_factory=set)
    mute: set[str] = field(default_factory=set)
    nature: Context = field(default_factory=Context)
    """Messages under way belong to nobody, and no sleeper holds them up."""
    light: float = 0.0

    def delay_seconds(self) -> float:
        """How long one message travels."""
        seconds = 0.0002 + 0.001 * self.rng.random()
        if self.weather.late_seconds:
            seconds += self.rng.expovariate(1.0 / self.weather.late_seconds)
        return seconds

    def chance(self, share: float) -> bool:
        """Whether it happens this time."""
        return share > 0.0 and self.rng.random() < share

    def is_fair_for(self, caller: str) -> bool:
        """Whether all messages of this computer arrive, once and in time."""
        return self.weather is FAIR and caller not in self.mute and caller not in self.deaf

    def encodes(self) -> bool:
        """Whether the next light message is encoded."""
        self.light += self.wire
        if self.light < 1.0:
            return False
        self.light -= 1.0
        return True


class Exchange:
    """One request on its way to one server, and what comes back.

    Args:
        net: what it travels on.
        process: the caller's.
        caller: the computer on which that runs.
        door: where it goes.
        answer: what the server does with it.
    """

    __slots__ = ("_answer", "_caller", "_door", "_handlers", "_net", "_process", "reply")

    def __init__(self, net: Network, process: Process, caller: str, door: Door, answer: Answer) -> None:
        self._net = net
        self._process = process
        self._caller = caller
        self._door = door
        self._answer = answer
        self._handlers: list[asyncio.Task[None]] = []
        self.reply: asyncio.Future[Any] = self._net.loop.create_future()

    def begin(self) -> None:
        """Send the request."""
        net = self._net
        if self._caller in net.mute or net.chance(net.weather.lose_request):
            self._break_off()
            return
        net.loop.call_later(net.delay_seconds(), self._arrive, context=net.nature)
        if net.chance(net.weather.twice):
            net.loop.call_later(0.01 + 10 * net.delay_seconds(), self._arrive, context=net.nature)

    def give_up(self) -> None:
        """The caller waits no longer; the server is told, if it can be."""
        net = self._net
        for handler in self._handlers:
            if not handler.done() and self._caller not in net.mute and not self._process.asleep:
                net.loop.call_later(net.delay_seconds(), handler.cancel, context=net.nature)

    def end(self, error: CorpGridError) -> None:
        """Nothing will come of it."""
        if not self.reply.done():
            self.reply.set_exception(error)
            self.reply.exception()  # whoever waits may be killed in this very moment: then nobody asks for it

    def run_late(self, name: str) -> None:
        """The caller's patience is over."""
        self.end(UnavailableError(f"{name} was not answered in time"))

    def _arrive(self) -> None:
        process, server = self._door.process, self._door.server
        if process is None or server is None or not process.alive:
            self._tell(UnavailableError("nobody listens there"))
            return
        self._handlers.append(process.spawn(self._handle(process, server)))

    async def _handle(self, process: Process, server: Server) -> None:
        try:
            said = await self._answer(server)
        except CorpGridError as error:
            said = error_from_wire(error_to_wire(error))
        except asyncio.CancelledError:
            self._tell(UnavailableError("the connection broke"))
            raise
        if not process.alive:
            self._tell(UnavailableError("the connection broke"))
        elif self._net.chance(self._net.weather.lose_reply):
            self._break_off()
        else:
            self._tell(said)

    def _tell(self, said: Any) -> None:
        """Send something back."""
        if self._caller not in self._net.deaf:
            self._net.loop.call_later(self._net.delay_seconds(), self._settle, said, context=self._process.context)

    def _break_off(self) -> None:
        """A message is lost: the connection breaks, at once or when it was silent for long."""
        quickly = self._net.rng.random() < 0.5
        seconds = self._net.rng.random() if quickly else SILENT_SECONDS
        error = UnavailableError("the connection broke")
        self._net.loop.call_later(seconds, self._settle, error, context=self._process.context)

    def _settle(self, said: Any) -> None:
        if isinstance(said, CorpGridError):
            self.end(said)
        elif not self.reply.done():
            self.reply.set_result(said)
