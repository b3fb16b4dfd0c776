"""The database is full, or gone, while a grid works on it: who asks hears why, nothing is lost, and it goes on.

| fault | what becomes of it |
| --- | --- |
| the disk with its tables is full | what needs room is refused with the reason; when there is room, all goes on |
| the disk with its log is full | the server dies; when it is started again, all goes on |
| the server is stopped at once, or killed, and nobody listens for a while | the same |
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from corpgrid.domain.job import JobState
from corpgrid.errors import UnavailableError
from tests.postgres.server import Server, server
from tests.system.company import PATIENCE_SECONDS, SCHEDULER, Company, open_folder, wait_until
from tests.system.jobs import slow_square, square
from tests.system.test_refused import fill, small_disk

pytestmark = [pytest.mark.system, pytest.mark.sandbox, pytest.mark.timeout(240)]


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


@pytest.fixture
def place() -> Iterator[Path]:
    """Another one."""
    with open_folder() as path:
        yield path


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that may be ruined."""
    made = Server(Path(tempfile.mkdtemp(prefix="corpgrid-own-")))
    yield made
    made.remove()


def test_a_full_disk_of_the_database_is_told_and_then_forgotten(folder: Path) -> None:
    with small_disk(folder / "disk", 64 << 20) as disk, on_tablespace(disk) as dsn:
        with Company(folder, scheduler={"store": dsn}) as company, company.connect(timeout_seconds=3.0) as grid:
            first = grid.map(square, range(50), verify="none")
            assert first.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.DONE
            running = grid.map(slow_square, range(100), verify="none")
            wait_until(lambda: running.status().counts.final > 5, "it is under way")
            fill(disk / "filling")
            with pytest.raises(UnavailableError, match="the disk of the database server is full") as failed:
                grid.map(square, range(200_000), verify="none")
            assert "On the scheduler: Free space there; nothing that was acknowledged is lost" in failed.value.remedy
            assert len(grid.jobs()) == 2, "the refused one is not half there"
            (disk / "filling").unlink()
            assert running.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.DONE
            assert running.results() == [n * n for n in range(100)]
            assert first.results() == [n * n for n in range(50)]
            assert grid.map(square, range(20_000), verify="none").status().tasks == 20_000
            log = company.log(SCHEDULER)
        assert "Traceback" not in log
        assert "store failed" in log


@contextmanager
def on_tablespace(disk: Path) -> Iterator[str]:
    """A database that has all of its tables on a disk."""
    tables = disk / "tables"
    tables.mkdir()
    if os.geteuid() == 0:
        shutil.chown(tables, "nobody", "nogroup")
    server().sql(f"CREATE TABLESPACE small LOCATION '{tables}'")
    server().sql("CREATE DATABASE small TABLESPACE small")
    try:
        yield server().dsn("small")
    finally:
        server().sql("DROP DATABASE small WITH (FORCE)")
        server().sql("DROP TABLESPACE small")


def test_a_server_that_has_no_room_for_its_log_dies_and_comes_back(
    folder: Path, place: Path, own_server: Server
) -> None:
    """Then PostgreSQL does not refuse, it stops: what was acknowledged is there when it is started again."""
    company = Company(folder, scheduler={"store": own_server.dsn()})
    with log_on(small_disk(place / "disk", 48 << 20), own_server) as disk, company:
        with company.connect(timeout_seconds=30.0) as grid:
            running = grid.map(slow_square, range(100), verify="none")
            wait_until(lambda: running.status().counts.final > 5, "it is under way")
            fill(disk / "filling")
            with pytest.raises((asyncpg.PostgresError, OSError)):
                own_server.sql("CREATE TABLE neighbour AS SELECT generate_series(1, 3000000)")
            assert "PANIC" in own_server.log.read_text()
            with pytest.raises(UnavailableError) as failed:
                grid.map(square, range(3), verify="none")
            assert "On the scheduler: " in failed.value.remedy
            (disk / "filling").unlink()
            own_server.restart(signal.SIGQUIT)
            assert running.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.DONE
            assert running.results() == [n * n for n in range(100)]
        assert "Traceback" not in company.log(SCHEDULER)


@contextmanager
def log_on(mounting: AbstractContextManager[Path], own: Server) -> Iterator[Path]:
    """A server whose write-ahead log stands on a disk of its own."""
    own.sql("ALTER SYSTEM SET max_wal_size = '32MB'")
    own.sql("ALTER SYSTEM SET min_wal_size = '32MB'")
    with mounting as disk:
        own.stop()
        moved = disk / "wal"
        shutil.move(own.data / "pg_wal", moved)
        for path in (moved, *moved.rglob("*")):
            os.chown(path, own.data.stat().st_uid, own.data.stat().st_gid)
        (own.data / "pg_wal").symlink_to(moved)
        own.restart()
        try:
            yield disk
        finally:
            own.stop(signal.SIGQUIT)


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGKILL])
def test_a_primary_that_dies_and_comes_back(folder: Path, own_server: Server, how: signal.Signals) -> None:
    """``pg_ctl stop -m immediate``, and a crash: for seconds nobody listens."""
    computers: dict[str, dict[str, object]] = {"one": {}, "two": {}}
    with Company(folder, computers=computers, scheduler={"store": own_server.dsn()}) as company:
        with company.connect(timeout_seconds=60.0) as grid:
            job = grid.map(slow_square, range(100), verify="none")
            wait_until(lambda: job.status().counts.final > 5, "it is under way")
            own_server.stop(how)
            told = asked(company, "job", "list")
            assert told["exit"] == UnavailableError.exit_code
            assert "the scheduler's store failed" in told["message"]
            assert "On the scheduler: " in told["remedy"]
            assert own_server.process.poll() is not None
            own_server.restart()
            assert job.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.DONE
            assert job.results() == [n * n for n in range(100)]
            assert job.status().executions <= 110, "it is not run anew"
        log = company.log(SCHEDULER)
    assert "store failed" in log
    assert "Traceback" not in log


def asked(company: Company, *words: str) -> dict[str, Any]:
    """What the command line says that cannot be done now."""
    environment = {**os.environ, "CORPGRID_CLIENT_TIMEOUT_SECONDS": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "corpgrid", *words, "--json", "--address", company.address],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told: dict[str, Any] = json.loads(done.stderr)
    assert done.returncode == told["exit"]
    return told
