"""``corpgrid job``: submit, list, show, watch, results, logs, cancel, why, report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from corpgrid.cli.context import Context, grid_options
from corpgrid.cli.explanation import print_explanation
from corpgrid.cli.progress import watch_job
from corpgrid.cli.render import Style
from corpgrid.domain.answers import AttemptLog, TaskResult
from corpgrid.domain.ids import digest_text
from corpgrid.domain.job import Job, JobState, TaskState
from corpgrid.errors import CorpGridError, JobCancelledError, JobFailedError
from corpgrid.sdk.job import Job as Handle
from corpgrid.sdk.text import printable

_FAILED_SHOWN = 20


@click.group("job")
def job_group() -> None:
    """Submit jobs, watch them, read their results."""


def job_row(job: Job) -> dict[str, Any]:
    """A job as a row: what people see, and what programs get."""
    counts = job.counts
    return {
        "id": job.id,
        "name": job.name,
        "state": job.state.value,
        "tasks": job.tasks,
        "ended": counts.final + counts.failed + counts.cancelled,
        "provisional": counts.provisional,
        "failed": counts.failed,
        "executions": job.executions,
        "audits": job.audits,
        "mismatches": job.mismatches,
        "audit_rate": job.audit_rate,
        "error_bound": job.error_bound,
        "counts": counts._asdict(),
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "seconds": max(job.finished_at - job.created_at, 0.0),
        "priority": job.priority,
        "tenant": job.tenant,
        "submitter": job.submitter,
        "reason": job.reason,
    }


@job_group.command("submit")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--watch", is_flag=True, help="Follow it to its end; exit 1 if it fails.")
@grid_options
def submit(context: Context, file: Path, *, watch: bool) -> None:
    """Submit a job FILE (TOML)."""
    with context.grid() as grid:
        job = grid.submit_file(file)
        if watch:
            _follow(context, job)
        else:
            context.renderer.facts(job_row(job.status()))
            context.renderer.line(f"\nfollow it with: corpgrid job watch {job.id}")


@job_group.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many.")
@grid_options
def list_jobs(context: Context, *, limit: int) -> None:
    """List jobs, newest first."""
    with context.grid() as grid:
        rows = [job_row(job) for job in grid.jobs(limit=limit)]
    context.renderer.rows(
        rows,
        columns=("id", "name", "state", "tasks", "ended", "provisional", "failed"),
        empty="no jobs yet; submit one with: corpgrid job submit examples/digits/job.toml",
    )


@job_group.command("show")
@click.argument("job")
@grid_options
def show(context: Context, job: str) -> None:
    """Show one JOB, and its failed tasks."""
    with context.grid() as grid:
        row = grid.job(job).status()
        failed = grid.tasks(job, states=(TaskState.FAILED,), limit=_FAILED_SHOWN) if row.counts.failed else []
    context.renderer.facts(job_row(row) | {"failed_tasks": [f"{task.index} ({task.reason})" for task in failed]})


@job_group.command("watch")
@click.argument("job")
@grid_options
def watch(context: Context, job: str) -> None:
    """Follow a JOB to its end; exit 1 if it fails."""
    with context.grid() as grid:
        _follow(context, grid.job(job))


def _follow(context: Context, job: Handle[Any]) -> None:
    try:
        row = watch_job(job, quiet=context.renderer.style is not Style.TABLE)
    except KeyboardInterrupt:
        click.echo(f"{job.id} goes on: `corpgrid job watch` follows it, `corpgrid job cancel` ends it", err=True)
        raise
    context.renderer.facts(job_row(row))
    if row.state is JobState.FAILED:
        raise JobFailedError(f"{row.counts.failed} of {row.tasks} tasks of job {row.id} failed")
    if row.state is JobState.CANCELLED:
        raise JobCancelledError(f"job {row.id} was cancelled: {row.reason or 'nobody said why'}")


@job_group.command("results")
@click.argument("job")
@click.option("--outputs", type=click.Path(path_type=Path), default=None, help="Save output files below this folder.")
@grid_options
def results(context: Context, job: str, *, outputs: Path | None) -> None:
    """Print a JOB's results as they become final.

    One line of JSON a task; --json makes them one array, --quiet prints the values alone.  With --outputs, the files of
    task 7 go to FOLDER/7.  Exit 1 if any task has no result.
    """
    lost = 0

    def entries(handle: Handle[Any]) -> Iterator[dict[str, Any]]:
        nonlocal lost
        for result in handle.raw_results():
            entry = _entry(handle, result)
            lost += "value" not in entry
            if outputs is not None and result.outputs:
                saved = handle.save_outputs(result, outputs / str(result.index))
                entry["outputs"] = [
                    file | {"path": str(path)} for file, path in zip(entry["outputs"], saved, strict=True)
                ]
            yield entry

    with context.grid() as grid:
        handle = grid.job(job)
        context.renderer.stream(entries(handle), name="value")
        row = handle.status()
    if row.state is JobState.CANCELLED:
        raise JobCancelledError(f"job {job} was cancelled; {lost} of {row.tasks} tasks have no result")
    if lost:
        raise JobFailedError(f"{lost} of {row.tasks} tasks of job {job} have no result")


def _entry(handle: Handle[Any], result: TaskResult) -> dict[str, Any]:
    entry: dict[str, Any] = {"index": result.index, "state": result.state.value}
    try:
        entry["value"] = handle.decode(result)
    except CorpGridError as error:
        entry["error"] = {"code": error.code, "reason": result.reason, "detail": result.detail, "message": str(error)}
    return entry | {
        "seconds": round(result.seconds, 6),
        "device": result.device,
        "outputs": [
            {"name": file.name, "size_bytes": file.size_bytes, "digest": digest_text(file.digest)}
            for file in result.outputs
        ],
    }


@job_group.command("logs")
@click.argument("job")
@click.argument("task", type=click.IntRange(min=0))
@grid_options
def logs(context: Context, job: str, task: int) -> None:
    """Print what each attempt at a TASK of a JOB printed; --quiet prints that alone."""
    with context.grid() as grid:
        found = grid.job(job).logs(task)
    match context.renderer.style:
        case Style.JSON:
            rows = [entry._asdict() | {"log": entry.log.decode(errors="replace")} for entry in found]
            context.renderer.rows(rows, columns=("attempt",), empty="")
        case Style.QUIET:
            for entry in found:
                _print_log(entry)
        case Style.TABLE:
            for entry in found:
                dropped = f", {entry.log_dropped} bytes dropped" if entry.log_dropped else ""
                reason = f": {printable(entry.reason)}" if entry.reason else ""
                click.echo(f"--- attempt {entry.attempt} on {entry.device}, {entry.state}{reason}{dropped}")
                _print_log(entry)
                if entry.detail:
                    click.echo(printable(entry.detail.rstrip()))
            if not found:
                click.echo(f"task {task} was not tried yet; `corpgrid job why {job}` says why")


def _print_log(entry: AttemptLog) -> None:
    text = printable(entry.log.decode(errors="replace"))
    if text:
        click.echo(text, nl=not text.endswith("\n"))


@job_group.command("cancel")
@click.argument("job")
@click.option("--reason", default="cancelled on the command line", help="Kept in the audit log.")
@grid_options
def cancel(context: Context, job: str, *, reason: str) -> None:
    """Cancel a JOB; results that are final stay, and a job that ended stays as it is."""
    with context.grid() as grid:
        context.renderer.facts(job_row(grid.job(job).cancel(reason)))


@job_group.command("why")
@click.argument("job")
@grid_options
def why(context: Context, job: str) -> None:
    """Say why a JOB is not finished."""
    with context.grid() as grid:
        print_explanation(context.renderer, grid.job(job).why())


@job_group.command("report")
@click.argument("job")
@grid_options
def report(context: Context, job: str) -> None:
    """Say how far a JOB's results can be believed, and what that cost."""
    with context.grid() as grid:
        found = grid.job(job).report()
    facts = job_row(found.job) | {
        "mode": found.mode.value,
        "executions_per_task": found.executions_per_task,
        "standing": found.standing,
    }
    story = [f"{entry.kind} {entry.subject} {entry.detail}".strip() for _, entry in found.story]
    if context.renderer.style is Style.JSON:
        facts["story"] = story
    context.renderer.facts(facts)
    for line in story:
        context.renderer.line(f"  {printable(line)}")
