"""Empty stores for tests, each in a schema of its own in one database; a test module imports what it uses."""

from __future__ import annotations

import functools
import itertools
from collections.abc import AsyncIterator

import pytest

from corpgrid.stores.postgres.store import PostgresStore
from tests.contracts.store_rows import FakeClock, settings
from tests.postgres.server import server

__all__ = ["clock", "dsn", "new_dsn", "open_store", "store"]

_SCHEMAS = itertools.count()


def new_dsn() -> str:
    """The URL of an empty schema, which stays until the server goes: to drop it would take longer than to make it."""
    schema = f"test_{next(_SCHEMAS)}"
    server().sql(f"CREATE SCHEMA {schema}", _database())
    return f"{server().dsn(_database())}&search_path={schema}"


async def open_store(dsn: str, clock: FakeClock, *, owners_seconds: float = 0.0) -> PostgresStore:
    return await PostgresStore.open(dsn, settings(clock, owners_seconds=owners_seconds), clock=clock)


@functools.cache
def _database() -> str:
    return server().create()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def dsn() -> str:
    return new_dsn()


@pytest.fixture
async def store(dsn: str, clock: FakeClock) -> AsyncIterator[PostgresStore]:
    store = await open_store(dsn, clock)
    yield store
    await store.close()
