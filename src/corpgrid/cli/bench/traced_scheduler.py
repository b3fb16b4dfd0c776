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
from corpgrid.domain.events import JobSubmitted, Polled, Submitted
from corpgrid.domain.messages import PollRequest, SubmitRequest
from corpgrid.scheduler.grid_service import GridService
from corpgrid.scheduler.service import AgentService
from corpgrid.scheduler.tick import Tick


def put_stopwatches(trace: Trace) -> None:
    """Have this process's scheduler note what comes and when it is committed."""
    submit_job, poll, submit, ask = GridService.submit_job, AgentService.poll, AgentService.submit, Tick.ask

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

    async def traced_ask(tick: Tick, event: Any, **kwargs: Any) -> object:
        said = await ask(tick, event, **kwargs)
        if isinstance(event, JobSubmitted):
            trace.note("submit_committed", [event.job])
        elif isinstance(event, (Polled, Submitted)):
            trace.note("result_committed", [batch.job for batch in event.batches])
        return said

    wrapped: dict[type[Any], dict[str, Any]] = {
        GridService: {"submit_job": traced_submit_job},
        AgentService: {"poll": traced_poll, "submit": traced_submit},
        Tick: {"ask": traced_ask},
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
