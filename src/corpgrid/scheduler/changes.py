"""Who waits for a job to change, and is woken after the commit that changed it.

A waiter arms itself before it reads; a change that is committed between its reading and its waiting wakes it at once.

>>> with changes.watch(job) as watch:
...     page = await read()
...     await watch.changed(5.0)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from corpgrid.domain.ids import JobId
from corpgrid.scheduler.news import News

_NONE: Mapping[JobId, News] = MappingProxyType({})


class Watch:
    """One waiter.

    Attributes:
        news: what the commit that ended the job says of all its tasks, if one commit did and this scheduler made it.
    """

    def __init__(self, changes: Changes) -> None:
        self.news: News | None = None
        self._changes = changes
        self._event = asyncio.Event()

    async def changed(self, seconds: float) -> bool:
        """Wait at most some seconds for the next change; whether there was one."""
        if self._changes.closed:
            return False
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return not self._changes.closed

    def wake(self, news: News | None) -> None:
        """The job changed."""
        self.news = self.news or news
        self._event.set()


class Changes:
    """Waiters by job.

    Attributes:
        closed: whether nobody waits any more.
    """

    def __init__(self) -> None:
        self.closed = False
        # Ordered, as the jobs that are told are: a simulation repeats itself exactly.
        self._waiters: dict[JobId, dict[Watch, None]] = {}

    @contextmanager
    def watch(self, job: JobId) -> Iterator[Watch]:
        """Within the block: wait for changes of this job."""
        watch = Watch(self)
        self._waiters.setdefault(job, {})[watch] = None
        try:
            yield watch
        finally:
            waiters = self._waiters[job]
            del waiters[watch]
            if not waiters:
                del self._waiters[job]

    def notify(self, jobs: Iterable[JobId], news: Mapping[JobId, News] = _NONE) -> None:
        """These jobs changed."""
        for job in sorted(jobs):
            for watch in self._waiters.get(job, ()):
                watch.wake(news.get(job))

    def close(self) -> None:
        """Nobody waits any more."""
        self.closed = True
        self.notify(list(self._waiters))
