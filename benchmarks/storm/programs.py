"""The storm's scheduler and agent: production's own, with one thing changed each.

* The scheduler collects blobs every few seconds, so that a collection meets everything else that happens.
* The agent writes down what it was told of its results, before it acts on it.

    python -m benchmarks.storm.programs scheduler scheduler-1.toml
    python -m benchmarks.storm.programs agent agent-1.toml agent-1.journal
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.storm import journal
from benchmarks.storm.journal import Journal

from corpgrid.cli.daemon_commands import serve
from corpgrid.config import Config, load_config
from corpgrid.domain.messages import Batch, PollReply, PollRequest, Reply, SubmitRequest
from corpgrid.errors import CorpGridError
from corpgrid.ports.api import SchedulerApi
from corpgrid.scheduler.limits import SchedulerLimits
from corpgrid.trust.keys import PrivateKey

_COLLECT_SECONDS = 3.0


class _Witness:
    """A scheduler's port that writes down what it answered."""

    def __init__(self, api: SchedulerApi, book: Journal) -> None:
        self._api = api
        self._book = book

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def poll(self, request: PollRequest) -> PollReply:
        """PollJobs."""
        reply = await self._api.poll(request)
        self._note(request.batches, reply.received)
        return reply

    async def submit(self, request: SubmitRequest) -> Reply:
        """SubmitResult."""
        reply = await self._api.submit(request)
        self._note(request.batches, reply.received)
        return reply

    def _note(self, batches: Sequence[Batch], received: Sequence[int]) -> None:
        for batch, count in zip(batches, received, strict=True):
            items = [(item.index, item.attempt, item.epoch) for item in batch.items]
            self._book.note(journal.TOLD, device=batch.device, job=batch.job, received=count, items=items)


def _agent(config: Config, book: Path) -> None:
    from corpgrid.compose.agent import run_agent  # noqa: PLC0415 - a scheduler needs none of it

    def wrap(api: SchedulerApi, _key: PrivateKey) -> SchedulerApi:
        witness: Any = _Witness(api, Journal(book))  # it answers to the whole port
        return witness  # type: ignore[no-any-return]

    serve(lambda stop: run_agent(config, stop=stop, wrap=wrap), with_parent=False)


def _scheduler(config: Config) -> None:
    from corpgrid.compose import scheduler  # noqa: PLC0415 - an agent needs none of it

    limits_of = scheduler.scheduler_limits

    def eager(config: Config) -> SchedulerLimits:
        return replace(limits_of(config), collect_seconds=_COLLECT_SECONDS)

    scheduler.scheduler_limits = eager

    def ready(address: str) -> None:
        print(f"listening at {address}", flush=True)

    serve(lambda stop: scheduler.run_scheduler(config, stop=stop, ready=ready), with_parent=False)


def main() -> None:
    """Run one of them until it is stopped."""
    room, path, *rest = sys.argv[1:]
    config = load_config(path=Path(path), environ=os.environ)
    try:
        if room == "scheduler":
            _scheduler(config)
        else:
            _agent(config, Path(rest[0]))
    except CorpGridError as error:
        print(f"{room}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
