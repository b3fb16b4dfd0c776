"""Who waits for a job to change, and is woken after the commit that changed it.

A waiter arms itself before it reads; a change that is committed between its reading and its waiting wakes it at once.

>>> with changes.watch(job) as changed:
...     page = await read()
...     await changed(5.0)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager

from corpgrid.domain.ids import JobId


class Changes:
    """Waiters by job."""

    def __init__(self) -> None:
        self._waiters: dict[JobId, set[asyncio.Event]] = {}
        self._closed = False

    @contextmanager
    def watch(self, job: JobId) -> Iterator[Callable[[float], Awaitable[bool]]]:
        """Within the block: wait at most some seconds for the next change; whether there was one."""
        event = asyncio.Event()
        self._waiters.setdefault(job, set()).add(event)

        async def changed(seconds: float) -> bool:
            if self._closed:
                return False
            try:
                async with asyncio.timeout(seconds):
                    await event.wait()
            except TimeoutError:
                return False
            event.clear()
            return not self._closed

        try:
            yield changed
        finally:
            waiters = self._waiters[job]
            waiters.discard(event)
            if not waiters:
                del self._waiters[job]

    def notify(self, jobs: Iterable[JobId]) -> None:
        """These jobs changed."""
        for job in jobs:
            for event in self._waiters.get(job, ()):
                event.set()

    def close(self) -> None:
        """Nobody waits any more."""
        self._closed = True
        self.notify(list(self._waiters))
