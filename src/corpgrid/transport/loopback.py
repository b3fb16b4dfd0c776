"""A wire without a socket: every message is encoded and decoded as it would be, in one process.

The simulator and the tests use it; what passes here passes a socket.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar

from corpgrid.domain.ids import Digest
from corpgrid.errors import CorpGridError
from corpgrid.transport.dispatch import Dispatch
from corpgrid.transport.remote import Parts, RemoteGrid, RemoteScheduler
from corpgrid.wire import methods
from corpgrid.wire.convert_errors import error_from_wire, error_to_wire
from corpgrid.wire.methods import GetPart, Method

Q = TypeVar("Q")
R = TypeVar("R")


class LoopbackWire:
    """Calls a dispatch in the same process."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    async def call(self, method: Method[Any, Q, R], request: Q) -> R:
        """One unary call."""
        content = method.request.encode(request)
        try:
            reply = await self._dispatch.call(method, content)
        except CorpGridError as error:
            raise _travelled(error) from None
        return method.reply.decode(reply)

    async def put(self, parts: Parts) -> Digest:
        """Store a blob."""
        try:
            reply = await self._dispatch.put(_encoded(parts))
        except CorpGridError as error:
            raise _travelled(error) from None
        return methods.PUT_REPLY.decode(reply)

    async def get(self, name: Digest) -> AsyncIterator[bytes]:
        """A blob's bytes."""
        request = methods.GET_REQUEST.encode(GetPart(name, 0))
        try:
            async for content in self._dispatch.get(request):
                yield methods.GET_CHUNK.decode(content)
        except CorpGridError as error:
            raise _travelled(error) from None

    async def close(self) -> None:
        """Nothing to let go of."""


def loopback_scheduler(dispatch: Dispatch) -> RemoteScheduler:
    """What an agent in the same process holds."""
    return RemoteScheduler(LoopbackWire(dispatch))


def loopback_grid(dispatch: Dispatch) -> RemoteGrid:
    """What a client in the same process holds."""
    return RemoteGrid(LoopbackWire(dispatch))


async def _encoded(parts: Parts) -> AsyncIterator[bytes]:
    async for part in parts():
        yield methods.PUT_PART.encode(part)


def _travelled(error: CorpGridError) -> CorpGridError:
    return error_from_wire(error_to_wire(error))
