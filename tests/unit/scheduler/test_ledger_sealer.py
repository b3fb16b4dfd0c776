"""The sealer of the ledger: what it signs, and what it refuses to go on with."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corpgrid.domain.effects import Effects
from corpgrid.errors import DigestError
from corpgrid.scheduler.sealer import Sealer
from corpgrid.stores.sqlite.store import SqliteStore
from corpgrid.trust.checkpoint import open_checkpoint
from tests.contracts.store_ledger import KEY, KEYS, ORIGIN, lines
from tests.contracts.store_rows import FakeClock, settings, tick


class Remembered:
    """A memory that a test can look into."""

    def __init__(self, note: bytes = b"") -> None:
        self.note = note

    def read(self) -> bytes:
        return self.note

    def write(self, note: bytes) -> None:
        self.note = note


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "grid.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path, settings(FakeClock()))
    yield store
    await store.close()


async def add(store: SqliteStore, start: int, end: int) -> None:
    await tick(store, effects=Effects(audit=tuple(lines(start, end))))


async def test_the_ledger_is_sealed_by_pages_and_remembered(store: SqliteStore) -> None:
    memory = Remembered()
    sealer = Sealer(ORIGIN, KEY, memory)
    await add(store, 0, 12_000)
    assert await sealer.seal(store.ledger) == 12_000
    assert open_checkpoint(memory.note, ORIGIN, KEYS).size == 12_000
    assert await sealer.seal(store.ledger) == 0
    assert memory.note == await store.ledger.newest()


async def test_another_scheduler_goes_on_with_the_ledger(store: SqliteStore) -> None:
    one, other = Sealer(ORIGIN, KEY, Remembered()), Sealer(ORIGIN, KEY, Remembered())
    for number, sealer in enumerate([one, other, one]):
        await add(store, number * 10, number * 10 + 10)
        assert await sealer.seal(store.ledger) == 10
    assert [line.entry for line in await store.ledger.lines()] == lines(0, 30)


async def test_an_old_copy_of_the_ledger_is_not_gone_on_with(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    memory = Remembered()
    await add(store, 0, 300)
    await Sealer(ORIGIN, KEY, memory).seal(store.ledger)
    with sqlite3.connect(path) as now, sqlite3.connect(tmp_path / "old.db") as old:
        now.backup(old)
    await add(store, 300, 310)
    await Sealer(ORIGIN, KEY, memory).seal(store.ledger)

    older = await SqliteStore.open(tmp_path / "old.db", settings(FakeClock()))
    await add(older, 500, 600)
    with pytest.raises(DigestError, match="does not begin with the 310 entries"):
        await Sealer(ORIGIN, KEY, memory).seal(older.ledger)
    assert await Sealer(ORIGIN, KEY, Remembered()).seal(older.ledger) == 100
    with pytest.raises(DigestError, match="does not begin with the 310 entries"):
        await Sealer(ORIGIN, KEY, memory).seal(older.ledger)
    await older.close()
