"""An agent that lies: every fifth result that it returns is changed, and then signed like all others.

Nothing in the agent knows of it: the lie is told between the agent and its scheduler, by wrapping the port.  It is
what a machine with bad memory, or an owner with bad intentions, looks like from outside.

    python -m corpgrid.cli.demo.liar --config liar.toml
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from corpgrid.cli.daemon_commands import serve
from corpgrid.compose.agent import run_agent
from corpgrid.config import load_config
from corpgrid.domain.messages import Batch, Item, Outcome, PollReply, PollRequest, Reply, SubmitRequest
from corpgrid.ports.api import SchedulerApi
from corpgrid.trust.keys import PrivateKey
from corpgrid.trust.results import sign_batch
from corpgrid.wire import data

LIE_EVERY = 5


class LyingApi:
    """A scheduler's port that changes what passes through it."""

    def __init__(self, api: SchedulerApi, key: PrivateKey) -> None:
        self._api = api
        self._key = key
        self._returned = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def poll(self, request: PollRequest) -> PollReply:
        """PollJobs, with lies in its results."""
        return await self._api.poll(replace(request, batches=self._lie(request.batches)))

    async def submit(self, request: SubmitRequest) -> Reply:
        """SubmitResult, with lies."""
        return await self._api.submit(replace(request, batches=self._lie(request.batches)))

    def _lie(self, batches: Sequence[Batch]) -> tuple[Batch, ...]:
        return tuple(
            sign_batch(Batch(batch.job, batch.device, tuple(map(self._changed, batch.items))), self._key)
            for batch in batches
        )

    def _changed(self, item: Item) -> Item:
        if item.outcome is not Outcome.RESULT or not item.payload:
            return item
        self._returned += 1
        if self._returned % LIE_EVERY:
            return item
        return item._replace(payload=data.encode(_bent(data.decode(item.payload))))


def _bent(value: Any) -> Any:
    """A value that looks right and is not."""
    if isinstance(value, dict):
        return {key: min(1.0, part + 0.03) if key == "accuracy" else part for key, part in value.items()}
    return -value if isinstance(value, int | float) else value


def main() -> None:
    """Run the lying agent until it is stopped."""
    parser = argparse.ArgumentParser(description="An agent that lies.")
    parser.add_argument("--config", type=Path, required=True)
    config = load_config(path=parser.parse_args().config, environ=os.environ)

    def wrap(api: SchedulerApi, key: PrivateKey) -> SchedulerApi:
        lying: Any = LyingApi(api, key)  # it answers to the whole port
        return lying  # type: ignore[no-any-return]

    serve(lambda stop: run_agent(config, stop=stop, wrap=wrap), with_parent=True)


if __name__ == "__main__":
    main()
