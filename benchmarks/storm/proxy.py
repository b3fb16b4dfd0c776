"""Lines that can be troubled: a TCP port for each pair of near and far end, passed on byte by byte.

A line is called ``near>far``.  Its far end is a Unix socket.  Trouble is given by a line's name, in which either end
may be ``*``, and adds up: what was done twice must be undone twice.  All of it runs in one thread of its own, so that
whoever makes the trouble may block.

    with Proxy() as proxy:
        port = proxy.add("agent-1>scheduler-2", Path("/run/two.sock"))
        proxy.trouble(Kind.CUT, "agent-1>*")
        proxy.relieve(Kind.CUT, "agent-1>*")
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from benchmarks.storm.plan import ALL, Kind

T = TypeVar("T")
SLOW_SECONDS = 0.08
_PIECE_BYTES = 64 << 10
_COMMIT = b"COMMIT\0"
"""As a client of PostgreSQL says it."""
_COMMIT_SECONDS = 0.2
_RESET = struct.pack("ii", 1, 0)
"""Linger for no time: whoever closes so resets."""


class _Way:
    """One direction of a line: open unless somebody holds it."""

    def __init__(self) -> None:
        self._held = 0
        self._open = asyncio.Event()
        self._open.set()

    def hold(self) -> None:
        self._held += 1
        self._open.clear()

    def let_go(self) -> None:
        self._held -= 1
        if not self._held:
            self._open.set()

    async def passable(self) -> None:
        await self._open.wait()


class _Line:
    """One line and its connections."""

    def __init__(self, name: str, far: Path) -> None:
        self.near_name, _, self.far_name = name.partition(">")
        self._far = far
        self._there, self._back = _Way(), _Way()
        self._refusing = 0
        self._slow = 0
        self._traps: list[Kind] = []
        self._connections: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()

    def is_meant(self, pattern: str) -> bool:
        near, _, far = pattern.partition(">")
        return near in {ALL, self.near_name} and far in {ALL, self.far_name}

    def trouble(self, kind: Kind) -> None:
        match kind:
            case Kind.CUT:
                self._refusing += 1
                self.reset()
            case Kind.SLOW:
                self._slow += 1
            case Kind.HOLD | Kind.DEAF | Kind.MUTE:
                for way in self._ways(kind):
                    way.hold()
            case Kind.SWALLOW | Kind.HUSH:
                self._traps.append(kind)

    def relieve(self, kind: Kind) -> None:
        match kind:
            case Kind.CUT:
                self._refusing -= 1
            case Kind.SLOW:
                self._slow -= 1
            case Kind.HOLD | Kind.DEAF | Kind.MUTE:
                if kind is not Kind.HOLD:
                    self.reset()
                for way in self._ways(kind):
                    way.let_go()
            case Kind.SWALLOW | Kind.HUSH if kind in self._traps:
                self._traps.remove(kind)

    def reset(self) -> None:
        """Cut every connection; what is in it is lost."""
        for near, far in self._connections:
            _abort(near)
            _abort(far)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its beginning to its end."""
        try:
            if self._refusing:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_unix_connection(self._far)
        except OSError:
            _abort(writer)
            return
        connection = (writer, far_writer)
        self._connections.add(connection)
        ways = [
            asyncio.ensure_future(self._pass(reader, far_writer, self._there)),
            asyncio.ensure_future(self._pass(far_reader, writer, self._back)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._connections.discard(connection)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in connection:
                end.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Way) -> None:
        with suppress(OSError):
            while piece := await reader.read(_PIECE_BYTES):
                if self._slow:
                    await asyncio.sleep(self._slow * SLOW_SECONDS)
                await way.passable()
                if self._traps and way is self._there and _COMMIT in piece:
                    await self._spring(self._traps.pop(), piece, writer)
                    return
                writer.write(piece)
                await writer.drain()

    async def _spring(self, trap: Kind, piece: bytes, writer: asyncio.StreamWriter) -> None:
        """A commit walks into a trap: whoever asked for it does not learn whether it was made."""
        self._back.hold()
        if trap is Kind.HUSH:
            writer.write(piece)
            await asyncio.sleep(_COMMIT_SECONDS)
        self.reset()
        self._back.let_go()

    def _ways(self, kind: Kind) -> tuple[_Way, ...]:
        return {Kind.HOLD: (self._there, self._back), Kind.DEAF: (self._there,), Kind.MUTE: (self._back,)}[kind]


class Proxy:
    """All lines.  Use it in a ``with`` statement."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="storm-proxy", daemon=True)
        self._lines: list[_Line] = []
        self._servers: list[asyncio.Server] = []
        self._troubles: Counter[tuple[Kind, str]] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add(self, name: str, far: Path) -> int:
        """A new line to the socket ``far``; the loopback port of its near end."""
        line = _Line(name, far)
        self._lines.append(line)

        async def listen() -> int:
            server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
            self._servers.append(server)
            return int(server.sockets[0].getsockname()[1])

        return self._run(listen())

    def trouble(self, kind: Kind, pattern: str) -> None:
        """Begin to trouble the lines that are meant."""
        self._troubles[kind, pattern] += 1
        self._each(pattern, lambda line: line.trouble(kind))

    def relieve(self, kind: Kind, pattern: str) -> None:
        """Undo one ``trouble``; nothing, if there is none."""
        if self._troubles[kind, pattern]:
            self._troubles[kind, pattern] -= 1
            self._each(pattern, lambda line: line.relieve(kind))

    def heal(self) -> None:
        """Undo all of it."""
        for kind, pattern in list(self._troubles.elements()):
            self.relieve(kind, pattern)

    def _each(self, pattern: str, do: Callable[[_Line], None]) -> None:
        meant = [line for line in self._lines if line.is_meant(pattern)]
        assert meant, pattern

        async def all_of_them() -> None:
            for line in meant:
                do(line)

        self._run(all_of_them())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for line in self._lines:
            line.reset()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that its other end is told that it was lost."""
    plug: socket.socket | None = writer.get_extra_info("socket")
    if plug is not None and plug.family == socket.AF_INET:
        with suppress(OSError):
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
