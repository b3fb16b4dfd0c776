"""Two equal schedulers on one PostgreSQL: either may be killed, stopped or stand still, and so may the database."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from corpgrid.domain.job import JobState
from corpgrid.sdk.client import Grid
from corpgrid.sdk.job import Job
from tests.postgres.server import server
from tests.system.company import PATIENCE_SECONDS, Company, open_folder, wait_until
from tests.system.jobs import slow_square

pytestmark = pytest.mark.timeout(240)
SCHEDULERS = ("first", "second")
COMPUTERS: dict[str, dict[str, object]] = {"one": {}, "two": {}, "three": {}}
TASKS = 150


@pytest.fixture
def company() -> Iterator[Company]:
    with open_folder() as folder:
        yield company_in(folder)


def company_in(folder: Path) -> Company:
    store = server().dsn(server().create())
    # An agent that has lost its scheduler tries the other within seconds, also if the first only stands still.
    limits = {"call_seconds": 4.0}
    return Company(folder, computers=COMPUTERS, schedulers=SCHEDULERS, scheduler={"store": store}, limits=limits)


def asked(company: Company, query: str) -> object:
    """What the database answers."""

    async def ask() -> object:
        connection = await asyncpg.connect(company._scheduler["store"])
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(ask())


def submitted(company: Company, grid: Grid) -> Job[int]:
    """A job of some seconds, under way."""
    job = grid.map(slow_square, range(TASKS))
    wait_until(lambda: job.status().counts.provisional + job.status().counts.final > 10, "it is under way")
    return job


def check(job: Job[int]) -> None:
    """Every task has its one result."""
    assert job.wait(timeout_seconds=2 * PATIENCE_SECONDS).state is JobState.DONE
    assert job.results() == [n * n for n in range(TASKS)]


def test_either_scheduler_may_be_killed(company: Company):
    with company, company.connect(timeout_seconds=60.0) as grid:
        for name in SCHEDULERS:
            job = submitted(company, grid)
            company.kill(name)
            check(job)
            company.start(name)


def test_a_scheduler_that_is_stopped_lets_everybody_go_to_the_other(company: Company):
    with company, company.connect(timeout_seconds=60.0) as grid:
        job = submitted(company, grid)
        company.signal("first", signal.SIGTERM)
        assert company.ended("first") == 0
        check(job)
        assert job.status().executions < 2 * TASKS


def test_a_scheduler_that_stands_still_holds_up_nobody(company: Company):
    with company, company.connect(timeout_seconds=60.0) as grid:
        job = submitted(company, grid)
        company.signal("first", signal.SIGSTOP)
        check(job)
        company.signal("first", signal.SIGCONT)
        check(submitted(company, grid))


def test_a_leader_that_stands_still_is_followed_and_wakes_as_one_of_many(company: Company):
    with company, company.connect(timeout_seconds=60.0) as grid:
        assert asked(company, "SELECT epoch FROM lead") == 1, "the first that started leads"
        job = submitted(company, grid)
        company.signal("first", signal.SIGSTOP)
        company.kill("one")  # somebody must find out that its lease ran out
        seconds = wait_until(lambda: asked(company, "SELECT epoch FROM lead") == 2, "the other leads")
        assert seconds < 15.0
        check(job)
        company.start("one")
        holder = asked(company, "SELECT holder FROM lead")
        company.signal("first", signal.SIGCONT)
        check(submitted(company, grid))
        assert asked(company, "SELECT epoch, holder FROM lead") == 2
        assert asked(company, "SELECT holder FROM lead") == holder
        assert "leads no more" in company.log("first")


def test_a_leader_that_is_killed_is_followed_at_once(company: Company):
    with company, company.connect(timeout_seconds=60.0) as grid:
        job = submitted(company, grid)
        company.kill("first")
        seconds = wait_until(lambda: asked(company, "SELECT epoch FROM lead") == 2, "the other leads")
        assert seconds < 5.0
        check(job)


def test_the_database_may_be_killed(company: Company):
    with company, company.connect(timeout_seconds=60.0) as grid:
        job = submitted(company, grid)
        server().restart(signal.SIGKILL)
        check(job)


def test_clients_and_computers_at_different_schedulers_hear_of_each_other_at_once(company: Company):
    with company:
        with company.connect() as warm:
            check(warm.map(slow_square, range(TASKS)))
        seconds = []
        for name in SCHEDULERS:
            with company.connect_to(name) as grid:
                for _ in range(5):
                    started = time.monotonic()
                    assert grid.map(abs, [-1], verify="none").results() == [1]
                    seconds.append(time.monotonic() - started)
        assert sorted(seconds)[len(seconds) // 2] < 1.0, seconds
