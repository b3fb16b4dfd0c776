"""``corpgrid job``: submit, list, show, watch, results, logs, cancel, why, report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from corpgrid.cli.context import Context, grid_options
from corpgrid.cli.progress import watch_job
from corpgrid.cli.render import Style, printable, to_json
from corpgrid.domain.answers import Explanation, TaskResult
from corpgrid.domain.ids import digest_text
from corpgrid.domain.job import Job, JobState, TaskState
from corpgrid.errors import CorpGridError, JobCancelledError, JobFailedError
from corpgrid.sdk.job import Job as Handle


@click.group("job")
def job_group() -> None:
    """Submit jobs, watch them, read their results."""


def job_row(job: Job) -> dict[str, Any]:
    """A job as a row: what people see, and what programs get."""
    counts = job.counts
    ended = counts.final + counts.failed + counts.cancelled
    return {
        "id": job.id,
        "name": job.name,
        "state": job.state.value,
        "tasks": job.tasks,
        "done": ended,
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
        if not watch:
            context.renderer.facts(job_row(job.status()))
            context.renderer.line(f"\nfollow it with: corpgrid job watch {job.id}")
            return
        _follow(context, job)


@job_group.command("list")
@click.option("--limit", default=50, show_default=True, help="At most this many, newest first.")
@grid_options
def list_jobs(context: Context, *, limit: int) -> None:
    """List jobs, newest first."""
    with context.grid() as grid:
        rows = [job_row(job) for job in grid.jobs(limit=limit)]
    context.renderer.rows(
        rows,
        columns=("id", "name", "state", "tasks", "done", "provisional", "failed"),
        empty="no jobs yet; submit one with: corpgrid job submit examples/digits/job.toml",
    )


@job_group.command("show")
@click.argument("job")
@grid_options
def show(context: Context, job: str) -> None:
    """Show one JOB, and its failed tasks."""
    with context.grid() as grid:
        handle = grid.job(job)
        row = handle.status()
        failed = grid.tasks(job, states=(TaskState.FAILED,), limit=20) if row.counts.failed else []
    facts = job_row(row)
    facts["failed_tasks"] = [f"{task.index} ({task.reason})" for task in failed]
    context.renderer.facts(facts)


@job_group.command("watch")
@click.argument("job")
@grid_options
def watch(context: Context, job: str) -> None:
    """Follow a JOB to its end; exit 1 if it fails."""
    with context.grid() as grid:
        _follow(context, grid.job(job))


def _follow(context: Context, job: Handle[Any]) -> None:
    row = watch_job(job, quiet=context.renderer.style is not Style.TABLE)
    context.renderer.facts(job_row(row))
    _raise_unless_done(row)


def _raise_unless_done(row: Job) -> None:
    if row.state is JobState.FAILED:
        raise JobFailedError(f"job {row.id}: {row.reason or 'tasks failed'}")
    if row.state is JobState.CANCELLED:
        raise JobCancelledError(f"job {row.id} was cancelled: {row.reason}")


@job_group.command("results")
@click.argument("job")
@click.option("--outputs", type=click.Path(path_type=Path), default=None, help="Write output files into this folder.")
@grid_options
def results(context: Context, job: str, *, outputs: Path | None) -> None:
    """Print a JOB's results as they become final: one line of JSON a task.  Exit 1 if any failed."""
    failed = 0
    with context.grid() as grid:
        handle = grid.job(job)
        for result in handle.raw_results():
            line = _result_line(handle, result)
            failed += "error" in line
            if outputs is not None and result.outputs:
                saved = handle.save_outputs(result, outputs / str(result.index))
                line["outputs"] = [str(path) for path in saved]
            click.echo(to_json(line))
            sys.stdout.flush()
    if failed:
        raise JobFailedError(f"{failed} tasks of job {job} have no result")


def _result_line(handle: Handle[Any], result: TaskResult) -> dict[str, Any]:
    line: dict[str, Any] = {"index": result.index, "state": result.state.value}
    try:
        line["value"] = handle.decode(result)
    except CorpGridError as error:
        line["error"] = {"reason": result.reason or error.code, "detail": result.detail}
    line["seconds"] = round(result.seconds, 6)
    if result.outputs:
        line["outputs"] = [{"name": file.name, "digest": digest_text(file.digest)} for file in result.outputs]
    return line


@job_group.command("logs")
@click.argument("job")
@click.argument("task", type=int)
@grid_options
def logs(context: Context, job: str, task: int) -> None:
    """Print what each attempt at a TASK of a JOB printed."""
    with context.grid() as grid:
        found = grid.job(job).logs(task)
    if context.renderer.style is Style.JSON:
        rows = [entry._asdict() | {"log": entry.log.decode(errors="replace")} for entry in found]
        context.renderer.rows(rows, columns=("attempt",), empty="[]")
        return
    for entry in found:
        dropped = f", {entry.log_dropped} bytes dropped" if entry.log_dropped else ""
        reason = f": {entry.reason}" if entry.reason else ""
        click.echo(f"--- attempt {entry.attempt} on {entry.device} {entry.state}{reason}{dropped}")
        click.echo(printable(entry.log.decode(errors="replace")), nl=not entry.log.endswith(b"\n"))
        if entry.detail:
            click.echo(printable(entry.detail))
    if not found:
        click.echo(f"task {task} was not tried yet")


@job_group.command("cancel")
@click.argument("job")
@click.option("--reason", default="cancelled on the command line", help="Kept in the audit log.")
@grid_options
def cancel(context: Context, job: str, *, reason: str) -> None:
    """Cancel a JOB; results that are final stay."""
    with context.grid() as grid:
        context.renderer.facts(job_row(grid.job(job).cancel(reason)))


@job_group.command("why")
@click.argument("job")
@grid_options
def why(context: Context, job: str) -> None:
    """Say why a JOB is not finished."""
    with context.grid() as grid:
        print_explanation(context, grid.job(job).why())


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
        "story": [f"{entry.kind} {entry.subject} {entry.detail}".strip() for _, entry in found.story],
    }
    if context.renderer.style is not Style.TABLE:
        context.renderer.facts(facts)
        return
    story = facts.pop("story")
    context.renderer.facts(facts)
    for line in story:
        context.renderer.line(f"  {printable(line)}")


def print_explanation(context: Context, found: Explanation) -> None:
    """Print why something does not run."""
    if context.renderer.style is Style.JSON:
        obstacles = [obstacle._asdict() for obstacle in found.obstacles]
        click.echo(to_json({"summary": found.summary, "obstacles": obstacles}))
        return
    click.echo(printable(found.summary))
    for obstacle in found.obstacles:
        devices = f"{obstacle.devices} device(s): " if obstacle.devices else ""
        remedy = f"\n    -> {obstacle.remedy}" if obstacle.remedy else ""
        click.echo(printable(f"  - {devices}{obstacle.detail or obstacle.reason}{remedy}"))
