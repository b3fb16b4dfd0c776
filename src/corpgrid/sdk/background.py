"""One event loop in a thread of its own, so that plain blocking code can use an asynchronous client.

Whoever waits for work here can be interrupted: the work is cancelled, and the loop goes on for others.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from corpgrid.errors import CorpGridError, UsageError

_T = TypeVar("_T")
_LOOK_SECONDS = 0.5


class BackgroundLoop:
    """Runs coroutines for callers in other threads; ``close`` ends it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="corpgrid-client", daemon=True)
        self._closing = threading.Lock()
        self._closed = False
        self._pid = os.getpid()
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Begin it, and wait for nothing.

        Raises:
            UsageError: the loop was closed, or belongs to another process.
        """
        if os.getpid() != self._pid:
            work.close()
            raise UsageError(
                "this grid was opened by another process, of which this one is a fork",
                remedy="Open a grid in each process, with grid.address.",
            )
        with self._closing:
            if self._closed:
                work.close()
                raise _closed()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, _T], *, hopeless: Callable[[], CorpGridError | None] = lambda: None) -> _T:
        """Run to its end, and give what it gives; an interrupt of the caller cancels it.

        Args:
            work: what to run.
            hopeless: looked at now and then: why waiting has become useless, which is then raised.
        """
        assert threading.current_thread() is not self._thread, "the loop cannot wait for itself"
        future = self.start(work)
        try:
            while True:
                try:
                    return future.result(_LOOK_SECONDS)
                except TimeoutError:
                    if future.done():
                        return future.result()
                    if (error := hopeless()) is not None:
                        raise error from None
        except CancelledError:
            raise _closed() from None
        except BaseException:
            future.cancel()
            raise

    def close(self, last: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Cancel what is under way, run ``last``, and end the loop and its thread; a second call does nothing."""
        if os.getpid() != self._pid:
            return
        with self._closing:
            if self._closed:
                return
            self._closed = True
            ended = asyncio.run_coroutine_threadsafe(_end_all(last), self._loop)
        try:
            ended.result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


def _closed() -> UsageError:
    return UsageError("this grid was closed", remedy="Open another one with corpgrid.connect().")


async def _end_all(last: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
    if last is not None:
        await last()
