"""A submitted job, as its submitter holds it: watch it, read its results, ask why, cancel it.

Results are read as they become final, in pages behind a cursor: nothing is missed and nothing is read twice, whatever
restarts in between.  What comes back is data; nothing that a device sent is ever executed here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from corpgrid.domain import job as rows
from corpgrid.domain.answers import AttemptLog, Cursor, Explanation, Report, ResultsPage, TaskResult
from corpgrid.domain.ids import JobId
from corpgrid.domain.messages import OutputFile
from corpgrid.errors import JobCancelledError, TaskFailedError, UnavailableError
from corpgrid.wire import data

if TYPE_CHECKING:
    from corpgrid.sdk.client import Grid

T = TypeVar("T")
_PAGE_TASKS = 2_000
_WAIT_SECONDS = 20.0


class Completed(NamedTuple, Generic[T]):
    """One task that ended well.

    Attributes:
        index: its position in the job, from 0.
        value: what it returned.
        seconds: its run time on the device.
    """

    index: int  # type: ignore[assignment]  # a field here, not the method of tuples
    value: T
    seconds: float


class Job(Generic[T]):
    """A job of the grid; iterating gives its results in order, each as soon as it and all before it are final."""

    def __init__(self, grid: Grid, job: JobId) -> None:
        self.id = job
        self._grid = grid

    def __iter__(self) -> Iterator[T]:
        """Results in order.

        Raises:
            TaskFailedError: at the place of a task that failed; the tasks after it can be read with ``as_completed``.
            JobCancelledError: the job was cancelled.
        """
        waiting: dict[int, TaskResult] = {}
        following = 0
        for result in self._ended():
            waiting[result.index] = result
            while following in waiting:
                yield self._value(waiting.pop(following))
                following += 1

    def as_completed(self) -> Iterator[Completed[T]]:
        """Tasks that ended well, in the order in which they became final.

        Raises:
            TaskFailedError: after all others, for the first task that failed.
            JobCancelledError: the job was cancelled.
        """
        failed: TaskFailedError | None = None
        for result in self._ended():
            try:
                yield Completed(result.index, self._value(result), result.seconds)
            except TaskFailedError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def results(self, *, errors: str = "raise") -> list[T]:
        """All results, in order; waits for the job's end.

        Args:
            errors: ``raise`` the first failed task's error, or ``return`` each error in its task's place.
        """
        if errors not in {"raise", "return"}:
            raise ValueError("errors must be 'raise' or 'return'")
        if errors == "raise":
            return list(self)
        found: dict[int, Any] = {}
        for result in self._ended():
            try:
                found[result.index] = self._value(result)
            except TaskFailedError as error:
                found[result.index] = error
        return [found[index] for index in sorted(found)]

    def result(self) -> T:
        """The result of a job of one task."""
        values = self.results()
        if len(values) != 1:
            raise ValueError(f"job {self.id} has {len(values)} results; use results()")
        return values[0]

    def wait(
        self, *, timeout_seconds: float | None = None, progress: Callable[[rows.Job], None] | None = None
    ) -> rows.Job:
        """Wait for the job's end; its last row.

        Args:
            timeout_seconds: give up after this long.
            progress: called with the job's row whenever something was heard of it.

        Raises:
            UnavailableError: it did not end in time.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        cursor = Cursor()
        while True:
            wait_seconds = _WAIT_SECONDS if deadline is None else min(_WAIT_SECONDS, deadline - time.monotonic())
            page = self._page(
                cursor, wait_seconds=max(wait_seconds, 0.0) if progress is None else min(wait_seconds, 1.0)
            )
            cursor = page.cursor
            if progress is not None:
                progress(page.job)
            if page.complete:
                return page.job
            if deadline is not None and time.monotonic() >= deadline:
                raise UnavailableError(
                    f"job {self.id} did not end within {timeout_seconds} s",
                    remedy="It goes on; wait again, or ask why().",
                )

    def status(self) -> rows.Job:
        """The job's row now: its state, and how many of its tasks stand where."""
        return self._grid.call(self._grid.api.job(self.id))

    def report(self) -> Report:
        """How far the results can be believed, and what that cost."""
        return self._grid.call(self._grid.api.report(self.id))

    def why(self) -> Explanation:
        """Why it is not finished: one sentence, and what stands in the way."""
        return self._grid.call(self._grid.api.explain_job(self.id))

    def cancel(self, reason: str = "cancelled by its submitter") -> rows.Job:
        """End it now; results that are final stay."""
        return self._grid.call(self._grid.api.cancel_job(self.id, reason=reason))

    def logs(self, index: int) -> Sequence[AttemptLog]:
        """What each attempt at a task printed, and how it ended."""
        return self._grid.call(self._grid.api.log(self.id, index))

    def save_outputs(self, result: TaskResult, folder: Path) -> list[Path]:
        """Write the files that a task left into a folder; their paths."""
        return [self._save(output, folder) for output in result.outputs]

    def raw_results(self) -> Iterator[TaskResult]:
        """Every ended task with its signed bytes and output files, in the order in which they ended."""
        return self._ended()

    def decode(self, result: TaskResult) -> T:
        """The value of a raw result.

        Raises:
            TaskFailedError: the task failed.
            JobCancelledError: it was cancelled.
        """
        return self._value(result)

    def _ended(self) -> Iterator[TaskResult]:
        cursor = Cursor()
        while True:
            page = self._page(cursor, wait_seconds=_WAIT_SECONDS)
            yield from page.results
            cursor = page.cursor
            if page.complete:
                return

    def _page(self, cursor: Cursor, *, wait_seconds: float) -> ResultsPage:
        return self._grid.call(
            self._grid.api.results(self.id, after=cursor, limit=_PAGE_TASKS, wait_seconds=wait_seconds)
        )

    def _value(self, result: TaskResult) -> T:
        if result.state is rows.TaskState.FAILED:
            raise TaskFailedError(result.index, reason=result.reason, detail=result.detail)
        if result.state is rows.TaskState.CANCELLED:
            raise JobCancelledError(f"job {self.id} was cancelled before task {result.index} ended")
        payload = self._grid.call(self._grid.api.get_blob(result.blob)) if result.blob else result.payload
        value: T = data.decode(payload)
        return value

    def _save(self, output: OutputFile, folder: Path) -> Path:
        target = folder / output.name
        target.parent.mkdir(parents=True, exist_ok=True)
        self._grid.call(self._grid.api.fetch_blob(output.digest, target))
        return target
