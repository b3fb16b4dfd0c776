"""What checkers know of a job: all that was committed of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from corpgrid.domain.job import Counts, Job, JobSpec, Task, TaskState

COLUMN: Mapping[TaskState, int] = {state: Counts._fields.index(state.value) for state in TaskState}


@dataclass(slots=True)
class KnownJob:
    """One job; a task that nobody touched has no row.

    Attributes:
        first: every task's first row, but for its index.
        counts: of tasks by ``COLUMN``, as their rows make it.
    """

    row: Job
    spec: JobSpec
    first: Task
    counts: list[int]
    unsettled: int
    tasks: dict[int, Task] = field(default_factory=dict)

    def task(self, index: int) -> Task:
        """One task as it stands."""
        return self.tasks.get(index) or self.first._replace(index=index)
