"""The ends of a sandbox's pipes in the agent: no buffer, no task, no copy.

A reader takes what the pipe holds; a writer waits while it is full.  So a job that writes faster than it is read waits,
and the agent's memory stays out of its reach.  When the sandbox has ended, a reader keeps what the pipe still held (at
most the pipe's size) and lets go of the descriptor.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import suppress

from corpgrid.errors import RunnerError


class PipeReader:
    """The reading end of a pipe.

    Args:
        descriptor: owned from here on.
        chunk_bytes: the most that one read returns.
    """

    def __init__(self, descriptor: int, *, chunk_bytes: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._chunk_bytes = chunk_bytes
        self._rest = b""
        self._lock = asyncio.Lock()
        self._waiter: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """What has arrived, as soon as something has; empty at the end."""
        async with self._lock:
            while self._descriptor >= 0:
                try:
                    return os.read(self._descriptor, self._chunk_bytes)
                except BlockingIOError:
                    await self._arrival()
            chunk, self._rest = self._rest[: self._chunk_bytes], self._rest[self._chunk_bytes :]
            return chunk

    async def _arrival(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        loop.add_reader(self._descriptor, _wake, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if self._descriptor >= 0:
                loop.remove_reader(self._descriptor)

    def rest(self) -> bytes:
        """What was left at the end and has not been read."""
        return self._rest

    def finish(self) -> None:
        """Take what is left and close; every writer is gone."""
        if self._descriptor < 0:
            return
        if self._waiter is not None:
            self._waiter.get_loop().remove_reader(self._descriptor)
            _wake(self._waiter)
        rest = []
        with suppress(BlockingIOError):  # a writer that is not gone after all
            while chunk := os.read(self._descriptor, self._chunk_bytes):
                rest.append(chunk)
        self._rest = b"".join(rest)
        os.close(self._descriptor)
        self._descriptor = -1


class PipeWriter:
    """The writing end of a pipe.

    Args:
        descriptor: owned from here on.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._lock = asyncio.Lock()
        self._waiter: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        """Write all of ``data``.

        Raises:
            RunnerError: nobody reads it any more.
        """
        async with self._lock:
            rest = memoryview(data)
            while rest:
                try:
                    rest = rest[os.write(self._checked(), rest) :]
                except BlockingIOError:
                    await self._room()
                except BrokenPipeError as error:
                    raise RunnerError("the sandboxed process ended while it was written to") from error

    def _checked(self) -> int:
        if self._descriptor < 0:
            raise RunnerError("the sandboxed process has ended")
        return self._descriptor

    async def _room(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        loop.add_writer(self._descriptor, _wake, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if self._descriptor >= 0:
                loop.remove_writer(self._descriptor)

    def finish(self) -> None:
        """Close it."""
        if self._descriptor < 0:
            return
        if self._waiter is not None:
            self._waiter.get_loop().remove_writer(self._descriptor)
            _wake(self._waiter)
        os.close(self._descriptor)
        self._descriptor = -1


def pipe(*, size_bytes: int, owner: tuple[int, int] | None) -> tuple[int, int]:
    """A pipe of about that size.

    Args:
        size_bytes: wanted, 0 for the system's default, which is kept where the user's pipe memory is used up.
        owner: user and group that may open it again by its path in ``/proc``, as ``> /dev/stderr`` does.
    """
    ends = os.pipe2(os.O_CLOEXEC)
    if size_bytes:
        with suppress(PermissionError):
            fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, size_bytes)
    if owner is not None:
        os.fchown(ends[0], *owner)
    return ends


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
