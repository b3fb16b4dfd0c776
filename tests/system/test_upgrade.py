"""A rolling upgrade: a newer program migrates the database and starts beside the older one, which then ends."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg
import pytest

import corpgrid
from corpgrid.domain.job import JobState
from corpgrid.sdk.client import Grid
from corpgrid.sdk.job import Job
from corpgrid.stores.statements import migrations
from tests.postgres.server import server
from tests.system.company import PATIENCE_SECONDS, Company, open_folder, wait_until
from tests.system.jobs import slow_square

pytestmark = pytest.mark.timeout(240)
OLDER, NEWER = "first", "second"
COMPUTERS: dict[str, dict[str, object]] = {"one": {}, "two": {}, "three": {}}
TASKS = 150
KNOWN = len(migrations("postgres"))
ADDS = "ALTER TABLE jobs ADD COLUMN color text NOT NULL DEFAULT 'red';\nCREATE TABLE colors (name text);\n"
RUN = "import runpy, sys; sys.path.insert(0, {folder!r}); runpy.run_module('corpgrid', run_name='__main__')"


class Upgrading(Company):
    """A company whose second scheduler is of a newer version, and is not there yet."""

    def __init__(self, folder: Path, *, oldest: int, computers: dict[str, dict[str, object]]) -> None:
        self.store = server().dsn(server().create())
        super().__init__(
            folder, computers=computers, schedulers=(OLDER, NEWER), scheduler={"store": self.store},
            limits={"call_seconds": 4.0},
        )  # fmt: skip
        self.later = {NEWER}
        self.newer = folder / "newer"
        program = self.newer / "corpgrid"
        shutil.copytree(Path(corpgrid.__file__).parent, program, ignore=shutil.ignore_patterns("__pycache__"))
        step = program / "stores" / "postgres" / "sql" / "migrations" / f"{KNOWN + 1:04}_next.sql"
        step.write_text(f"-- oldest program: {oldest}\n{ADDS}")

    def start(self, name: str) -> None:
        if name not in self.later:
            super().start(name)

    def start_newer(self) -> None:
        self.later.clear()
        self.start(NEWER)

    def program(self, name: str) -> Sequence[str]:
        argv = super().program(name)
        return ("-c", RUN.format(folder=str(self.newer)), *argv[2:]) if name == NEWER else argv

    def migrate(self) -> None:
        """As an operator does it, with the newer program."""
        config = str(self.folder / f"{NEWER}.toml")
        argv = [sys.executable, "-c", RUN.format(folder=str(self.newer)), "scheduler", "migrate", "--config", config]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)

    def asked(self, query: str) -> str:
        """What the database answers."""

        async def ask() -> object:
            connection = await asyncpg.connect(self.store)
            try:
                return await connection.fetchval(query)
            finally:
                await connection.close()

        return str(asyncio.run(ask()))


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


def submitted(grid: Grid) -> Job[int]:
    """A job of some seconds, under way."""
    job = grid.map(slow_square, range(TASKS))
    wait_until(lambda: done(job) > 10, "it is under way")
    return job


def done(job: Job[int]) -> int:
    counts = job.status().counts
    return counts.provisional + counts.final


def check(job: Job[int]) -> None:
    """Every task has its one result."""
    assert job.wait(timeout_seconds=2 * PATIENCE_SECONDS).state is JobState.DONE
    assert job.results() == [n * n for n in range(TASKS)]


def test_a_grid_is_upgraded_while_it_works(folder: Path):
    company = Upgrading(folder, oldest=KNOWN, computers=COMPUTERS)
    with company, company.connect(timeout_seconds=60.0) as grid:
        job = submitted(grid)
        company.migrate()
        assert company.asked("SELECT max(number) FROM schema_version") == str(KNOWN + 1)
        assert company.asked("SELECT DISTINCT color FROM jobs") == "red"
        before = done(job)
        wait_until(lambda: done(job) > before, "the older program goes on with a newer schema")
        company.start_newer()
        company.signal(OLDER, signal.SIGTERM)
        assert company.ended(OLDER) == 0
        wait_until(lambda: company.asked("SELECT epoch FROM lead") == "2", "the newer program leads")
        check(job)
        assert job.status().executions < 2 * TASKS
        company.start(OLDER)  # and back: what the newer one left, the older one can still serve
        company.signal(NEWER, signal.SIGTERM)
        assert company.ended(NEWER) == 0
        check(submitted(grid))


def test_an_older_program_ends_with_a_word_when_it_would_do_harm(folder: Path):
    company = Upgrading(folder, oldest=KNOWN + 1, computers={})
    with company:
        company.migrate()
        assert company.ended(OLDER) != 0
        assert "Run the newer CorpGrid that migrated it here too" in company.log(OLDER)
        company.start_newer()
        with company.connect_to(NEWER) as grid:
            assert grid.jobs() == []
