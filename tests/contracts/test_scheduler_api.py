from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest_asyncio

from corpgrid.transport.address import parse
from corpgrid.transport.dispatch import Dispatch
from corpgrid.transport.grpc_client import connect_grid, connect_scheduler
from corpgrid.transport.grpc_server import serving
from corpgrid.transport.limits import TransportLimits
from corpgrid.transport.loopback import loopback_grid, loopback_scheduler
from tests.contracts.scheduler_api import Link, RemoteContract, SchedulerApiContract
from tests.unit.scheduler.world import World

LIMITS = TransportLimits(call_seconds=5.0, grace_seconds=0.5)
PLAIN = replace(LIMITS, stream_calls=0)


def dispatch(world: World) -> Dispatch:
    return Dispatch(world.scheduler.agents, world.scheduler.grid, world.blobs, LIMITS)


class TestDirect(SchedulerApiContract):
    @pytest_asyncio.fixture
    async def link(self) -> AsyncIterator[Link]:
        async with World().running() as world:
            yield Link(world, world.scheduler.agents, world.scheduler.grid)


class TestLoopback(RemoteContract):
    @pytest_asyncio.fixture
    async def link(self) -> AsyncIterator[Link]:
        async with World().running() as world:
            made = dispatch(world)
            yield Link(world, loopback_scheduler(made), loopback_grid(made))


class _Grpc(RemoteContract):
    client = server = LIMITS

    def address(self, folder: Path) -> str:
        raise AssertionError

    @pytest_asyncio.fixture
    async def link(self, tmp_path_factory) -> AsyncIterator[Link]:
        address = parse(self.address(tmp_path_factory.mktemp("socket")))
        async with World().running() as world, serving(dispatch(world), address, self.server) as server:
            agents = connect_scheduler([server.address], limits=self.client, rng=random.Random(1))
            grid = connect_grid([server.address], limits=self.client, rng=random.Random(2))
            yield Link(world, agents, grid)
            await agents.close()
            await grid.close()


class TestUnixSocket(_Grpc):
    def address(self, folder: Path) -> str:
        return f"unix:{folder}/private/grid.sock"


class TestPort(_Grpc):
    def address(self, folder: Path) -> str:
        return "127.0.0.1:0"


class TestPlainCalls(TestUnixSocket):
    """Every call by itself, as the specification has it."""

    client = PLAIN


class TestOlderServer(TestUnixSocket):
    """A server that has no streams of calls."""

    server = PLAIN
