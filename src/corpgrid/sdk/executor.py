"""A grid as a ``concurrent.futures.Executor``: for programs that know only that.

Calls of one function that are submitted close together travel as one job, so that a loop of ``submit`` costs little
more than one ``map``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

from corpgrid.errors import CorpGridError, TaskFailedError

if TYPE_CHECKING:
    from corpgrid.sdk.client import Grid

_GATHER_SECONDS = 0.002
_Call = tuple[tuple[Any, ...], dict[str, Any], "Future[Any]"]


class GridExecutor(Executor):
    """Futures on a grid.  Made by ``Grid.executor``; results are final when a future is done."""

    def __init__(self, grid: Grid, options: dict[str, Any]) -> None:
        self._grid = grid
        self._options = options
        self._lock = threading.Lock()
        self._gathered: dict[Callable[..., Any], list[_Call]] = {}
        self._spread: dict[Callable[..., Any], Callable[..., Any]] = {}
        self._readers: list[threading.Thread] = []
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function on the grid."""
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot submit after shutdown")
            calls = self._gathered.setdefault(fn, [])
            calls.append((args, kwargs, future))
            if len(calls) == 1:
                reader = threading.Timer(_GATHER_SECONDS, self._send, [fn])
                self._readers.append(reader)
                reader.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the base's
        """Take no more calls; with ``wait``, until all are done."""
        with self._lock:
            self._closed = True
            readers = list(self._readers)
            if cancel_futures:
                for calls in self._gathered.values():
                    for _, _, future in calls:
                        future.cancel()
        if wait:
            for reader in readers:
                reader.join()

    def _send(self, function: Callable[..., Any]) -> None:
        with self._lock:
            calls = [call for call in self._gathered.pop(function, []) if call[2].set_running_or_notify_cancel()]
        if not calls:
            return
        futures = [future for _, _, future in calls]
        try:
            spread = self._spread.setdefault(function, _spread(function))
            job = self._grid.map(spread, [(args, kwargs) for args, kwargs, _ in calls], **self._options)
            for result in job.raw_results():
                _settle(futures[result.index], lambda result=result: job.decode(result))  # type: ignore[misc]
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to those who wait
            _fail(futures, error)


def _settle(future: Future[Any], decode: Callable[[], Any]) -> None:
    try:
        future.set_result(decode())
    except (CorpGridError, TaskFailedError) as error:
        future.set_exception(error)


def _fail(futures: Iterable[Future[Any]], error: BaseException) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)


def _spread(function: Callable[..., Any]) -> Callable[[tuple[tuple[Any, ...], dict[str, Any]]], Any]:
    def spread(call: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
        args, kwargs = call
        return function(*args, **kwargs)

    return spread
