"""The secret of the audit coin: one for a grid, whoever of its schedulers asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from corpgrid.compose.audit_key import KEY_BYTES, audit_key_of
from corpgrid.errors import ConfigError
from corpgrid.stores.memory import MemoryStore
from corpgrid.stores.postgres.store import PostgresStore
from tests.contracts.store_rows import FakeClock, settings
from tests.postgres.fixtures import clock, dsn, open_store

__all__ = ["clock", "dsn"]


@pytest.fixture
async def two(dsn: str, clock: FakeClock) -> AsyncIterator[list[PostgresStore]]:
    stores = [await open_store(dsn, clock) for _ in range(2)]
    yield stores
    for store in stores:
        await store.close()


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    found = [tmp_path / name for name in ("first", "second")]
    for folder in found:
        folder.mkdir()
    return found


def keep(folder: Path, key: bytes) -> None:
    (folder / "audit.key").write_bytes(key)


def files(*folders: Path) -> list[tuple[str, bytes, int]]:
    found = [path for folder in folders for path in folder.iterdir()]
    return [(path.name, path.read_bytes(), path.stat().st_mode & 0o777) for path in found]


async def test_an_embedded_stores_secret_is_made_once_in_the_folder_and_is_private(tmp_path: Path) -> None:
    store = MemoryStore(settings(FakeClock()))
    key = await audit_key_of(store, tmp_path)
    assert len(key) == KEY_BYTES
    assert await audit_key_of(store, tmp_path) == key
    assert files(tmp_path) == [("audit.key", key, 0o600)]


async def test_schedulers_that_share_a_store_share_the_secret(two: list[PostgresStore], folders: list[Path]) -> None:
    first, second = await asyncio.gather(*map(audit_key_of, two, folders))
    assert first == second
    assert len(first) == KEY_BYTES
    assert not files(*folders), "it stands in the database alone"


async def test_a_grid_keeps_the_secret_of_its_folder_when_it_comes_to_a_shared_store(
    two: list[PostgresStore], folders: list[Path]
) -> None:
    for folder, key in zip(folders, (b"a" * KEY_BYTES, b"b" * KEY_BYTES), strict=True):
        keep(folder, key)
    assert [await audit_key_of(*pair) for pair in zip(two, folders, strict=True)] == [b"a" * KEY_BYTES] * 2


@pytest.mark.parametrize("shared", [False, True])
async def test_a_damaged_secret_is_not_used(two: list[PostgresStore], folders: list[Path], *, shared: bool) -> None:
    keep(folders[0], b"short")
    store = two[0] if shared else MemoryStore(settings(FakeClock()))
    with pytest.raises(ConfigError, match=r"audit\.key is damaged"):
        await audit_key_of(store, folders[0])


async def test_a_damaged_secret_in_the_store_is_not_used(
    two: list[PostgresStore], folders: list[Path], dsn: str
) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("INSERT INTO secrets VALUES ('audit', 'short')")
    await connection.close()
    with pytest.raises(ConfigError, match=r"table secrets in .* is damaged"):
        await audit_key_of(two[0], folders[0])
