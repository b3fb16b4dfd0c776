"""A grid as a ``concurrent.futures.Executor``: for programs that know only that.

* Calls of one function that are submitted close together travel as one job, so that a loop of ``submit`` costs little
  more than one ``map``: what comes while a job is being sent goes with the next.
* A future can be cancelled until it is done; its task may run all the same.
* Leaving the ``with`` block because of an error, Ctrl-C too, cancels the jobs: nobody will read their results.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, ParamSpec, TypeVar

from corpgrid.domain.answers import Cursor, TaskResult
from corpgrid.errors import CorpGridError, UsageError
from corpgrid.sdk.connection import Connection
from corpgrid.sdk.job import Job

P = ParamSpec("P")
T = TypeVar("T")
Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Of one call: positional ones, and those by keyword."""
Send = Callable[[Callable[..., Any], Sequence[Arguments]], Job[Any]]
_GATHER_SECONDS = 0.002
_PAGE_TASKS = 2_000
_WAIT_SECONDS = 20.0


class _Call(NamedTuple):
    function: Callable[..., Any]
    arguments: Arguments
    future: Future[Any]


class GridExecutor(Executor):
    """Futures on a grid.  Made by ``Grid.executor``; a result is final when its future is done."""

    def __init__(self, connection: Connection, send: Send) -> None:
        self._connection = connection
        self._send_job = send
        self._changed = threading.Condition()
        self._waiting: list[_Call] = []
        self._open: set[Future[Any]] = set()
        self._jobs: dict[str, Job[Any]] = {}
        self._closed = False
        self._sender = threading.Thread(target=self._send_all, name="corpgrid-executor", daemon=True)
        self._sender.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function on the grid.

        Raises:
            UsageError: the executor was shut down.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise UsageError("this executor was shut down", remedy="Make another one with grid.executor().")
            self._waiting.append(_Call(fn, (args, kwargs), future))
            self._open.add(future)
            self._changed.notify()
        future.add_done_callback(self._open.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the base's
        """Take no more calls.

        Args:
            wait: until all are done.
            cancel_futures: cancel all that are not done, and their jobs.
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
        if cancel_futures:
            self._cancel_all()
        if wait:
            self._sender.join()
            wait_for(set(self._open))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Shut it down: wait for everything; after an error, or when that is interrupted, cancel everything."""
        try:
            self.shutdown(cancel_futures=kind is not None)
        except KeyboardInterrupt:
            self.shutdown(wait=False, cancel_futures=True)
            raise

    def _cancel_all(self) -> None:
        for future in set(self._open):
            future.cancel()
        self._sender.join()  # what it is sending has its job in a moment
        for job in list(self._jobs.values()):
            with suppress(CorpGridError):  # a grid that is gone has nothing to cancel
                job.cancel("its executor was shut down")

    # -- the sender's thread

    def _send_all(self) -> None:
        while calls := self._next_calls():
            by_function: dict[int, list[_Call]] = {}
            for call in calls:
                by_function.setdefault(id(call.function), []).append(call)
            for group in by_function.values():
                self._send([call for call in group if not _was_cancelled(call.future)])

    def _next_calls(self) -> list[_Call]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._closed:
                self._changed.wait_for(lambda: self._closed, timeout=_GATHER_SECONDS)
            calls, self._waiting = self._waiting, []
            return calls

    def _send(self, calls: Sequence[_Call]) -> None:
        if not calls:
            return
        left = {index: call.future for index, call in enumerate(calls)}
        try:
            job = self._send_job(calls[0].function, [call.arguments for call in calls])
            self._jobs[job.id] = job
            self._connection.start(self._read(job, left))
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who wait
            _fail(left, error)

    # -- on the connection's loop

    async def _read(self, job: Job[Any], left: dict[int, Future[Any]]) -> None:
        """Follow a job to its end; results are decoded and futures settled in a thread that may block."""
        api, cursor, complete = self._connection.api, Cursor(), False
        try:
            while not complete:
                page = await api.results(job.id, after=cursor, limit=_PAGE_TASKS, wait_seconds=_WAIT_SECONDS)
                await asyncio.to_thread(_settle, job, page.results, left)
                cursor, complete = page.cursor, page.complete
        except asyncio.CancelledError:
            _fail(
                left, UsageError("the grid was closed before the call was done", remedy="Shut the executor down first.")
            )
            raise
        except Exception as error:  # noqa: BLE001 - as above
            _fail(left, error)
        finally:
            self._jobs.pop(job.id, None)


def spread(function: Callable[..., T]) -> Callable[[Arguments], T]:
    """A function of one argument, which is the arguments of the other."""

    # Nested, it travels by value: a device needs nothing of this module.
    def call(arguments: Arguments) -> T:
        return function(*arguments[0], **arguments[1])

    return call


def _settle(job: Job[Any], results: Sequence[TaskResult], left: dict[int, Future[Any]]) -> None:
    for result in results:
        future = left.pop(result.index)
        if not future.set_running_or_notify_cancel():
            continue
        try:
            future.set_result(job.decode(result))
        except CorpGridError as error:
            future.set_exception(error)


def _fail(left: dict[int, Future[Any]], error: Exception) -> None:
    while left:
        _, future = left.popitem()
        if future.set_running_or_notify_cancel():
            future.set_exception(error)


def _was_cancelled(future: Future[Any]) -> bool:
    """Whether a future was cancelled before its call was sent; whoever waits for it hears of it now."""
    return future.cancelled() and not future.set_running_or_notify_cancel()
