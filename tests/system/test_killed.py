"""``kill -9`` in the middle of a job: every result right, none lost, none twice, and nothing left running."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpgrid.domain.attempt import AttemptState
from corpgrid.domain.job import JobState
from corpgrid.sdk.client import Grid
from corpgrid.sdk.job import Job
from tests.system.company import LEASE_SECONDS, PATIENCE_SECONDS, SCHEDULER, Company, open_folder, wait_until
from tests.system.jobs import nap, slow_square
from tests.system.leftovers import left_of

pytestmark = [pytest.mark.system, pytest.mark.sandbox]

TASKS = 40


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


def under_way(job: Job, tasks: int = 5) -> None:
    wait_until(lambda: job.status().executions >= tasks, f"{tasks} results")


def check_all_right(job: Job, tasks: int = TASKS) -> None:
    row = job.wait(timeout_seconds=PATIENCE_SECONDS)
    assert row.state is JobState.DONE, job.why()
    assert row.counts.final == tasks
    assert list(job) == [x * x for x in range(tasks)]


def test_a_killed_runner_costs_one_attempt(folder: Path):
    with Company(folder) as company, company.connect() as grid:
        job = grid.map(slow_square, range(TASKS), verify="none")
        for _ in range(2):
            under_way(job, job.status().executions + 3)
            for runner in company.jobs_of("one"):
                runner.kill()
        check_all_right(job)
        attempts = [grid.call(grid.api.attempts(job.id, index)) for index in range(TASKS)]
        crashed = [each for tried in attempts for each in tried if each.state is AttemptState.CRASHED]
        assert 1 <= len(crashed) <= 2
        assert {each.reason for each in crashed} == {"sigkill"}
        assert sum(each.state is AttemptState.ACCEPTED for tried in attempts for each in tried) == TASKS


def test_a_killed_agent_leaves_nothing_and_its_tasks_run_again_at_once(folder: Path):
    with Company(folder, scheduler={"lease_ttl_seconds": 300}) as company, company.connect() as grid:
        job = grid.map(slow_square, range(TASKS), verify="none")
        under_way(job)
        runners = company.runners("one")
        assert runners
        company.kill("one")
        wait_until(lambda: not any(map(alive, runners)), "its runners are gone", seconds=5)
        company.start("one")
        # The leases would last for minutes: the new agent says that it holds none of them.
        check_all_right(job)
        assert job.status().executions < TASKS + 10


def alive(process) -> bool:
    return process.is_running() and process.status() != "zombie"


def test_a_killed_scheduler_loses_nothing_that_it_acknowledged(folder: Path):
    with Company(folder) as company, company.connect() as grid:
        jobs = []
        submitting = threading.Thread(
            target=lambda: jobs.extend(grid.map(slow_square, range(8), verify="none") for _ in range(5))
        )
        submitting.start()
        for count in (1, 3):
            wait_until(lambda count=count: len(jobs) >= count, f"{count} submitted jobs")
            company.kill(SCHEDULER)
            company.start(SCHEDULER)
        submitting.join(PATIENCE_SECONDS)
        assert len(jobs) == 5
        for job in jobs:
            check_all_right(job, 8)
        assert len(grid.jobs()) == 5


def test_tasks_that_run_while_the_scheduler_is_killed_are_not_run_again(folder: Path):
    with Company(folder, computers={"one": {"capacity": 2}}) as company, company.connect() as grid:
        job = grid.map(nap, [LEASE_SECONDS + 2.0] * 2, verify="none")
        wait_until(lambda: job.status().counts.leased == 2 and len(company.jobs_of("one")) >= 2, "both run")
        company.kill(SCHEDULER)
        # It stays away for longer than a lease lasts, and the tasks end in the meantime.
        threading.Event().wait(LEASE_SECONDS + 1.0)
        company.start(SCHEDULER)
        assert job.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.DONE
        for index in range(2):
            assert [each.state for each in grid.call(grid.api.attempts(job.id, index))] == [AttemptState.ACCEPTED]


def test_a_stopped_agent_loses_its_lease_and_its_late_result_counts_for_nothing(folder: Path):
    with Company(folder, computers={"one": {}, "two": {}}) as company, company.connect() as grid:
        job = grid.map(nap, [2.0], verify="none")
        wait_until(lambda: job.status().counts.leased == 1, "one of them works on it")
        asleep = holder(company, job.id, grid)
        company.signal(asleep, signal.SIGSTOP)
        row = job.wait(timeout_seconds=PATIENCE_SECONDS)
        company.signal(asleep, signal.SIGCONT)
        assert row.state is JobState.DONE
        first, second = grid.call(grid.api.attempts(job.id, 0))
        (awake,) = set(company.computers) - {asleep}
        assert (first.device, first.state) == (company.device(asleep), AttemptState.EXPIRED)
        assert (second.device, second.state) == (company.device(awake), AttemptState.ACCEPTED)
        # The one that slept is told, and is of use again.
        more = grid.map(slow_square, range(20), verify="quorum")
        check_all_right(more, 20)
        assert [each.state for each in grid.call(grid.api.attempts(job.id, 0))] == [first.state, second.state]


def holder(company: Company, job: str, grid: Grid) -> str:
    """Who has the last attempt at a job's first task."""
    attempt = grid.call(grid.api.attempts(job, 0))[-1]
    return next(name for name in company.computers if company.device(name) == attempt.device)


def test_stopping_an_agent_hands_its_work_back_within_seconds(folder: Path):
    company = Company(folder, computers={"one": {}, "two": {}}, scheduler={"lease_ttl_seconds": 300})
    with company, company.connect() as grid:
        job = grid.map(nap, [60.0, 0.1, 0.1, 0.1], verify="none")
        wait_until(lambda: job.status().counts.final == 3, "the short ones")
        name = holder(company, job.id, grid)
        company.signal(name, signal.SIGTERM)
        assert company.ended(name) == 0
        wait_until(lambda: len(grid.call(grid.api.attempts(job.id, 0))) == 2, "another takes it", seconds=10)
        first, second = grid.call(grid.api.attempts(job.id, 0))
        assert (first.state, first.reason) == (AttemptState.STOPPED, "agent_stopping")
        assert second.device != first.device
        wait_until(lambda: not left_of(folder / name), "nothing of it is left", seconds=5)
        job.cancel()
