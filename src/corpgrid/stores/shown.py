"""Which tasks a tick sees, of which runs; and their attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter

from corpgrid.domain.attempt import Attempt
from corpgrid.domain.ids import DeviceId, JobId, TaskKey
from corpgrid.domain.job import Task
from corpgrid.stores.rows import INDEX_BITS, by_task
from corpgrid.stores.runs import AttemptRun, TaskRun, attempts_with
from corpgrid.stores.spans import Span, spans, within

_KEY: Callable[[Task], TaskKey] = itemgetter(0, 1)


class Shown:
    """What is shown of runs.

    Args:
        jobs: ids of jobs by their numbers; it may grow until a run of a job is shown.

    Attributes:
        tasks: by their keys in the domain.
        runs: of tasks, by their keys.
    """

    def __init__(self, jobs: Mapping[int, JobId]) -> None:
        self._jobs = jobs
        self._tried: dict[int, list[int]] = {}
        self.tasks: dict[TaskKey, Task] = {}
        self.runs: dict[int, TaskRun] = {}

    def show(self, run: TaskRun, keys: Sequence[int]) -> list[TaskKey]:
        """Show the tasks of a run with these keys."""
        tasks = run.tasks(self._jobs[run.last >> INDEX_BITS], keys)
        shown = list(map(_KEY, tasks))
        self.tasks.update(zip(shown, tasks, strict=True))
        self.runs[run.last] = run
        if run.attempts:
            self._tried[run.last] = sorted({*keys, *self._tried.get(run.last, ())})
        return shown

    def show_first(self, runs: Iterable[TaskRun], limit: int) -> list[TaskKey]:
        """Show the first tasks of runs, as many as that."""
        shown: list[TaskKey] = []
        for run in runs:
            shown += self.show(run, range(run.first, min(run.last + 1, run.first + limit - len(shown))))
        return shown

    def attempts_wanted(self) -> list[Span]:
        """The keys of all attempts at what is shown."""
        return [
            attempts_with(number, span)
            for last, keys in self._tried.items()
            for span in spans(keys)
            for number in range(self.runs[last].attempts)
        ]

    def attempts(
        self, runs: Iterable[AttemptRun], devices: Mapping[int, DeviceId]
    ) -> dict[TaskKey, tuple[Attempt, ...]]:
        """From runs of attempts, which rise, those at what is shown: of each task, by number."""
        tried = sorted(chain.from_iterable(self._tried.values()))
        made: list[Attempt] = []
        for run in runs:
            tasks = run.tasks()
            made += run.attempts(self._jobs[tasks.last >> INDEX_BITS], devices[run.device], within(tried, tasks))
        return by_task(made)
