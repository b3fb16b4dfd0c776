"""What waits to be written to a stream: everything that gathers while one message is under way goes in the next.

outbox = Outbox(lambda calls: stream.write(CALLS.encode(calls)), largest_bytes=1 << 20)
outbox.put(call, size_bytes=len(call.request))
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Outbox(Generic[T]):
    """The sending half of a stream.

    Args:
        write: writes one message; it is never called while it runs, and never cancelled but by ``close``.
        largest_bytes: of one message, unless a single part has more.
        failed: told once, if writing fails; nothing is written after that.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[None]],
        *,
        largest_bytes: int,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._write = write
        self._largest = largest_bytes
        self._failed = failed
        self._waiting: deque[tuple[T, int]] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._over = False

    def put(self, part: T, *, size_bytes: int) -> None:
        """Send this with the next message."""
        if self._over:
            return
        self._waiting.append((part, size_bytes))
        if self._writing is None:
            self._writing = asyncio.create_task(self._drain())

    async def flush(self) -> None:
        """Wait until all is written, or nothing will be."""
        while self._writing is not None:
            await asyncio.wait([self._writing])

    def close(self) -> None:
        """Write nothing more."""
        self._over = True
        self._waiting.clear()
        if self._writing is not None:
            self._writing.cancel()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._write(self._message())
        except Exception as error:  # noqa: BLE001 - whatever it is, this stream is over; its owner says why
            self._over = True
            self._waiting.clear()
            self._failed(error)
        finally:
            self._writing = None

    def _message(self) -> list[T]:
        part, size = self._waiting.popleft()
        parts = [part]
        while self._waiting and size + self._waiting[0][1] <= self._largest:
            part, size_bytes = self._waiting.popleft()
            parts.append(part)
            size += size_bytes
        return parts
