"""A grid that runs is saved, then destroyed and brought back: what was acknowledged before is there, and work goes on.

The agents run through all of it, so that the grid that comes back meets devices that know more than it does.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from corpgrid.domain.job import JobState
from corpgrid.errors import ConfigError, ConflictError, CorpGridError, NotFoundError
from corpgrid.sdk.client import Grid
from tests.postgres.server import Server, programs, run_program, server
from tests.system.company import PATIENCE_SECONDS, SCHEDULER, Company, open_folder, wait_until
from tests.system.jobs import slow_square

pytestmark = [pytest.mark.system, pytest.mark.sandbox, pytest.mark.timeout(240)]
COMPUTERS: dict[str, dict[str, object]] = {"one": {}, "two": {}}
PAIR = ("first", "second")
TASKS = 150
LARGE = 100_000
KEYS = ("trusted_keys", "trusted_devices")


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


def many_bytes(seed: int) -> bytes:
    return bytes([seed]) * LARGE


class Life:
    """Jobs of a grid before, while and after it is saved."""

    def __init__(self, grid: Grid) -> None:
        self.ended = grid.map(many_bytes, range(4), verify="none")
        assert self.ended.results() == [many_bytes(n) for n in range(4)]
        self.running = grid.map(slow_square, range(TASKS))
        wait_until(lambda: self.done() > 10, "it is under way")

    def done(self) -> int:
        counts = self.running.status().counts
        return counts.provisional + counts.final

    def check(self, grid: Grid) -> None:
        """What had ended can be read; what was under way comes to its end."""
        assert grid.job(self.ended.id).results() == [many_bytes(n) for n in range(4)]
        assert grid.job(self.running.id).wait(timeout_seconds=2 * PATIENCE_SECONDS).state is JobState.DONE
        assert grid.job(self.running.id).results() == [n * n for n in range(TASKS)]
        assert grid.map(slow_square, [7]).results() == [49]


def run(*arguments: str, status: int = 0) -> Any:
    """A command's one object."""
    argv = [sys.executable, "-m", "corpgrid", *arguments, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout or done.stderr)


def back_up(company: Company, target: Path, *options: str) -> Any:
    name = company.schedulers[0]
    return run("scheduler", "backup", str(target), "--config", str(company.folder / f"{name}.toml"), *options)


def destroy(company: Company) -> None:
    """All that a scheduler keeps, and the keys that it trusts."""
    for name in company.schedulers:
        company.kill(name)
    for name in (SCHEDULER, *KEYS):
        shutil.rmtree(company.folder / name)


def restore(company: Company, saved: Path) -> None:
    """As docs/how-to/backup.md says."""
    shutil.copytree(saved, company.folder / SCHEDULER)
    for name in KEYS:
        (company.folder / SCHEDULER / name).rename(company.folder / name)
    for name in company.schedulers:
        company.start(name)


def test_a_grid_on_sqlite(folder):
    with Company(folder, computers=COMPUTERS) as company:
        saved = folder / "saved"
        with company.connect() as grid:
            life = Life(grid)
            told = back_up(company, saved)
            after = grid.map(slow_square, range(5))
            after.results()
        destroy(company)
        restore(company, saved)
        with company.connect() as grid:
            life.check(grid)
            with pytest.raises(NotFoundError):
                grid.job(after.id)
    assert told["store"] == "grid.db"
    assert told["blobs"] >= 4
    assert told["damaged"] == 0
    assert told["size_bytes"] > 4 * LARGE


def test_a_grid_on_postgres_by_a_dump(folder):
    database = server().create()
    dump = folder / "grid.dump"
    with Company(folder, computers=COMPUTERS, schedulers=PAIR, scheduler={"store": server().dsn(database)}) as company:
        with company.connect() as grid:
            life = Life(grid)
            with dump.open("wb") as file:
                subprocess.run([programs() / "pg_dump", "-Fc", server().dsn(database)], stdout=file, check=True)
            told = back_up(company, folder / "saved", "--without-store")
        destroy(company)
        server().sql(f"DROP DATABASE {database} WITH (FORCE)")
        server().sql(f"CREATE DATABASE {database}")
        with dump.open("rb") as file:
            argv = [programs() / "pg_restore", "--exit-on-error", "--dbname", server().dsn(database)]
            subprocess.run(argv, stdin=file, check=True)
        restore(company, folder / "saved")
        with company.connect(timeout_seconds=60.0) as grid:
            life.check(grid)
    assert told["store"] == ""
    assert told["blobs"] >= 4


@pytest.fixture
def archived() -> Iterator[tuple[Server, Path]]:
    """A server of its own that archives its write-ahead log, and where."""
    made = Server(Path(tempfile.mkdtemp(prefix="corpgrid-postgres-")))
    archive = made.folder / "archive"
    archive.mkdir()
    shutil.chown(archive, made.data.owner(), made.data.group())
    made.sql("ALTER SYSTEM SET archive_mode = on")
    made.sql(f"ALTER SYSTEM SET archive_command = 'cp %p {archive}/%f'")
    made.restart()
    try:
        yield made, archive
    finally:
        made.remove()


