"""A job's progress while it runs: a live bar on a terminal, a plain line every few seconds in a pipe."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from corpgrid.domain.job import Job
from corpgrid.sdk.job import Job as Handle

_PLAIN_SECONDS = 2.0


def watch_job(job: Handle[Any], *, quiet: bool) -> Job:
    """Follow a job to its end; its last row."""
    if quiet:
        return job.wait()
    if sys.stderr.isatty():
        return _live(job)
    return _plain(job)


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


def _plain(job: Handle[Any]) -> Job:
    said_at, said = 0.0, ""

    def report(row: Job) -> None:
        nonlocal said_at, said
        line = summary(row)
        if line != said and time.monotonic() - said_at >= _PLAIN_SECONDS:
            said_at, said = time.monotonic(), line
            click.echo(f"{row.id}: {line}", err=True)

    return job.wait(progress=report)


def _live(job: Handle[Any]) -> Job:
    from rich.console import Console  # noqa: PLC0415 - takes long to import; only a terminal needs it
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("waiting", total=None)

        def report(row: Job) -> None:
            counts = row.counts
            settled = counts.final + counts.provisional + counts.failed + counts.cancelled
            progress.update(bar, total=row.tasks, completed=settled, description=summary(row))

        return job.wait(progress=report)
