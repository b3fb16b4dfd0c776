"""The wire over gRPC: every call with a deadline, every lost connection tried again until then.

Rules:
* A call may take ``call_seconds`` beyond what it waits by itself, reconnecting included; then it is an
  ``UnavailableError``.  Every call of the protocol may be repeated safely, so one whose answer was lost is.
* Where several equal schedulers serve the grid, a call that one of them does not answer, or turns away, goes to the
  next.  Each connection begins at one of them by chance, so that none gets all.
* Small calls share a stream (``stream_client``), which costs both sides a fraction of a call of its own; a scheduler
  that has none is asked by plain calls.
* Pauses between tries grow, and hang on chance, so that a thousand agents do not come back as one.
* A blob's stream has no deadline as a whole, but may not stand still for longer than ``idle_seconds``; one that breaks
  off goes on where it was.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from corpgrid.domain.ids import Digest
from corpgrid.errors import CorpGridError, LimitError, OverloadedError, UnavailableError
from corpgrid.transport.address import Address
from corpgrid.transport.backoff import Backoff
from corpgrid.transport.grpc_status import error_of
from corpgrid.transport.limits import TransportLimits
from corpgrid.transport.remote import Parts, RemoteGrid, RemoteScheduler
from corpgrid.transport.rpc import grpc
from corpgrid.transport.stream_client import CallStream, NotSpokenError
from corpgrid.wire import methods
from corpgrid.wire.calls import EXCHANGE_PATH
from corpgrid.wire.methods import GetPart, Method

Q = TypeVar("Q")
R = TypeVar("R")
T = TypeVar("T")


_TRY_SECONDS = 5.0
_SLOW_BYTES_PER_SECOND = 64 << 10


class _Endpoint:
    """One scheduler; nothing is connected before the first call."""

    def __init__(self, address: Address, limits: TransportLimits) -> None:
        self.target = address.target
        kind = grpc.LocalConnectionType.UDS if address.path else grpc.LocalConnectionType.LOCAL_TCP
        # Any: the stubs that there are for gRPC do not know its defaults.
        self.channel: Any = grpc.aio.secure_channel(
            address.target, grpc.local_channel_credentials(kind), options=_options(limits)
        )
        self._limits = limits
        self._streams = limits.stream_calls > 0
        self._stream: CallStream | None = None
        self._unary: dict[str, Any] = {}
        self._calls: set[Any] = set()

    async def ask(self, path: str, content: bytes, *, seconds: float) -> bytes:
        """One call, on the stream if it fits there."""
        stream = self._stream_for(content)
        if stream is not None:
            try:
                return await stream.call(path, content, seconds=seconds)
            except NotSpokenError:
                self._streams = False
        return await self._alone(path, content, seconds=seconds)

    def leave(self) -> None:
        """End all calls: another scheduler is asked from now on, and nobody shall wait here in vain."""
        gone = UnavailableError(f"{self.target} does not answer others")
        if self._stream is not None:
            self._stream.end(gone)
        for call in list(self._calls):
            call.cancel()

    async def close(self) -> None:
        """Let go of the connection."""
        if self._stream is not None:
            self._stream.end(UnavailableError(f"the connection to {self.target} was closed"))
        await self.channel.close()

    def _stream_for(self, content: bytes) -> CallStream | None:
        if not self._streams or len(content) > self._limits.stream_bytes:
            return None
        if self._stream is None or self._stream.over:
            self._stream = CallStream(self.channel.stream_stream(EXCHANGE_PATH)(), self.target)
        return self._stream if len(self._stream) < self._limits.stream_calls else None

    async def _alone(self, path: str, content: bytes, *, seconds: float) -> bytes:
        stub = self._unary.get(path)
        if stub is None:
            stub = self._unary[path] = self.channel.unary_unary(path)
        call = stub(content, timeout=seconds)
        self._calls.add(call)
        try:
            reply: bytes = await call
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise UnavailableError(f"{self.target} does not answer others") from None
        finally:
            self._calls.discard(call)
        return reply


class GrpcWire:
    """A connection to a grid.

    Args:
        addresses: where its schedulers listen.
        limits: what a call may take.
        rng: chance for the pauses between tries.
        patient: whether a scheduler that is overloaded is asked again, after the time that it asks for.
    """

    def __init__(
        self, addresses: Sequence[Address], limits: TransportLimits, rng: random.Random, *, patient: bool
    ) -> None:
        assert addresses
        self._limits = limits
        self._rng = rng
        self._patient = patient
        self._endpoints = [_Endpoint(address, limits) for address in addresses]
        self._at = rng.randrange(len(addresses))

    async def call(self, method: Method[Any, Q, R], request: Q) -> R:
        """One unary call."""
        content = method.request.encode(request)
        if len(content) > self._limits.message_bytes:
            raise LimitError(
                "message_bytes", limit=self._limits.message_bytes, got=len(content), what=f"the {method.name} request"
            )
        waits = method.waits(request)

        async def once(seconds: float) -> bytes:
            most = self._try_seconds(len(content)) + waits
            return await self._here.ask(method.path, content, seconds=min(seconds, most))

        reply = await self._again(once, seconds=self._limits.call_seconds + waits)
        return method.reply.decode(reply)

    async def put(self, parts: Parts) -> Digest:
        """Store a blob."""

        async def once(_seconds: float) -> bytes:
            stream = self._here.channel.stream_unary(methods.PUT_BLOB_PATH)()
            try:
                async for part in parts():
                    async with self._moving("took"):
                        await stream.write(methods.PUT_PART.encode(part))
                async with self._moving("took"):
                    await stream.done_writing()
                    reply: bytes = await stream
            except asyncio.InvalidStateError:
                # The server ended the stream before the last part: its status says why.
                reply = await stream
            finally:
                stream.cancel()
            return reply

        reply = await self._again(once, seconds=self._limits.call_seconds)
        return methods.PUT_REPLY.decode(reply)

    async def get(self, name: Digest) -> AsyncIterator[bytes]:
        """A blob's bytes."""
        offset, clock = 0, asyncio.get_running_loop().time
        deadline, backoff = clock() + self._limits.call_seconds, Backoff(self._rng)
        while True:
            try:
                async for chunk in self._get_from(name, offset):
                    offset += len(chunk)
                    deadline, backoff = clock() + self._limits.call_seconds, Backoff(self._rng)
                    yield chunk
            except UnavailableError:
                self._move_on()
                pause = backoff.next_seconds()
                if clock() + pause >= deadline:
                    raise
                await asyncio.sleep(pause)
            else:
                return

    async def close(self) -> None:
        """Let go of the connections."""
        for endpoint in self._endpoints:
            await endpoint.close()

    async def _get_from(self, name: Digest, offset: int) -> AsyncIterator[bytes]:
        here = self._here
        stream = here.channel.unary_stream(methods.GET_BLOB_PATH)(methods.GET_REQUEST.encode(GetPart(name, offset)))
        chunks = aiter(stream)
        try:
            while True:
                async with self._moving("gave"):
                    content = await anext(chunks, None)
                if content is None:
                    return
                yield methods.GET_CHUNK.decode(content)
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure, here.target) from None
        finally:
            stream.cancel()

    @asynccontextmanager
    async def _moving(self, did: str) -> AsyncIterator[None]:
        """A step of a blob's stream, which may not stand still."""
        idle_seconds = self._limits.idle_seconds
        try:
            async with asyncio.timeout(idle_seconds):
                yield
        except TimeoutError:
            silent = f"{self._here.target} {did} nothing of a blob for {idle_seconds:g} s"
            raise UnavailableError(silent) from None

    async def _again(self, once: Callable[[float], Awaitable[T]], *, seconds: float) -> T:
        """Try until it is answered, or ``seconds`` are over."""
        clock = asyncio.get_running_loop().time
        deadline, backoff = clock() + seconds, Backoff(self._rng)
        told: CorpGridError | None = None
        while True:
            here = self._here
            try:
                return await once(deadline - clock())
            except grpc.aio.AioRpcError as failure:
                error = error_of(failure, here.target)
            except CorpGridError as answered:
                error = answered
            if error.remedy != UnavailableError.default_remedy:
                told = error  # a scheduler said what is wrong: that is worth more than the silence after it
            if here is self._here and isinstance(error, (UnavailableError, OverloadedError)):
                self._move_on()
            pause = backoff.next_seconds()
            if self._patient and isinstance(error, OverloadedError):
                pause += error.retry_after_seconds * self._rng.uniform(0.5, 1.0)
            elif not isinstance(error, UnavailableError):
                raise error
            if clock() + pause >= deadline:
                raise told or error
            await asyncio.sleep(pause)

    @property
    def _here(self) -> _Endpoint:
        return self._endpoints[self._at]

    def _try_seconds(self, size_bytes: int) -> float:
        """How long one scheduler may take before the next is asked, or the only one again."""
        sending, most = size_bytes / _SLOW_BYTES_PER_SECOND, self._limits.call_seconds
        if len(self._endpoints) == 1:
            return min(most / 2 + sending, most)
        return min(_TRY_SECONDS + sending, most / 2)

    def _move_on(self) -> None:
        """Go to the next scheduler, with all calls: one that waits here for work would wait in vain."""
        left = self._here
        self._at = (self._at + 1) % len(self._endpoints)
        if left is not self._here:
            left.leave()


def connect_scheduler(addresses: Sequence[Address], *, limits: TransportLimits, rng: random.Random) -> RemoteScheduler:
    """What an agent holds; nothing is connected before the first call."""
    return RemoteScheduler(GrpcWire(addresses, limits, rng, patient=False))


def connect_grid(addresses: Sequence[Address], *, limits: TransportLimits, rng: random.Random) -> RemoteGrid:
    """What a client holds; nothing is connected before the first call."""
    return RemoteGrid(GrpcWire(addresses, limits, rng, patient=True))


def _options(limits: TransportLimits) -> list[tuple[str, int]]:
    alive_ms = int(limits.keepalive_seconds * 1_000)
    return [
        # A little more than the limit: on a stream, a reply is wrapped.
        ("grpc.max_send_message_length", limits.message_bytes + (1 << 20)),
        ("grpc.max_receive_message_length", limits.message_bytes + (1 << 20)),
        ("grpc.keepalive_time_ms", alive_ms),
        ("grpc.keepalive_timeout_ms", alive_ms // 2),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # Retrying is done here, where a deadline and a reason are known.
        ("grpc.enable_retries", 0),
    ]
