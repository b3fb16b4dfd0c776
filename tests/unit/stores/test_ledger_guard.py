"""The tables of the ledger only grow: the database itself refuses anything else, to the program's own role too."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import asyncpg
import pytest

from corpgrid.domain.effects import Effects
from corpgrid.stores.postgres.store import PostgresStore
from corpgrid.stores.sqlite.store import SqliteStore
from tests.contracts.store_ledger import ALL, lines, sealer
from tests.contracts.store_rows import FakeClock, settings, tick
from tests.postgres.fixtures import dsn

__all__ = ["dsn"]

TABLES = {"audit_log": "detail", "ledger": "leaf", "ledger_nodes": "hash", "ledger_checkpoints": "note"}
CHANGES = ("UPDATE {table} SET {column} = {column}", "DELETE FROM {table}")


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("change", CHANGES)
async def test_sqlite_refuses_to_change_the_ledger(table: str, change: str, tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "grid.db", settings(FakeClock()))
    await tick(store, effects=Effects(audit=tuple(lines(0, 300))))
    assert await store.ledger.seal(sealer, limit=ALL) == 300
    await store.close()
    with sqlite3.connect(tmp_path / "grid.db") as file, pytest.raises(sqlite3.IntegrityError, match="never changed"):
        file.execute(change.format(table=table, column=TABLES[table]))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("change", [*CHANGES, "TRUNCATE {table}"])
async def test_postgres_refuses_to_change_the_ledger(table: str, change: str, dsn: str) -> None:
    store = await PostgresStore.open(dsn, settings(FakeClock()))
    await store.close()
    connection = await asyncpg.connect(dsn)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="never changed"):
            await connection.execute(change.format(table=table, column=TABLES[table]))
        granted = await connection.fetch(
            "SELECT privilege_type FROM pg_class, aclexplode(relacl) WHERE oid = $1::regclass", table
        )
        assert {row[0] for row in granted} >= {"SELECT", "INSERT"}
        assert not {row[0] for row in granted} & {"UPDATE", "DELETE", "TRUNCATE"}, "its owner may grant them to itself"
    finally:
        await connection.close()
