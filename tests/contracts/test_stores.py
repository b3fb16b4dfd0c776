"""Every store of the house keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corpgrid.ports.store import Store
from corpgrid.stores.memory import MemoryStore
from corpgrid.stores.sqlite.store import SqliteStore
from tests.contracts.store import StoreContract
from tests.contracts.store_rows import FakeClock, settings


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class TestMemory(StoreContract):
    """The simulator's store."""

    @pytest.fixture
    def store(self, clock: FakeClock) -> Store:
        return MemoryStore(settings(clock))


class TestSqlite(StoreContract):
    """The embedded store."""

    @pytest.fixture
    async def store(self, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Store]:
        store = await SqliteStore.open(tmp_path / "grid.db", settings(clock))
        yield store
        await store.close()
