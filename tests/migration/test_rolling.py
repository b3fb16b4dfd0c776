"""Two programs on one store: the older works on what the newer has migrated, if the step says so, and is told if not.

A step that says so only adds, rewrites no table and keeps nobody waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from corpgrid.domain.effects import Effects
from corpgrid.errors import MigrationError, StaleError, StoreError
from corpgrid.stores.postgres import schema as postgres_schema
from corpgrid.stores.postgres.schema import migrate, require_present, version
from corpgrid.stores.sqlite import schema as sqlite_schema
from corpgrid.stores.sqlite.database import Database
from corpgrid.stores.sqlite.store import SqliteStore
from corpgrid.stores.statements import Migration, migrations
from tests.contracts.store_rows import FakeClock, new_job, settings, tick
from tests.contracts.test_postgres_ahead import READ_WHOLE
from tests.postgres.fixtures import clock, dsn, open_store

__all__ = ["clock", "dsn"]

PLACE = "place"
KNOWN = len(migrations("postgres"))
ADDS = "ALTER TABLE jobs ADD COLUMN color text NOT NULL DEFAULT 'red';\nCREATE TABLE colors (name text);\n"


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


def next_step(script: str, *, oldest: int | None = None, dialect: str = "postgres") -> list[Migration]:
    """The schema of a program that is newer by one step."""
    steps = migrations(dialect)
    said = f"-- oldest program: {oldest}\n" if oldest is not None else ""
    return [*steps, Migration(len(steps) + 1, "next", said + script)]


# -- PostgreSQL


async def test_an_older_program_works_on_a_schema_that_says_so(
    dsn: str, clock: FakeClock, connection: asyncpg.Connection
) -> None:
    running = await open_store(dsn, clock)
    assert await migrate(connection, PLACE, steps=next_step(ADDS, oldest=KNOWN)) == ["next"]
    started = await open_store(dsn, clock)
    assert await migrate(connection, PLACE) == []
    for number, store in enumerate((running, started)):
        with suppress(StaleError):  # the other ticked in between
            await tick(store)
        await tick(store, effects=Effects(new_jobs=(new_job(f"job_{number}", 3),)))
        assert await store.lead() is (number == 0)
    assert {job.id for job in await running.jobs()} == {"job_0", "job_1"}
    assert await version(connection) == KNOWN + 1
    await running.close()
    await started.close()


@pytest.mark.parametrize("oldest", [None, KNOWN + 1])
async def test_an_older_program_is_refused_where_it_would_do_harm(
    oldest: int | None, dsn: str, clock: FakeClock, connection: asyncpg.Connection
) -> None:
    await migrate(connection, PLACE, steps=next_step(ADDS, oldest=oldest))
    for refused in (migrate(connection, PLACE), require_present(connection, PLACE), open_store(dsn, clock)):
        with pytest.raises(MigrationError, match=f"know schema {KNOWN + 1}, and this one knows {KNOWN}") as caught:
            await refused
        assert "newer CorpGrid" in caught.value.remedy


async def test_what_one_step_forbids_the_next_does_not_allow(connection: asyncpg.Connection) -> None:
    steps = next_step("DROP TABLE metrics_snapshot;\n")
    steps.append(Migration(KNOWN + 2, "more", "-- oldest program: 1\nCREATE TABLE more (x text);\n"))
    await migrate(connection, PLACE, steps=steps)
    with pytest.raises(MigrationError, match=f"know schema {KNOWN + 1}"):
        await require_present(connection, PLACE)


async def test_a_step_that_finds_a_table_taken_lets_everybody_else_go_on(
    dsn: str, clock: FakeClock, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_schema, "_AGAIN_SECONDS", 0.05)
    store = await open_store(dsn, clock)
    backup = await asyncpg.connect(dsn)
    reading = backup.transaction()
    await reading.start()
    await backup.execute("SELECT FROM jobs")
    migrating = asyncio.create_task(migrate(connection, PLACE, steps=next_step(ADDS, oldest=KNOWN)))
    for number in range(3):
        async with asyncio.timeout(4.0):
            await tick(store, effects=Effects(new_jobs=(new_job(f"job_{number}", 3),)))
        await asyncio.sleep(0.3)
    assert not migrating.done()
    await reading.rollback()
    assert await asyncio.wait_for(migrating, 10.0) == ["next"]
    await tick(store, effects=Effects(new_jobs=(new_job("job_after", 3),)))
    await backup.close()
    await store.close()


async def test_a_table_that_is_never_free_ends_the_migration_with_a_word(
    dsn: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_schema, "_TRIES", 2)
    monkeypatch.setattr(postgres_schema, "_AGAIN_SECONDS", 0.01)
    await migrate(connection, PLACE)
    backup = await asyncpg.connect(dsn)
    async with backup.transaction():
        await backup.execute("SELECT FROM jobs")
        with pytest.raises(StoreError, match="cannot be changed") as caught:
            await migrate(connection, PLACE, steps=next_step(ADDS, oldest=KNOWN))
    assert "backup" in caught.value.remedy
    assert await version(connection) == KNOWN
    await backup.close()


# -- what a step may do that says that older programs go on


class Catalog(NamedTuple):
    """What there is: of each table its file, of each column what it takes, of each rule for rows its text."""

    files: dict[str, int]
    columns: dict[tuple[str, str], tuple[str, bool, bool]]
    rules: dict[tuple[str, str], str]


async def catalog(connection: asyncpg.Connection) -> Catalog:
    files = await connection.fetch(
        "SELECT relname, relfilenode::bigint FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
        " AND relkind IN ('r', 'S')"
    )
    columns = await connection.fetch(
        "SELECT table_name, column_name, data_type, is_nullable = 'YES',"
        " column_default IS NOT NULL OR is_identity = 'YES'"
        " FROM information_schema.columns WHERE table_schema = current_schema()"
    )
    rules = await connection.fetch(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = current_schema()::regnamespace AND contype <> 'n'"
        " UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes"
        " WHERE schemaname = current_schema() AND indexdef LIKE 'CREATE UNIQUE %'"
    )
    return Catalog(
        dict(map(tuple, files)),
        {(row[0], row[1]): (row[2], row[3], row[4]) for row in columns},
        {(row[0], row[1]): row[2] for row in rules},
    )


def faults(before: Catalog, after: Catalog) -> list[str]:
    """Why an older program might not go on."""
    found = [f"{name} is gone or was rewritten" for name, file in before.files.items() if after.files.get(name) != file]
    found += [f"{name} changed" for name, column in before.columns.items() if after.columns.get(name) != column]
    found += [f"{name} changed" for name, rule in before.rules.items() if after.rules.get(name) != rule]
    old = before.files.keys()
    for name, (_, nullable, default) in after.columns.items():
        if name in before.columns or name[0] not in old:
            continue
        if not (nullable or default):
            found.append(f"{name} must be given")
        if name[0] in READ_WHOLE:
            found.append(f"{name} is read by who does not know it")
    found += [f"{name} is a new rule" for name in after.rules.keys() - before.rules.keys() if name[0] in old]
    return found


async def faults_of(connection: asyncpg.Connection, steps: list[Migration]) -> list[str]:
    """Of the last step."""
    await migrate(connection, PLACE, steps=steps[:-1])
    before = await catalog(connection)
    await migrate(connection, PLACE, steps=steps)
    found = faults(before, await catalog(connection))
    return [fault for fault in found if "schema_version" not in fault]


@pytest.mark.parametrize("step", migrations("postgres")[1:], ids=lambda step: step.name)
async def test_a_step_beside_which_older_programs_go_on_only_adds(
    step: Migration, connection: asyncpg.Connection
) -> None:
    found = await faults_of(connection, migrations("postgres")[: step.number])
    assert not found or step.oldest_program == step.number, found


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (ADDS, ""),
        ("ALTER TABLE jobs ADD COLUMN color text;", ""),
        ("CREATE INDEX jobs_name ON jobs (name);", ""),
        ("ALTER TABLE jobs ADD COLUMN color text NOT NULL;", "must be given"),
        ("ALTER TABLE jobs DROP COLUMN reason;", "changed"),
        ("ALTER TABLE jobs RENAME COLUMN reason TO why;", "changed"),
        ("ALTER TABLE jobs ALTER COLUMN priority TYPE bigint;", "was rewritten"),
        ("ALTER TABLE jobs ADD COLUMN color uuid NOT NULL DEFAULT gen_random_uuid();", "was rewritten"),
        ("ALTER TABLE devices ALTER COLUMN battery_percent SET NOT NULL;", "changed"),
        ("ALTER TABLE jobs ADD CHECK (tasks > 0);", "new rule"),
        ("CREATE UNIQUE INDEX jobs_name ON jobs (name);", "new rule"),
        ("ALTER TABLE leases ADD COLUMN color text;", "does not know it"),
        ("DROP TABLE metrics_snapshot;", "is gone"),
        ("DROP SEQUENCE number_blocks;", "is gone"),
    ],
)
async def test_what_is_no_addition_is_found(script: str, fault: str, connection: asyncpg.Connection) -> None:
    found = await faults_of(connection, next_step(script))
    assert any(fault in line for line in found) if fault else not found


# -- SQLite


def migrated(path: Path, steps: list[Migration]) -> None:
    database = Database(path)
    sqlite_schema.migrate(database, now=1.0, steps=steps)
    database.close()


async def test_an_older_program_works_on_a_file_that_says_so(tmp_path: Path) -> None:
    known = len(migrations("sqlite"))
    migrated(tmp_path / "grid.db", next_step("CREATE TABLE colors (name TEXT);\n", oldest=known, dialect="sqlite"))
    store = await SqliteStore.open(tmp_path / "grid.db", settings(FakeClock()))
    await tick(store, effects=Effects(new_jobs=(new_job("job_a", 3),)))
    await store.close()
    database = Database(tmp_path / "grid.db")
    said = database.connection.execute("SELECT max(number), max(oldest_program) FROM schema_version")
    assert said.fetchone() == (known + 1, known)
    database.close()


async def test_an_older_program_is_refused_a_file_that_does_not(tmp_path: Path) -> None:
    known = len(migrations("sqlite"))
    migrated(tmp_path / "grid.db", next_step("CREATE TABLE colors (name TEXT);\n", dialect="sqlite"))
    with pytest.raises(MigrationError, match=f"know schema {known + 1}, and this one knows {known}") as caught:
        await SqliteStore.open(tmp_path / "grid.db", settings(FakeClock()))
    assert "newer CorpGrid" in caught.value.remedy
