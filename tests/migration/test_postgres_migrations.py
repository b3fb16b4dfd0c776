"""A migrated database is a fresh one, is never half migrated, and what cannot be used is refused with a way out."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import patch

import asyncpg
import pytest

from corpgrid.errors import ConfigError, MigrationError, StoreError
from corpgrid.stores.postgres import schema as postgres_schema
from corpgrid.stores.postgres.schema import migrate, require_present, version
from corpgrid.stores.postgres.store import PostgresStore
from corpgrid.stores.statements import Migration, migrations
from tests.contracts.store_rows import FakeClock, settings, tick
from tests.postgres.fixtures import clock, dsn, new_dsn, open_store
from tests.postgres.server import Server, server

__all__ = ["clock", "dsn"]

RELEASED = sorted((Path(__file__).parent / "released_postgres").glob("*.sql"))
"""Each schema as the migrations up to it made it, as text; ``dump_released_postgres.py`` wrote them."""
PLACE = "place"


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


async def schema(connection: asyncpg.Connection) -> list[str]:
    """Everything that the catalog says of the tables, sequences, indexes and constraints of a schema, by name."""
    found: list[str] = []
    name = await connection.fetchval("SELECT current_schema()")
    for query in (
        """SELECT table_name, column_name, data_type, collation_name, column_default, is_nullable, identity_generation
           FROM information_schema.columns WHERE table_schema = $1 ORDER BY 1, ordinal_position""",
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = $1 ORDER BY 1",
        """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
           WHERE connamespace = $1::regnamespace ORDER BY 1, 2""",
        """SELECT sequencename, start_value, min_value, increment_by, data_type::text FROM pg_sequences
           WHERE schemaname = $1 ORDER BY 1""",
        """SELECT relname, relkind::text, reloptions FROM pg_class WHERE relnamespace = $1::regnamespace
           AND relkind <> 't' ORDER BY 1""",
    ):
        found += [repr(tuple(row)).replace(f"{name}.", "") for row in await connection.fetch(query, name)]
    return found


def test_every_schema_was_released() -> None:
    assert [dump.stem for dump in RELEASED] == [f"{step.number:04}" for step in migrations("postgres")]


@pytest.mark.parametrize(("number", "released"), [(int(dump.stem), dump.read_text()) for dump in RELEASED])
async def test_a_migrated_schema_is_a_fresh_one(number: int, released: str, connection: asyncpg.Connection) -> None:
    other = await asyncpg.connect(new_dsn())
    await migrate(connection, PLACE)
    await other.execute(released)
    taken = await migrate(other, PLACE)
    assert taken == [step.name for step in migrations("postgres")[number:]]
    assert await schema(other) == await schema(connection)
    words = "SELECT * FROM words ORDER BY kind, number"
    assert await other.fetch(words) == await connection.fetch(words)
    await other.close()


async def test_migrating_twice_does_nothing(connection: asyncpg.Connection) -> None:
    assert await migrate(connection, PLACE)
    before = await schema(connection)
    assert await migrate(connection, PLACE) == []
    assert await schema(connection) == before
    assert await version(connection) == len(migrations("postgres"))


async def test_of_many_that_start_at_once_one_migrates() -> None:
    for url in (new_dsn(), new_dsn(), new_dsn()):
        stores = await asyncio.gather(*(PostgresStore.open(url, settings(FakeClock())) for _ in range(5)))
        assert len({store.grid for store in stores}) == 1
        await asyncio.gather(*(store.close() for store in stores))


async def test_a_newer_database_is_refused(dsn: str, clock: FakeClock, connection: asyncpg.Connection) -> None:
    await migrate(connection, PLACE)
    newer = len(migrations("postgres")) + 1
    await connection.execute(f"INSERT INTO schema_version VALUES ({newer}, 'from the future')")
    with pytest.raises(MigrationError, match=f"know schema {newer}") as caught:
        await open_store(dsn, clock)
    assert "newer" in caught.value.remedy


async def test_an_older_database_is_refused_where_upgrades_are_off(dsn: str, connection: asyncpg.Connection) -> None:
    steps = [Migration(number, "step", f"CREATE TABLE t{number} (x integer);") for number in (1, 2)]
    await migrate(connection, PLACE, steps=steps[:1])
    with pytest.raises(MigrationError, match="has schema 1 where this program needs 2") as caught:
        await require_present(connection, PLACE, steps=steps)
    assert "migrate" in caught.value.remedy
    assert await migrate(connection, PLACE, steps=steps) == ["step"]
    await require_present(connection, PLACE, steps=steps)


async def test_a_new_database_needs_no_upgrade(dsn: str) -> None:
    store = await PostgresStore.open(dsn, settings(FakeClock()), upgrade=False)
    assert await store.jobs() == []
    await store.close()


async def test_a_step_that_fails_leaves_the_database_as_it_was(connection: asyncpg.Connection) -> None:
    steps = [
        Migration(1, "good", "CREATE TABLE one (x text);\nINSERT INTO one VALUES (';');\n"),
        Migration(2, "bad", "CREATE TABLE two (x text);\nINSERT INTO nowhere VALUES (1);\n"),
    ]
    await migrate(connection, PLACE, steps=steps[:1])
    before = await schema(connection)
    with pytest.raises(MigrationError, match=r"2 \(bad\)"):
        await migrate(connection, PLACE, steps=steps)
    assert await schema(connection) == before
    assert await version(connection) == 1


async def test_another_programs_database_is_refused(dsn: str, clock: FakeClock, connection: asyncpg.Connection) -> None:
    await connection.execute("CREATE TABLE customers (x text)")
    with pytest.raises(MigrationError, match="not one of CorpGrid") as caught:
        await open_store(dsn, clock)
    assert "empty database" in caught.value.remedy
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()") == 1


async def test_another_grids_database_is_refused(dsn: str) -> None:
    store = await PostgresStore.open(dsn, settings(FakeClock()))
    await store.close()
    again = await PostgresStore.open(dsn, settings(FakeClock()), expected_grid=store.grid)
    await again.close()
    with pytest.raises(ConfigError, match=f"belongs to the grid {store.grid}") as caught:
        await PostgresStore.open(dsn, settings(FakeClock()), expected_grid="another")
    assert "this grid" in caught.value.remedy


async def test_a_new_database_is_not_made_where_another_was_known(dsn: str, connection: asyncpg.Connection) -> None:
    with pytest.raises(ConfigError, match="is empty"):
        await PostgresStore.open(dsn, settings(FakeClock()), expected_grid="known")
    assert await version(connection) == 0


async def test_an_old_server_is_refused(dsn: str, clock: FakeClock) -> None:
    with patch.object(postgres_schema, "OLDEST_SERVER", 99), pytest.raises(StoreError, match="needs 99 or newer"):
        await open_store(dsn, clock)


async def test_a_replica_is_refused(clock: FakeClock) -> None:
    replica = Server(Path(tempfile.mkdtemp(prefix="corpgrid-replica-")), replica=True)
    try:
        with pytest.raises(StoreError, match="replica") as caught:
            await open_store(replica.dsn(), clock)
        assert "primary" in caught.value.remedy
    finally:
        replica.remove()


@pytest.mark.parametrize(
    ("url", "kind", "story", "remedy"),
    [
        ("mysql://root@host/grid", ConfigError, "not the URL of a PostgreSQL", "postgresql://"),
        ("postgresql://user@host:port/grid", ConfigError, "cannot be used", "postgresql://"),
        ("postgresql://user@127.0.0.1:1,127.0.0.1:2/grid", StoreError, "nobody listens", "Start the server"),
        ("postgresql://user@host", ConfigError, "not the URL of a PostgreSQL", "database"),
        ("postgresql://user:secret@127.0.0.1:1/grid", StoreError, "nobody listens", "Start the server"),
        ("postgresql://user@127.0.0.1:1/grid?sslmode=odd", ConfigError, "cannot be used", "sslmode"),
        ("postgresql://postgres@/nowhere?host={data}", StoreError, "not there", "CREATE DATABASE"),
        ("postgresql://nobody@/postgres?host={data}", StoreError, "does not let this user in", "pg_hba.conf"),
    ],
)
async def test_a_wrong_url_says_what_is_wrong(
    url: str, kind: type[Exception], story: str, remedy: str, clock: FakeClock
) -> None:
    with pytest.raises(kind, match=re.escape(story)) as caught:
        await open_store(url.format(data=server().data), clock)
    assert remedy in caught.value.remedy
    assert "secret" not in str(caught.value)


async def test_a_user_who_may_not_make_tables_is_told(dsn: str, clock: FakeClock) -> None:
    name = dsn.rpartition("=")[2]
    server().sql(f"CREATE ROLE reader_{name} LOGIN; GRANT USAGE ON SCHEMA {name} TO reader_{name}", database_of(dsn))
    with pytest.raises(StoreError, match="refuses its user") as caught:
        await open_store(dsn.replace("postgres@", f"reader_{name}@"), clock)
    assert "OWNER" in caught.value.remedy


async def test_a_store_that_was_opened_works(dsn: str, clock: FakeClock) -> None:
    store = await open_store(dsn, clock)
    assert (await tick(store)).next_epoch == 1
    await store.close()
    again = await open_store(dsn, clock)
    assert (await tick(again)).next_epoch > 1, "a new opening takes a new block"
    await again.close()


def database_of(dsn: str) -> str:
    return dsn.partition("@/")[2].partition("?")[0]
