"""A scheduler's socket: gRPC on a local address, every call through ``dispatch``.

Rules:
* It listens where only this machine's users (loopback) or only its own user (Unix socket) can connect; gRPC's local
  credentials check that once more at each connection.
* Every unary call may also come on a stream of calls (``stream_server``); what is said to it is the same.
* Each program holds one such stream; when there are ``connections`` of them, the next is told to come back later.
* ``stop`` takes no new calls, on streams neither, and gives those under way ``grace_seconds``.

>>> async with serving(dispatch, parse("unix:/run/corpgrid/grid.sock"), limits) as server:
...     await server.wait()
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from corpgrid.errors import ConfigError, CorpGridError, OverloadedError
from corpgrid.transport.address import Address, prepare
from corpgrid.transport.dispatch import UNARY, Dispatch
from corpgrid.transport.grpc_status import metadata_of, status_of
from corpgrid.transport.limits import TransportLimits
from corpgrid.transport.rpc import grpc
from corpgrid.transport.stream_server import AnswerStream
from corpgrid.wire.calls import GREETING
from corpgrid.wire.methods import PACKAGE, Method

log = logging.getLogger(__name__)

_FULL_SECONDS = 10.0
_Context = grpc.aio.ServicerContext[bytes, bytes]


class GrpcServer:
    """Listens.

    Args:
        dispatch: what answers.
        address: where to listen; port 0 takes any that is free.
        limits: what a call may take.
    """

    def __init__(self, dispatch: Dispatch, address: Address, limits: TransportLimits) -> None:
        self._dispatch = dispatch
        self._limits = limits
        self._streams: set[AnswerStream] = set()
        self._stopping = False
        self._server = grpc.aio.server(options=_options(limits))
        self._server.add_generic_rpc_handlers(self._handlers())
        self.address = address

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            RefusedError: the address is not safe.
            ConflictError: somebody listens there already.
            ConfigError: it cannot be listened on.
        """
        prepare(self.address)
        kind = grpc.LocalConnectionType.UDS if self.address.path else grpc.LocalConnectionType.LOCAL_TCP
        try:
            port = self._server.add_secure_port(self.address.target, grpc.local_server_credentials(kind))
        except RuntimeError as error:
            raise ConfigError(f"cannot listen on {self.address.target}: {error}") from None
        if self.address.path is None:
            self.address = Address(f"{self.address.target.rpartition(':')[0]}:{port}")
        await self._server.start()
        if self.address.path is not None:
            self.address.path.chmod(0o600)
        log.info("listening address=%s", self.address.target)

    async def wait(self) -> None:
        """Until it is stopped."""
        await self._server.wait_for_termination()

    async def stop(self) -> None:
        """Take no new calls; let those under way end."""
        self._stopping = True
        for stream in self._streams:
            stream.finish()
        await self._server.stop(self._limits.grace_seconds)
        log.info("stopped address=%s", self.address.target)

    def _handlers(self) -> tuple[grpc.GenericRpcHandler[Any, Any], ...]:
        services: dict[str, dict[str, Any]] = {}
        for method in UNARY:
            handler = grpc.unary_unary_rpc_method_handler(self._unary(method))
            services.setdefault(method.service, {})[method.name] = handler
        services["Blobs"]["PutBlob"] = grpc.stream_unary_rpc_method_handler(self._put)
        services["Blobs"]["GetBlob"] = grpc.unary_stream_rpc_method_handler(self._get)
        if self._limits.stream_calls:
            services["Calls"] = {"Exchange": grpc.stream_stream_rpc_method_handler(self._exchange)}
        return tuple(
            grpc.method_handlers_generic_handler(f"{PACKAGE}.{service}", handlers)
            for service, handlers in services.items()
        )

    def _unary(self, method: Method[Any, Any, Any]) -> Callable[[bytes, _Context], Awaitable[bytes]]:
        async def handle(content: bytes, context: _Context) -> bytes:
            try:
                return await self._dispatch.call(method, content)
            except CorpGridError as error:
                return await _refuse(context, error)

        return handle

    async def _exchange(self, _requests: object, context: _Context) -> None:
        if len(self._streams) >= self._limits.connections:
            full = f"{len(self._streams):,} programs are connected, and limits.connections allows no more"
            await _refuse(context, OverloadedError(full, retry_after_seconds=_FULL_SECONDS))
        stream = AnswerStream(self._dispatch, context.write, stream_calls=self._limits.stream_calls)

        async def read() -> bytes | None:
            content = await context.read()
            return content if isinstance(content, bytes) else None  # else it is gRPC's mark of the end

        await context.send_initial_metadata((GREETING,))
        self._streams.add(stream)
        if self._stopping:
            stream.finish()
        try:
            await stream.serve(read)
        except CorpGridError as error:
            await _refuse(context, error)
        finally:
            self._streams.discard(stream)

    async def _put(self, parts: AsyncIterator[bytes], context: _Context) -> bytes:
        try:
            return await self._dispatch.put(parts)
        except CorpGridError as error:
            return await _refuse(context, error)

    async def _get(self, content: bytes, context: _Context) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._dispatch.get(content):
                yield chunk
        except CorpGridError as error:
            await _refuse(context, error)


@asynccontextmanager
async def serving(dispatch: Dispatch, address: Address, limits: TransportLimits) -> AsyncIterator[GrpcServer]:
    """A server that listens within the block."""
    server = GrpcServer(dispatch, address, limits)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def _refuse(context: _Context, error: CorpGridError) -> bytes:
    await context.abort(status_of(error), str(error)[:1_000], trailing_metadata=metadata_of(error))
    raise AssertionError("abort always raises")


def _options(limits: TransportLimits) -> list[tuple[str, int]]:
    alive_ms = int(limits.keepalive_seconds * 1_000)
    return [
        # A little more than the limit, so that it is Dispatch that says what is too large.
        ("grpc.max_send_message_length", limits.message_bytes + (1 << 20)),
        ("grpc.max_receive_message_length", limits.message_bytes + (1 << 20)),
        ("grpc.keepalive_time_ms", alive_ms),
        ("grpc.keepalive_timeout_ms", alive_ms // 2),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", alive_ms // 2),
        ("grpc.so_reuseport", 0),
    ]
