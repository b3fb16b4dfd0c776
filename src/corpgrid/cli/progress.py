"""A job's progress while it runs: a live bar on a terminal, a plain line every few seconds in a pipe.

Where nothing moves for a while, it says why.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from corpgrid.domain.job import Job
from corpgrid.sdk.job import Job as Handle
from corpgrid.sdk.text import printable

_PLAIN_SECONDS = 2.0
_STILL_SECONDS = 5.0


def watch_job(job: Handle[Any], *, quiet: bool) -> Job:
    """Follow a job to its end; its last row."""
    if quiet:
        return job.wait()
    return _live(job) if sys.stderr.isatty() else _plain(job)


def summary(row: Job) -> str:
    """One line of how far a job is."""
    counts = row.counts
    parts = [f"{counts.final}/{row.tasks} final"]
    parts += [f"{count} {name}" for name, count in counts._asdict().items() if count and name != "final"]
    if row.audits:
        parts.append(f"{row.audits} audits")
    if row.mismatches:
        parts.append(f"{row.mismatches} mismatches")
    return ", ".join(parts)


class _Told:
    """What is to be said of a job now: how far it is, and if that does not change, why."""

    def __init__(self, job: Handle[Any]) -> None:
        self._job = job
        self._line = ""
        self._why = ""
        self._moved_at = self._asked_at = time.monotonic()

    def line(self, row: Job) -> str:
        now = time.monotonic()
        line = summary(row)
        if line != self._line:
            self._line, self._why, self._moved_at = line, "", now
        elif now - max(self._moved_at, self._asked_at) >= _STILL_SECONDS and not row.finished_at:
            self._why, self._asked_at = printable(self._job.why().summary, keep=""), now
        return self._why or line


def _plain(job: Handle[Any]) -> Job:
    told, said, said_at = _Told(job), "", -_PLAIN_SECONDS

    def report(row: Job) -> None:
        nonlocal said, said_at
        line, now = told.line(row), time.monotonic()
        if line != said and now - said_at >= _PLAIN_SECONDS:
            said, said_at = line, now
            click.echo(f"{row.id}: {line}", err=True)

    return job.wait(progress=report)


def _live(job: Handle[Any]) -> Job:
    from rich.console import Console  # noqa: PLC0415 - takes long to import; only a terminal needs it
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    told = _Told(job)
    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("waiting", total=None)

        def report(row: Job) -> None:
            counts = row.counts
            settled = counts.final + counts.provisional + counts.failed + counts.cancelled
            progress.update(bar, total=row.tasks, completed=settled, description=told.line(row))

        return job.wait(progress=report)
