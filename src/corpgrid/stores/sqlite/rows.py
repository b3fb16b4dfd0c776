"""Runs of tasks and attempts as SQLite gives them: in JSON, their bytes in hex, their floats as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from corpgrid.stores.runs import AttemptRun, TaskRun

_READY_AT = 10
_BYTES = 10
_COLUMNS = 13


def task_run_of(row: list[Any]) -> TaskRun:
    """An array of ``job_shards``."""
    return TaskRun.of(task_row(row))


def attempt_run_of(row: list[Any]) -> AttemptRun:
    """An array of ``job_attempts``."""
    return AttemptRun.of(attempt_row(row))


def task_row(row: list[Any]) -> list[Any]:
    """An array of ``job_shards``, and what comes with it, as a row."""
    row[_READY_AT] = float(row[_READY_AT])
    return row


def attempt_row(row: list[Any]) -> list[Any]:
    """An array of ``job_attempts``, and what comes with it, as a row."""
    row[_BYTES:_COLUMNS] = map(bytes.fromhex, row[_BYTES:_COLUMNS])
    return row


def stored_row(row: list[Any]) -> list[Any]:
    """An array of a run of tasks with one of the attempts that were accepted, as a row."""
    row[-1] = bytes.fromhex(row[-1] or "")
    return task_row(row)


def values_of(runs: Iterable[TaskRun] | Iterable[AttemptRun]) -> list[Any]:
    """The values of runs, one after the other."""
    return [value for run in runs for value in run.values()]
