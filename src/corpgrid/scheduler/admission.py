"""The most that a job may ask for: what the operator allows, below what the formats allow (``trust.limits``).

A job that asks for more is refused when it is submitted, by the limit's name: nobody learns it from a failed task.
"""

from __future__ import annotations

from corpgrid.domain.job import JobSpec
from corpgrid.errors import LimitError
from corpgrid.scheduler.limits import SchedulerLimits

OF_TASKS = (
    "wall_seconds",
    "memory_bytes",
    "processes",
    "output_bytes",
    "output_files",
    "output_depth",
    "log_bytes",
    "result_bytes",
)
"""Called so here, in the configuration, and in a job's limits."""


def require_within(spec: JobSpec, limits: SchedulerLimits) -> None:
    """Check what a job asks for.

    Raises:
        LimitError: it is too much.
    """
    _check("job_tasks", "the number of tasks", spec.arguments.tasks, limits.job_tasks, "Submit it as several jobs")
    _check("task_attempts", "limits.max_attempts", spec.limits.max_attempts, limits.task_attempts)
    for name in OF_TASKS:
        _check(name, f"{name} of a task", getattr(spec.limits, name), getattr(limits, name))


def too_much(name: str, what: str, got: float, limit: float, instead: str = "Ask for less") -> LimitError:
    """The error of somebody who met a limit of the operator."""
    remedy = f"{instead}, or have the operator raise limits.{name} of the scheduler."
    return LimitError(f"limits.{name}", limit=limit, got=got, what=what, remedy=remedy)


def _check(name: str, what: str, got: float, limit: float, instead: str = "Ask for less") -> None:
    if got > limit:
        raise too_much(name, what, got, limit, instead)
