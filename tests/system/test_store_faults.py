"""A database that cannot be used, or is not ours, or has another clock: why, and what to do, is said at the start.

Exit status and text are those that a user meets; ``corpgrid doctor`` says the same.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from corpgrid.compose.store_check import check_store
from corpgrid.config import SchedulerConfig, load_config
from corpgrid.domain.job import JobState
from corpgrid.errors import ConfigError, CorpGridError
from corpgrid.stores.postgres.schema import migrate
from corpgrid.stores.postgres.store import PostgresStore
from corpgrid.stores.statements import migrations
from tests.contracts.store_rows import FakeClock, settings
from tests.postgres.fixtures import new_dsn
from tests.postgres.server import Server, server
from tests.system.company import PATIENCE_SECONDS, SCHEDULER, Company, open_folder, wait_until
from tests.system.jobs import slow_square

pytestmark = [pytest.mark.system, pytest.mark.linux, pytest.mark.timeout(240)]


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


# -- at the start


class Wrong(NamedTuple):
    """A setting with which no scheduler starts, and what is said of it."""

    store: str
    status: int
    told: str
    remedy: str


HERE = "host={data}"
WRONG = {
    "host": Wrong(
        "postgresql://u:sesame@nowhere.invalid/grid", 1, "host of the database server is not known", "Correct the host"
    ),
    "nobody listens": Wrong("postgresql://u:sesame@127.0.0.1:1/grid", 1, "nobody listens", "correct host and port"),
    "socket": Wrong("postgresql:///grid?host=/nowhere", 1, "is not there", "the folder of its socket"),
    "port": Wrong("postgresql://u:sesame@127.0.0.1:99999/grid", 2, "port must be 0-65535", "user@host:5432/database"),
    "no number": Wrong("postgresql://u:sesame@127.0.0.1:port/grid", 2, "'port'", "user@host:5432/database"),
    "no URL": Wrong("my_database", 2, "is not the URL of a PostgreSQL database", "postgresql://user@host"),
    "slash in the password": Wrong("postgresql://u:ses/ame@127.0.0.1/grid", 2, "is not the URL", "is %2F"),
    "no database": Wrong(f"postgresql://postgres@/nowhere?{HERE}", 1, '"nowhere" does not exist', "CREATE DATABASE"),
    "no user": Wrong(f"postgresql://stranger@/postgres?{HERE}", 1, "does not let this user in", "pg_hba.conf"),
    "password": Wrong(f"postgresql://ann:sesame@/postgres?{HERE}", 1, "refuses the user's password", "PGPASSFILE"),
    "option": Wrong(f"postgresql://postgres@/postgres?{HERE}&sslmod=require", 2, '"sslmod"', "after the ?"),
    "value": Wrong(f"postgresql://postgres@/postgres?{HERE}&sslmode=odd", 2, "`sslmode` parameter must be", "sslmode="),
    "setting": Wrong(f"postgresql://postgres@/postgres?{HERE}&work_mem=odd", 2, '"work_mem"', "after the ?"),
    "no encryption": Wrong(
        "postgresql://u@127.0.0.1:{port}/grid?sslmode=require", 1, "SSL", "if sslmode asks for that"
    ),
    "schema": Wrong(f"postgresql://postgres@/postgres?{HERE}&search_path=nowhere", 1, "no schema", "CREATE SCHEMA"),
    "read only": Wrong(f"postgresql://postgres@/reading?{HERE}", 1, "takes no writes", "Turn it off"),
    "replica": Wrong("postgresql://postgres@/postgres?host={replica}", 1, "is a replica", "target_session_attrs"),
    "another program's": Wrong(f"postgresql://postgres@/shop?{HERE}", 1, "not one of CorpGrid", "an empty database"),
    "newer": Wrong(f"postgresql://postgres@/newer?{HERE}", 1, "this one knows", "Run the newer CorpGrid"),
    "driver's target": Wrong(
        f"postgresql://postgres@/postgres?{HERE}&target_session_attrs=standby", 1, "target_session_attrs", "primary"
    ),
}


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, object]]:
    """Servers and databases that cannot be used; what URLs are filled with."""
    faulty = Server(Path(tempfile.mkdtemp(prefix="corpgrid-faulty-")))
    replica = Server(Path(tempfile.mkdtemp(prefix="corpgrid-replica-")), replica=True)
    try:
        faulty.sql("CREATE ROLE ann LOGIN PASSWORD 'open'")
        for name in ("reading", "shop", "newer"):
            faulty.sql(f"CREATE DATABASE {name}")
        faulty.sql("ALTER DATABASE reading SET default_transaction_read_only = on")
        faulty.sql("CREATE TABLE customers (name text)", "shop")
        asyncio.run(made_newer(faulty.dsn("newer")))
        (faulty.data / "pg_hba.conf").write_text("local all ann scram-sha-256\nlocal all all trust\n")
        faulty.sql("SELECT pg_reload_conf()")
        with plain_server() as port:
            yield {"data": faulty.data, "replica": replica.data, "port": port}
    finally:
        faulty.remove()
        replica.remove()


async def made_newer(dsn: str) -> None:
    await (await PostgresStore.open(dsn, settings(FakeClock()))).close()
    connection = await asyncpg.connect(dsn)
    newer = len(migrations("postgres")) + 1
    await connection.execute(
        "INSERT INTO schema_version (number, name, oldest_program) VALUES ($1, 'future', $1)", newer
    )
    await connection.close()


@contextmanager
def plain_server() -> Iterator[int]:
    """Something at a port that speaks no TLS, and says so as PostgreSQL does."""
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(8)
                    connection.sendall(b"N")

        threading.Thread(target=refuse, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("name", WRONG)
def test_a_store_that_cannot_be_used_is_told_at_the_start(folder: Path, places: dict[str, object], name: str) -> None:
    """By the scheduler, and by ``corpgrid doctor``."""
    wrong = WRONG[name]
    store = wrong.store.format(**places)
    ran = corpgrid(folder, store, "scheduler", "run")
    with pytest.raises(CorpGridError) as looked:
        asyncio.run(check_store(load_config(path=folder / "config.toml", environ={}).scheduler))
    for told in (ran.stderr + ran.stdout, looked.value.explain()):
        said = " ".join(told.split())
        assert wrong.told in said
        assert wrong.remedy in said
        assert not re.search("sesame|ame@|Traceback", said)
    assert (ran.returncode, looked.value.exit_code) == (wrong.status, wrong.status)


def corpgrid(folder: Path, store: str, *words: str, **more: object) -> subprocess.CompletedProcess[str]:
    """A command line that has this store configured."""
    given = {"store": store, "folder": f"{folder}/scheduler", "listen": f"unix:{folder}/run/s.sock", **more}
    lines = ["[scheduler]", *(f"{name} = {json.dumps(value)}" for name, value in given.items())]
    (folder / "config.toml").write_text("\n".join(lines))
    return subprocess.run(
        [sys.executable, "-m", "corpgrid", *words, "--config", str(folder / "config.toml")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


async def test_what_only_has_to_be_made_or_migrated_is_no_fault(tmp_path: Path) -> None:
    """``corpgrid doctor`` says so, and what to do."""
    dsn = new_dsn()
    connection = await asyncpg.connect(dsn)
    try:
        for steps, detail, remedy in (
            (0, "is empty", "`corpgrid scheduler run`"),
            (1, "older schema", "`corpgrid scheduler migrate`"),
            (len(migrations("postgres")), "grid ", ""),
        ):
            if steps:
                await migrate(connection, "place", steps=migrations("postgres")[:steps])
            found = await check_store(SchedulerConfig(folder=tmp_path, store=dsn))
            assert detail in found.detail
            assert found.remedy.startswith(remedy)
            assert bool(found.remedy) is bool(remedy)
    finally:
        await connection.close()


# -- whose database it is


def test_two_grids_do_not_share_a_database(folder: Path) -> None:
    """Each scheduler says which grid it serves, or its folder remembers: nothing of the other grid is touched."""
    for name in ("one", "two", "three"):
        (folder / name).mkdir()
    database, other = new_dsn(), new_dsn()
    assert migrated(folder / "one", database, grid="render").returncode == 0
    for name, store, more, told, remedy in (
        (
            "two",
            database,
            {"grid": "lab"},
            "belongs to the grid render, and this scheduler to the grid lab",
            "CREATE SCHEMA",
        ),
        ("one", other, {}, "is empty, and this scheduler belongs to the grid render", "scheduler.store"),
        (
            "one",
            database,
            {"grid": "lab"},
            "belongs to the grid render, and scheduler.grid names the grid lab",
            "of its own",
        ),
        ("three", database, {"grid": "no name!"}, "scheduler.grid is 'no name!'", "letters"),
    ):
        done = migrated(folder / name, store, **more)
        assert done.returncode == ConfigError.exit_code
        assert told in done.stderr
        assert remedy in done.stderr
    assert migrated(folder / "two", other, grid="lab").returncode == 0, "a schema of its own"
    assert migrated(folder / "three", database).returncode == 0, "another scheduler of the grid render"
    assert (folder / "three" / "scheduler" / "grid.id").read_text() == "render\n"


def migrated(folder: Path, store: str, **more: object) -> subprocess.CompletedProcess[str]:
    return corpgrid(folder, store, "scheduler", "migrate", **more)


async def test_of_two_grids_that_come_to_an_empty_database_at_once_one_has_it() -> None:
    for _ in range(5):
        dsn = new_dsn()
        opening = [PostgresStore.open(dsn, settings(FakeClock()), new_grid=name) for name in ("one", "two", "one")]
        opened = await asyncio.gather(*opening, return_exceptions=True)
        stores = [store for store in opened if isinstance(store, PostgresStore)]
        refused = [error for error in opened if not isinstance(error, PostgresStore)]
        assert len({store.grid for store in stores}) == 1
        assert [type(error) for error in refused] == [ConfigError] * len(refused)
        assert len(stores) == (2 if stores[0].grid == "one" else 1)
        for store in stores:
            await store.close()


# -- clocks


@pytest.mark.sandbox
@pytest.mark.parametrize("seconds", [300, -300])
def test_clocks_that_differ_are_told_and_do_no_harm(folder: Path, seconds: int) -> None:
    """The database's clock is behind or ahead; leases are its own, and so are those after a restart."""
    dsn = with_clock_off_by(seconds)
    side = "behind" if seconds > 0 else "ahead of"
    computers = {"one": {}, "two": {}}
    with Company(folder, computers=computers, scheduler={"store": dsn}) as company:
        with company.connect(timeout_seconds=60.0) as grid:
            job = grid.map(slow_square, range(60), verify="none")
            wait_until(lambda: job.status().counts.final > 5, "it is under way")
            company.kill(SCHEDULER)
            company.start(SCHEDULER)
            wait_until(lambda: job.status().counts.final > 20, "it goes on")
            assert 0 < asyncio.run(longest_lease(dsn)) < 30, "the restart is forgiven, not the difference"
            assert job.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.DONE
            assert job.results() == [n * n for n in range(60)]
            assert job.status().executions < 70
            assert "heard" not in grid.why_device(company.device("one")).summary, "it is there, by the same clock"
        looked = corpgrid(folder, dsn, "doctor")
        log = company.log(SCHEDULER)
    told = rf"this machine's clock is (29\d|300)\.\d s {side} the database's"
    assert re.search(told, log)
    assert f"skew_seconds={'+' if seconds > 0 else '-'}" in log
    assert "by NTP" in log
    assert len(re.findall(told, log)) == 2, "at each start, and not again"
    assert re.search(told, looked.stdout)
    assert looked.returncode == 0, "schedulers can start"


def with_clock_off_by(seconds: int) -> str:
    """A database whose clock differs from this machine's by so much."""
    dsn = new_dsn()
    schema = dsn.rpartition("=")[2]
    body = f"SELECT pg_catalog.clock_timestamp() + interval '{seconds} s'"
    database = dsn.partition("@/")[2].partition("?")[0]
    server().sql(f"CREATE FUNCTION {schema}.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $${body}$$", database)
    return f"{dsn},pg_catalog"


async def longest_lease(dsn: str) -> float:
    connection = await asyncpg.connect(dsn)
    try:
        now = "extract(epoch FROM clock_timestamp())"
        return float(await connection.fetchval(f"SELECT coalesce(max(until), {now}) - {now} FROM leases"))
    finally:
        await connection.close()
