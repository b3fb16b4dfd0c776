"""An agent that notes when work comes and when its results go: the port to its scheduler is wrapped, nothing else.

python -m corpgrid.cli.bench.traced_agent --config agent.toml
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpgrid.cli.bench.trace import Trace
from corpgrid.cli.daemon_commands import serve
from corpgrid.compose.agent import run_agent
from corpgrid.config import load_config
from corpgrid.domain.messages import Batch, PollReply, PollRequest, Reply, SubmitRequest
from corpgrid.ports.api import SchedulerApi
from corpgrid.trust.keys import PrivateKey


class _Tracing:
    """A scheduler's port with a stopwatch."""

    def __init__(self, api: SchedulerApi, trace: Trace) -> None:
        self._api = api
        self._trace = trace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def poll(self, request: PollRequest) -> PollReply:
        self._returned(request.batches)
        reply = await self._api.poll(request)
        self._trace.note("granted", [grant.job for grant in reply.grants])
        return reply

    async def submit(self, request: SubmitRequest) -> Reply:
        self._returned(request.batches)
        return await self._api.submit(request)

    def _returned(self, batches: Sequence[Batch]) -> None:
        self._trace.note("returned", [batch.job for batch in batches])
        for batch in batches:
            self._trace.note("runner_seconds", [batch.job], at=sum(item.seconds for item in batch.items))


def main() -> None:
    """Run the agent until it is stopped."""
    parser = argparse.ArgumentParser(description="An agent with a stopwatch.")
    parser.add_argument("--config", type=Path, required=True)
    config = load_config(path=parser.parse_args().config, environ=os.environ)
    trace = Trace()

    def wrap(api: SchedulerApi, _key: PrivateKey) -> SchedulerApi:
        tracing: Any = _Tracing(api, trace)  # it answers to the whole port
        return tracing  # type: ignore[no-any-return]

    serve(lambda stop: run_agent(config, stop=stop, wrap=wrap), with_parent=True)
    trace.save(config.agent.folder)


if __name__ == "__main__":
    main()
