"""A submitted job, as its submitter holds it: watch it, read its results, ask why, cancel it.

Results are read as they become final, in pages behind a cursor: nothing is missed and nothing is read twice, whatever
restarts in between.  What comes back is data; nothing that a device sent is ever executed here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from corpgrid.domain import job as rows
from corpgrid.domain.answers import AttemptLog, Cursor, Explanation, Report, ResultsPage, TaskResult
from corpgrid.domain.ids import JobId
from corpgrid.domain.job import JobState, TaskState
from corpgrid.domain.messages import OutputFile
from corpgrid.errors import JobCancelledError, MalformedDataError, TaskFailedError, UnavailableError, UsageError
from corpgrid.sdk.connection import Connection
from corpgrid.sdk.outputs import save_outputs
from corpgrid.sdk.text import printable
from corpgrid.wire import data

T = TypeVar("T")
_PAGE_TASKS = 2_000
_WAIT_SECONDS = 20.0
_PAUSE_SECONDS = 0.02
_PROGRESS_SECONDS = 0.5
_MISSING = re.compile(
    r"^ModuleNotFoundError: No module named '([\w.]+)'|array in it, and no (NumPy) here", re.MULTILINE
)


class Completed(NamedTuple, Generic[T]):
    """One task that ended well.

    Attributes:
        index: its position in the job, from 0.
        value: what it returned.
        seconds: its run time on the device.
        outputs: the files it left; ``Job.save_outputs`` fetches them.
    """

    index: int  # type: ignore[assignment]  # a field here, not the method of tuples
    value: T
    seconds: float
    outputs: tuple[OutputFile, ...] = ()


class Job(Generic[T]):
    """A job of the grid; iterating gives its results in order, each as soon as it and all before it are final.

    Attributes:
        id: its name, as the command line takes it.
    """

    def __init__(self, connection: Connection, job: JobId) -> None:
        self.id = job
        self._connection = connection

    def __repr__(self) -> str:
        return f"<corpgrid.Job {self.id}>"

    # -- its results

    def __iter__(self) -> Iterator[T]:
        """Results in order.

        Raises:
            TaskFailedError: at the place of a task that failed; the tasks after it can be read with ``as_completed``.
            JobCancelledError: the job was cancelled.
        """
        waiting: dict[int, TaskResult] = {}
        following = 0
        for result in self.raw_results():
            waiting[result.index] = result
            while following in waiting:
                yield self.decode(waiting.pop(following))
                following += 1

    def as_completed(self) -> Iterator[Completed[T]]:
        """Tasks that ended well, in the order in which they became final.

        Raises:
            TaskFailedError: after all others, for the first task that failed.
            JobCancelledError: the job was cancelled.
        """
        failed: TaskFailedError | None = None
        for result in self.raw_results():
            try:
                yield Completed(result.index, self.decode(result), result.seconds, result.outputs)
            except TaskFailedError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def results(self, *, errors: Literal["raise", "return"] = "raise") -> list[T]:
        """All results, in order; waits for the job's end.

        Args:
            errors: ``raise`` the first failed task's error, or ``return`` each error in its task's place.

        Raises:
            TaskFailedError: a task failed, and errors are raised.
            JobCancelledError: the job was cancelled.
        """
        if errors == "raise":
            return list(self)
        if errors != "return":
            raise UsageError(f"errors is {errors!r}, which it cannot be", remedy="It can be 'raise' or 'return'.")
        found: dict[int, Any] = {}
        for result in self.raw_results():
            try:
                found[result.index] = self.decode(result)
            except TaskFailedError as error:
                found[result.index] = error
        return [found[index] for index in sorted(found)]

    def result(self) -> T:
        """The result of a job of one task; waits for it.

        Raises:
            TaskFailedError: the task failed.
            JobCancelledError: the job was cancelled.
            UsageError: the job has several tasks.
        """
        for page in self._pages():
            if page.job.tasks != 1:
                raise UsageError(f"job {self.id} has {page.job.tasks} tasks", remedy="Read them with results().")
            for result in page.results:
                return self.decode(result)
        raise AssertionError("a job ends when its tasks have")

    def save_outputs(self, task: Completed[T] | TaskResult, folder: Path | str) -> list[Path]:
        """Write the files that a task left into a folder, under the names that it gave them; their paths.

        Raises:
            TrustError: a name would lead out of the folder, or a file is not the one that its device signed.
            UsageError: something cannot be written there.
        """
        return save_outputs(task.outputs, Path(folder), self._fetch)

    # -- how it goes

    def wait(
        self, *, timeout_seconds: float | None = None, progress: Callable[[rows.Job], None] | None = None
    ) -> rows.Job:
        """Wait for the job's end; its last row.

        Args:
            timeout_seconds: give up after this long; the job goes on.
            progress: called with the job's row now and then, at least twice a second.

        Raises:
            UnavailableError: it did not end in time.
        """
        row, pause = self.status(), False
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            if progress is not None:
                progress(row)
            if row.state is not JobState.RUNNING:
                return row
            if pause:
                time.sleep(_PAUSE_SECONDS)  # a job of short tasks would wake this at each tick
            pause = True
            seconds = _WAIT_SECONDS if progress is None else _PROGRESS_SECONDS
            if deadline is not None:
                seconds = min(seconds, deadline - time.monotonic())
                if seconds <= 0:
                    raise UnavailableError(
                        f"job {self.id} did not end within {timeout_seconds:g} s",
                        remedy="It goes on: wait again, or ask why().",
                    )
            # No results are wanted, only to be woken: the cursor stands behind all that ended so far.
            row = self._page(Cursor(row.rev, row.tasks), limit=1, wait_seconds=seconds).job

    def status(self) -> rows.Job:
        """The job's row now: its state, and how many of its tasks stand where."""
        return self._connection.call(self._connection.api.job(self.id))

    def report(self) -> Report:
        """How far the results can be believed, and what that cost."""
        return self._connection.call(self._connection.api.report(self.id))

    def why(self) -> Explanation:
        """Why it is not finished: one sentence, and what stands in the way."""
        return self._connection.call(self._connection.api.explain_job(self.id))

    def cancel(self, reason: str = "cancelled by its submitter") -> rows.Job:
        """End it now; results that are final stay."""
        return self._connection.call(self._connection.api.cancel_job(self.id, reason=reason))

    def logs(self, index: int) -> Sequence[AttemptLog]:
        """What each attempt at a task printed, and how it ended.

        Raises:
            NotFoundError: the job has no such task.
        """
        return self._connection.call(self._connection.api.log(self.id, index))

    # -- closer to the wire

    def raw_results(self) -> Iterator[TaskResult]:
        """Every task that ended, failed ones too, in the order in which they ended; until the job does."""
        for page in self._pages():
            yield from page.results

    def decode(self, result: TaskResult) -> T:
        """The value of a raw result.

        Raises:
            TaskFailedError: the task failed.
            JobCancelledError: it was cancelled.
            MalformedDataError: its device sent something that is no data.
        """
        if result.state is TaskState.FAILED:
            raise _failure(result)
        if result.state is TaskState.CANCELLED:
            raise JobCancelledError(f"job {self.id} was cancelled before task {result.index} ended")
        call, api = self._connection.call, self._connection.api
        payload = call(api.get_blob(result.blob)) if result.blob else result.payload
        try:
            value: T = data.decode(payload)
        except MalformedDataError as error:
            raise MalformedDataError(
                f"the result of task {result.index} is no data: {error}", remedy=f"Look at the device {result.device}."
            ) from error
        return value

    def _pages(self) -> Iterator[ResultsPage]:
        cursor = Cursor()
        while True:
            page = self._page(cursor, limit=_PAGE_TASKS, wait_seconds=_WAIT_SECONDS)
            yield page
            cursor = page.cursor
            if page.complete:
                return

    def _page(self, cursor: Cursor, *, limit: int, wait_seconds: float) -> ResultsPage:
        api = self._connection.api
        return self._connection.call(api.results(self.id, after=cursor, limit=limit, wait_seconds=wait_seconds))

    def _fetch(self, output: OutputFile, target: Path) -> None:
        self._connection.call(self._connection.api.fetch_blob(output.digest, target))


def _failure(result: TaskResult) -> TaskFailedError:
    """The error of a failed task; what its device says of it is text from a stranger."""
    detail = printable(result.detail)
    missing = [found.partition(".")[0] for match in _MISSING.findall(detail) for found in match if found]
    remedy = ""
    if missing:
        remedy = f"Name the package of {missing[-1]} in packages=: a device has Python's own modules and nothing else."
    error = TaskFailedError(result.index, reason=printable(result.reason), detail=detail, remedy=remedy)
    if "\n" in detail.strip():
        error.__notes__.insert(0, f"On device {result.device}:\n{detail.rstrip()}")
    return error
