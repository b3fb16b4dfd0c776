"""A grid that keeps results for seconds: what is old goes, and says so; what runs or is young loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpgrid.domain.job import JobState
from corpgrid.errors import CollectedError
from corpgrid.sdk.client import Grid
from corpgrid.sdk.job import Job
from tests.postgres.server import server
from tests.system.company import SCHEDULER, Company, open_folder, wait_until
from tests.system.jobs import leave_files, nap

pytestmark = [pytest.mark.system, pytest.mark.sandbox, pytest.mark.timeout(240)]

KEEP_SECONDS = 3.0
KEEP = {"keep_days": KEEP_SECONDS / 86_400.0, "blob_grace_seconds": 0.5}
MEGABYTES = 3


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


def company_on(store: str, folder: Path) -> Company:
    shared = {"store": server().dsn(server().create())} if store == "postgres" else {}
    schedulers = ("first", "second") if store == "postgres" else (SCHEDULER,)
    return Company(folder, computers={"one": {"capacity": 2}}, schedulers=schedulers, scheduler={**KEEP, **shared})


def large(company: Company) -> list[str]:
    """The digests of large blobs."""
    files = (company.folder / SCHEDULER / "blobs").glob("??/??/*")
    return [file.name for file in files if file.stat().st_size >= MEGABYTES << 20]


def kinds(grid: Grid, job: Job[Any]) -> list[str]:
    return [line.kind for _, line in job.report().story]


def restart(company: Company) -> None:
    """Whoever answers next has nothing at hand."""
    for name in company.schedulers:
        company.kill(name)
        company.start(name)


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_old_results_go_and_a_job_that_runs_keeps_all_it_needs(folder: Path, store: str) -> None:
    with company_on(store, folder) as company, company.connect(timeout_seconds=60.0) as grid:
        # It waits for its turn all the time: the code and the arguments of its last task are needed at the very end.
        running = grid.map(nap, [1.0] * 16, verify="none")
        old = grid.map(leave_files, [MEGABYTES], verify="none", priority=90)
        assert old.results() == [MEGABYTES]
        assert large(company)
        wait_until(lambda: "job.collected" in kinds(grid, old), "the audit log says that it is collected")
        wait_until(lambda: not large(company), "its file is deleted")
        assert running.status().state is JobState.RUNNING
        restart(company)
        with pytest.raises(CollectedError, match="kept no more") as raised:
            old.results()
        assert "keep_days" in raised.value.remedy
        with pytest.raises(CollectedError):
            old.logs(0)
        assert old.status().counts.final == 1
        assert running.results() == [1.0] * 16
        assert grid.map(leave_files, [MEGABYTES], verify="none").results() == [MEGABYTES], "its code is sent again"