def test_a_grid_on_postgres_by_its_log(folder, archived):
    """To the last segment that was archived: also what was acknowledged after the base backup is there."""
    database, archive = archived
    base = database.folder / "base"
    store = database.dsn(database.create())
    with Company(folder, computers=COMPUTERS, schedulers=PAIR, scheduler={"store": store}) as company:
        base.mkdir(mode=0o700)
        shutil.chown(base, database.data.owner(), database.data.group())
        run_program("pg_basebackup", "-D", base, "-h", database.data, "-U", "postgres", "--checkpoint=fast")
        with company.connect() as grid:
            life = Life(grid)
        database.sql("SELECT pg_switch_wal()")
        back_up(company, folder / "saved", "--without-store")
        wait_until(lambda: all_archived(database, archive), "the log is archived")
        destroy(company)
        database.stop(signal.SIGKILL)
        shutil.rmtree(database.data)
        base.rename(database.data)
        (database.data / "recovery.signal").touch()
        with (database.data / "postgresql.auto.conf").open("a") as file:
            file.write(f"restore_command = 'cp {archive}/%f %p'\n")
        database.restart()
        wait_until(lambda: is_primary(database), "the log is replayed")
        restore(company, folder / "saved")
        with company.connect(timeout_seconds=60.0) as grid:
            life.check(grid)


def asked(database: Server, text: str) -> str:
    argv = [programs() / "psql", "-At", "-c", text, database.dsn()]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def all_archived(database: Server, archive: Path) -> bool:
    """Whether the segment before the one that is written now is in the archive."""
    last = asked(database, "SELECT last_archived_wal FROM pg_stat_archiver")
    now = asked(database, "SELECT pg_walfile_name(pg_current_wal_lsn())")
    return bool(last) and int(last, 16) >= int(now, 16) - 1 and (archive / last).exists()


def is_primary(database: Server) -> bool:
    return asked(database, "SELECT pg_is_in_recovery()") == "f"


# -- what it is told, and what it says


@pytest.fixture
def grid_folder(tmp_path) -> Path:
    """A scheduler's folder as a scheduler that was killed leaves it: the last commits are in the write-ahead log."""
    place = tmp_path / "scheduler"
    blobs = place / "blobs" / "ab" / "cd"
    blobs.mkdir(parents=True)
    (place / "audit.key").write_bytes(bytes(32))
    with closing(sqlite3.connect(tmp_path / "live.db")) as live:
        live.execute("PRAGMA journal_mode = WAL").fetchall()
        live.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        live.execute("CREATE TABLE word (text)")
        live.execute("INSERT INTO word VALUES ('last')")
        live.commit()
        for end in ("", "-wal"):
            shutil.copy(tmp_path / f"live.db{end}", place / f"grid.db{end}")
    return place


@pytest.fixture
def save(grid_folder) -> Callable[..., Any]:
    from corpgrid.compose.backup import back_up
    from corpgrid.config import load_config

    def saving(target: Path, *, without_store: bool = False, **settings: object) -> Any:
        overrides = {f"scheduler.{name}": str(value) for name, value in settings.items()}
        config = load_config(environ={}, overrides={"scheduler.folder": str(grid_folder), **overrides})
        return back_up(config, target, without_store=without_store)

    return saving


def test_commits_in_the_log_are_in_the_backup_which_is_one_file(save, tmp_path):
    saved = save(tmp_path / "saved")
    with closing(sqlite3.connect(saved.folder / "grid.db")) as copy:
        assert copy.execute("SELECT text FROM word").fetchall() == [("last",)]
    assert sorted(path.name for path in saved.folder.iterdir()) == ["audit.key", "blobs", "grid.db"]
    assert saved.folder.stat().st_mode & 0o077 == 0


def test_a_damaged_blob_is_left_out_and_named(save, grid_folder, tmp_path):
    name = "abcd" + 60 * "0"
    (grid_folder / "blobs" / "ab" / "cd" / name).write_bytes(b"not that")
    saved = save(tmp_path / "saved")
    assert [path.name for path in saved.damaged] == [name]
    assert saved.blobs == 0
    assert not list((saved.folder / "blobs").rglob(name))
    arguments = ("scheduler", "backup", str(tmp_path / "again"), "--set", f"scheduler.folder={grid_folder}")
    argv = [sys.executable, "-m", "corpgrid", *arguments, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert json.loads(done.stdout)["damaged"] == 1
    assert name in json.loads(done.stderr)["message"]


def test_a_damaged_database_is_no_backup(save, grid_folder, tmp_path):
    content = bytearray((grid_folder / "grid.db").read_bytes())
    content[:16] = b"something else.."
    (grid_folder / "grid.db").write_bytes(content)
    (grid_folder / "grid.db-wal").unlink()
    with pytest.raises(CorpGridError, match=r"grid\.db"):
        save(tmp_path / "saved")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["live.db", "scheduler"]


def test_a_backup_takes_no_other_place(save, tmp_path):
    (tmp_path / "saved").mkdir()
    save(tmp_path / "saved")
    with pytest.raises(ConflictError, match="there is something"):
        save(tmp_path / "saved")


def test_what_is_elsewhere_must_be_said(save, tmp_path):
    with pytest.raises(ConfigError, match="its own tools"):
        save(tmp_path / "saved", store="postgresql://db/grid")
    with pytest.raises(ConfigError, match="is in"):
        save(tmp_path / "saved", without_store=True)
    with pytest.raises(NotFoundError, match="there is no"):
        save(tmp_path / "saved", folder=tmp_path / "nowhere")
    assert save(tmp_path / "saved", store="postgresql://db/grid", without_store=True).store == ""
