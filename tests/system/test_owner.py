"""The owner comes first: work stops within a second, nothing of it stays behind, and it comes back when it may."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpgrid.domain.attempt import AttemptState
from corpgrid.domain.device import DeviceState
from corpgrid.domain.job import JobState
from tests.system.company import PATIENCE_SECONDS, SCHEDULER, Company, memory_of, open_folder, wait_until
from tests.system.jobs import hold_memory, slow_square

pytestmark = [pytest.mark.system, pytest.mark.sandbox]

STOP_SECONDS = 1.0
"""What the owner was promised; a test waits twice as long before it fails, for it shares two cores with others."""
STOPPED = "stopped"


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


def tried(grid, job, index=0):
    return [(each.state, each.reason) for each in grid.call(grid.api.attempts(job.id, index))]


def device_name(company, grid, job):
    attempt = grid.call(grid.api.attempts(job.id, 0))[-1]
    return next(name for name in company.computers if company.device(name) == attempt.device)


def uses_memory(company: Company, name: str) -> bool:
    """Whether the task of ``hold_memory`` is well under way."""
    return any(memory_of(runner) > 60 << 20 for runner in company.jobs_of(name))


def test_an_unplugged_computer_is_left_within_a_second_and_works_again_on_mains(folder: Path):
    with Company(folder, computers={"one": {}, "two": {}}) as company, company.connect() as grid:
        job = grid.map(hold_memory, [3.0], verify="none")
        wait_until(lambda: any(uses_memory(company, name) for name in company.computers), "it is under way")
        name = device_name(company, grid, job)
        (other,) = set(company.computers) - {name}
        company.unplug(name)
        wait_until(lambda: not company.runners(name), "no runner is left, spares neither", seconds=2 * STOP_SECONDS)
        assert job.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.DONE
        first, second = grid.call(grid.api.attempts(job.id, 0))
        assert (first.state, first.reason) == (AttemptState.STOPPED, "battery")
        assert second.device == company.device(other)
        assert "battery" in grid.why_device(company.device(name)).summary
        assert not company.runners(name)
        company.unplug(other)
        company.plug_in(name)
        assert grid.map(slow_square, range(5), verify="none").results() == [0, 1, 4, 9, 16]


def test_an_unplugged_computer_is_left_while_no_scheduler_is_there(folder: Path):
    with Company(folder) as company, company.connect() as grid:
        job = grid.map(hold_memory, [1.0, 60.0], verify="none")
        wait_until(lambda: uses_memory(company, "one"), "it is under way")
        company.kill(SCHEDULER)
        company.unplug("one")
        wait_until(lambda: not company.runners("one"), "no runner is left", seconds=2 * STOP_SECONDS)
        company.start(SCHEDULER)
        wait_until(lambda: (AttemptState.STOPPED, "battery") in tried(grid, job), "the scheduler hears of it")
        job.cancel()


def test_an_owner_who_comes_back_shortly_only_stops_the_clock(folder: Path):
    with Company(folder, computers={"one": {"yield_grace_seconds": 60}}) as company, company.connect() as grid:
        job = grid.map(hold_memory, [2.0], verify="none")
        wait_until(lambda: uses_memory(company, "one"), "it is under way")
        company.owner_is_idle("one", 0.0)
        wait_until(
            lambda: all(runner.status() == STOPPED for runner in company.jobs_of("one")),
            "every runner stands still",
            seconds=2 * STOP_SECONDS,
        )
        time.sleep(1.0)  # for the scheduler to hear of it, and to say nothing that would end the work
        assert company.jobs_of("one")
        company.owner_is_idle("one", 1e6)
        assert job.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.DONE
        assert tried(grid, job) == [(AttemptState.ACCEPTED, "")]


def test_an_owner_who_stays_gets_everything_back_after_the_grace(folder: Path):
    settings = {"yield_grace_seconds": 1.0}
    with Company(folder, computers={"one": settings, "two": settings}) as company, company.connect() as grid:
        job = grid.map(hold_memory, [2.0], verify="none")
        wait_until(lambda: any(uses_memory(company, name) for name in company.computers), "it is under way")
        name = device_name(company, grid, job)
        company.owner_is_idle(name, 0.0)
        wait_until(lambda: not company.runners(name), "no runner is left, spares neither", seconds=10)
        assert job.wait(timeout_seconds=PATIENCE_SECONDS).state is JobState.DONE
        assert tried(grid, job) == [(AttemptState.STOPPED, "owner_present"), (AttemptState.ACCEPTED, "")]


def test_an_operators_pause_is_obeyed_and_lifted(folder: Path):
    with Company(folder) as company, company.connect() as grid:
        job = grid.map(hold_memory, [0.5, 60.0], verify="none")
        wait_until(lambda: job.status().counts.final == 1 and uses_memory(company, "one"), "the second is under way")
        grid.set_device(company.device("one"), DeviceState.PAUSED, "a test")
        wait_until(lambda: not company.runners("one"), "no runner is left", seconds=5)
        assert "a test" in company.log("one")
        assert (AttemptState.STOPPED, "told_to_stop") in tried(grid, job, 0) + tried(grid, job, 1)
        job.cancel()
        grid.set_device(company.device("one"), DeviceState.ACTIVE)
        assert grid.map(slow_square, range(5), verify="none").results() == [0, 1, 4, 9, 16]


def test_a_cancelled_jobs_runner_ends(folder: Path):
    with Company(folder, computers={"one": {"spare_runners": 0}}) as company, company.connect() as grid:
        job = grid.map(hold_memory, [60.0], verify="none")
        wait_until(lambda: uses_memory(company, "one"), "it is under way")
        job.cancel()
        wait_until(lambda: not company.runners("one"), "no runner is left", seconds=5)
        assert grid.map(slow_square, range(5), verify="none").results() == [0, 1, 4, 9, 16]
