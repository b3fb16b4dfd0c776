"""A running scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.unit.scheduler.world import World


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with World().running() as running:
        yield running
