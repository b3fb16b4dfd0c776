"""A migrated file is a fresh one, keeps its rows, and is never half migrated."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpgrid.domain.ids import JobId
from corpgrid.domain.job import JobState, TaskState
from corpgrid.errors import MigrationError
from corpgrid.stores.sqlite.database import Database
from corpgrid.stores.sqlite.schema import migrate, require_present, version
from corpgrid.stores.sqlite.store import SqliteStore
from corpgrid.stores.statements import Migration, migrations
from tests.contracts.store_rows import FakeClock, ended, key, named, need, settings, tick

RELEASED = sorted((Path(__file__).parent / "released").glob("*.sql"))
"""Dumps of files as each schema left them; ``dump_released.py`` wrote them."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "grid.db")
    yield database
    database.close()


JOB_BLOBS = 2
"""The schema since which small blobs stand in rows of their job."""
RUNS = 4
"""The schema since which a row holds a run of tasks."""


def schema(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name")
    return rows.fetchall()


def restore(dump: Path, path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(dump.read_text())
    connection.close()


def test_every_schema_was_released() -> None:
    assert [dump.stem for dump in RELEASED] == [f"{step.number:04}" for step in migrations("sqlite")]


@pytest.mark.parametrize("dump", RELEASED, ids=lambda dump: dump.stem)
def test_a_migrated_schema_is_a_fresh_one(dump: Path, database: Database, tmp_path: Path) -> None:
    migrate(database, now=1.0)
    restore(dump, tmp_path / "old.db")
    old = Database(tmp_path / "old.db")
    taken = migrate(old, now=1.0)
    assert [step.name for step in migrations("sqlite")[int(dump.stem) :]] == taken
    assert schema(old.connection) == schema(database.connection)
    assert old.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    old.close()


@pytest.mark.parametrize("dump", RELEASED, ids=lambda dump: dump.stem)
async def test_the_rows_of_a_released_file_are_read(dump: Path, tmp_path: Path) -> None:
    restore(dump, tmp_path / "grid.db")
    store = await SqliteStore.open(tmp_path / "grid.db", settings(FakeClock()))
    (job,) = await store.jobs()
    assert (job.id, job.state, job.tasks) == ("job_a", JobState.RUNNING, 6)
    states = [row.state for row in await store.tasks(job.id)]
    assert states == [TaskState.FINAL, TaskState.PROVISIONAL, TaskState.LEASED, *[TaskState.READY] * 3]
    assert [row.task.index for row in await ended(store, job.id)] == [0]
    assert [(row.batch, row.position) for row in await store.provisional(job.id)] == [(1, 1)]
    assert len(await store.devices()) == 2
    assert len((await store.device((await store.devices())[1].id)).facts.gpus) == 1
    assert len(await store.audit_log()) == 1
    assert len(await store.checkpoints(JobId("job_a"), 2)) == 1
    assert await store.attached(named("page")) == (b"page" if int(dump.stem) >= JOB_BLOBS else None)
    view = await tick(store, need(ready=9, devices=["dev_a"], jobs=["job_a"]))
    assert view.ready == tuple(key("job_a", index) for index in (3, 4, 5))
    assert len(view.leases) == 1
    assert len(view.standings) == 1
    await store.close()


@pytest.mark.parametrize("dump", RELEASED[: RUNS - 1], ids=lambda dump: dump.stem)
def test_single_tasks_that_are_alike_become_runs(dump: Path, tmp_path: Path) -> None:
    restore(dump, tmp_path / "grid.db")
    old = Database(tmp_path / "grid.db")
    migrate(old, now=1.0)
    assert old.connection.execute("SELECT tasks FROM job_shards ORDER BY last_task").fetchall() == [
        (1,),
        (1,),
        (1,),
        (3,),
    ]
    positions = old.connection.execute("SELECT positions FROM job_attempts ORDER BY last_attempt").fetchall()
    assert positions == [(b"",), ((1).to_bytes(4, "big"),), (b"",)]
    old.close()


def test_migrating_twice_does_nothing(database: Database) -> None:
    assert migrate(database, now=1.0)
    before = schema(database.connection)
    assert migrate(database, now=2.0) == []
    assert schema(database.connection) == before
    assert version(database) == len(migrations("sqlite"))


def test_a_newer_file_is_refused(database: Database) -> None:
    migrate(database, now=1.0)
    newer = len(migrations("sqlite")) + 1
    database.connection.execute(
        "INSERT INTO schema_version (number, name, applied_at) VALUES (?, 'from the future', 2.0)", (newer,)
    )
    for call in (lambda: migrate(database, now=3.0), lambda: require_present(database)):
        with pytest.raises(MigrationError, match=f"know schema {newer}") as caught:
            call()
        assert "newer" in caught.value.remedy


def test_an_older_file_is_refused_where_upgrades_are_off(database: Database) -> None:
    steps = [Migration(number, "step", f"CREATE TABLE t{number} (x);") for number in (1, 2)]
    migrate(database, now=1.0, steps=steps[:1])
    with pytest.raises(MigrationError, match="has schema 1 where this program needs 2") as caught:
        require_present(database, steps=steps)
    assert "migrate" in caught.value.remedy
    migrate(database, now=2.0, steps=steps)
    require_present(database, steps=steps)


async def test_a_new_file_needs_no_upgrade(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "grid.db", settings(FakeClock()), upgrade=False)
    assert await store.jobs() == []
    await store.close()


def test_a_step_that_fails_leaves_the_file_as_it_was(database: Database) -> None:
    steps = [
        Migration(1, "good", "CREATE TABLE one (x);\nINSERT INTO one VALUES (';');\n"),
        Migration(2, "bad", "CREATE TABLE two (x);\nINSERT INTO nowhere VALUES (1);\n"),
    ]
    with pytest.raises(MigrationError, match=r"2 \(bad\)"):
        migrate(database, now=1.0, steps=steps)
    assert version(database) == 1
    assert [row[0] for row in database.connection.execute("SELECT x FROM one")] == [";"]
    names = {name for _, name, _ in schema(database.connection)}
    assert names == {"one", "schema_version"}
    repaired = [steps[0], steps[1]._replace(script="-- nothing but a comment\nCREATE TABLE two (x);\n-- end\n")]
    assert migrate(database, now=2.0, steps=repaired) == ["bad"]
    assert version(database) == 2
