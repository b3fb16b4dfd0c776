"""``corpgrid bench``: dispatch, runner.  With ``--json`` each prints one object, last."""

from __future__ import annotations

import click

from corpgrid.cli.context import output_options
from corpgrid.cli.render import Renderer


@click.group("bench")
def bench_group() -> None:
    """Measure this grid on this machine."""


@bench_group.command("dispatch")
@click.option("--tasks", default=10_000, show_default=True, help="No-op tasks in one job.")
@click.option("--singles", default=200, show_default=True, help="Jobs of one task, one after another.")
@click.option("--runs", default=3, show_default=True, help="How often; the best run counts, all are shown.")
@click.option("--store", type=click.Choice(["sqlite"]), default="sqlite", show_default=True)
@output_options
def dispatch(renderer: Renderer, *, tasks: int, singles: int, runs: int, store: str) -> None:  # noqa: ARG001 - one choice so far
    """No-op tasks a second, durable, signed, audited; and the latency of one task."""
    from corpgrid.cli.bench.dispatch import measure_dispatch  # noqa: PLC0415 - gRPC takes long to import

    renderer.facts(measure_dispatch(tasks=tasks, singles=singles, runs=runs), name="tasks_per_s")


@bench_group.command("runner")
@click.option("--tasks", default=2_000, show_default=True, help="No-op tasks given to a warm runner, one at a time.")
@click.option("--starts", default=20, show_default=True, help="Cold starts.")
@output_options
def runner(renderer: Renderer, *, tasks: int, starts: int) -> None:
    """What a sandboxed runner costs: cold start against a bare interpreter, and a task on a warm one."""
    from corpgrid.cli.bench.runner import measure_runner  # noqa: PLC0415 - takes long to import

    renderer.facts(measure_runner(tasks=tasks, starts=starts), name="task_ms")
