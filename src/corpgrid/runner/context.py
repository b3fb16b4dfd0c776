"""Which task runs now, for code of a job that wants to know.

>>> from corpgrid.runner.context import current_task
>>> task = current_task()  # CurrentTask(index=17, attempt=0) inside a task, None anywhere else
"""

from __future__ import annotations

from typing import NamedTuple


class CurrentTask(NamedTuple):
    """The task that runs in this process.

    Attributes:
        index: its position in its job, from 0.
        attempt: which try at it this is, from 0.
    """

    index: int  # type: ignore[assignment]  # a field, in place of tuple.index
    attempt: int


_running: list[tuple[int, int]] = []


def enter(index: int, attempt: int) -> None:
    """Called by the runner before each task."""
    _running[:] = [(index, attempt)]


def current_task() -> CurrentTask | None:
    """The task that runs now, or None outside a runner."""
    return CurrentTask(*_running[0]) if _running else None
