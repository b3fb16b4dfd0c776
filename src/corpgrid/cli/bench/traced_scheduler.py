"""A scheduler that notes when a job and its results come and when they are committed: two services with a stopwatch.

python -m corpgrid.cli.bench.traced_scheduler --config scheduler.toml
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import click

from corpgrid.cli.bench.trace import Trace
from corpgrid.cli.daemon_commands import serve
from corpgrid.cli.render import to_json
from corpgrid.compose.scheduler import run_scheduler
from corpgrid.config import load_config
from corpgrid.domain.effects import Effects, View
from corpgrid.domain.hints import Hint
from corpgrid.domain.messages import PollRequest, SubmitRequest
from corpgrid.scheduler.grid_service import GridService
from corpgrid.scheduler.scheduler import Scheduler
from corpgrid.scheduler.service import AgentService


def put_stopwatches(trace: Trace) -> None:
    """Have this process's scheduler note what comes and when it is committed."""
    submit_job, poll, submit = GridService.submit_job, AgentService.poll, AgentService.submit
    committed = Scheduler._committed  # noqa: SLF001 - the one place that hears of a commit before anybody is answered

    async def traced_submit_job(service: GridService, *args: Any, **kwargs: Any) -> Any:
        came = time.perf_counter()
        row = await submit_job(service, *args, **kwargs)
        trace.note("submit_came", [row.id], at=came)
        return row

    async def traced_poll(service: AgentService, request: PollRequest) -> Any:
        trace.note("result_came", [batch.job for batch in request.batches])
        return await poll(service, request)

    async def traced_submit(service: AgentService, request: SubmitRequest) -> Any:
        trace.note("result_came", [batch.job for batch in request.batches])
        return await submit(service, request)

    def traced_committed(scheduler: Scheduler, view: View, effects: Effects, hint: Hint) -> None:
        trace.note("submit_committed", [new.job.id for new in effects.new_jobs])
        trace.note("result_committed", [batch.job for batch in effects.batches])
        committed(scheduler, view, effects, hint)

    wrapped: dict[type[Any], dict[str, Any]] = {
        GridService: {"submit_job": traced_submit_job},
        AgentService: {"poll": traced_poll, "submit": traced_submit},
        Scheduler: {"_committed": traced_committed},
    }
    for owner, methods in wrapped.items():
        for name, method in methods.items():
            setattr(owner, name, method)


def main() -> None:
    """Serve until it is stopped."""
    parser = argparse.ArgumentParser(description="A scheduler with a stopwatch.")
    parser.add_argument("--config", type=Path, required=True)
    config = load_config(path=parser.parse_args().config, environ=os.environ)
    trace = Trace()
    put_stopwatches(trace)

    def ready(address: str) -> None:
        click.echo(to_json({"address": address}))

    serve(lambda stop: run_scheduler(config, stop=stop, ready=ready), with_parent=True)
    trace.save(config.scheduler.folder)


if __name__ == "__main__":
    main()
