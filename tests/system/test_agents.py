"""The agent as a program: alone in its folder, quick to go, clean when it comes back, and never behind its grid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from corpgrid.config import ClientConfig
from corpgrid.sdk.client import connect
from tests.system.company import PATIENCE_SECONDS, SCHEDULER, Company, open_folder, wait_until
from tests.system.jobs import hold_memory, slow_square, square
from tests.system.leftovers import left_of
from tests.system.own_grid import up

pytestmark = [pytest.mark.system, pytest.mark.sandbox]


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


def test_a_second_agent_does_not_touch_the_folder_of_the_first(folder: Path):
    with Company(folder) as company, company.connect() as grid:
        job = grid.map(slow_square, range(20), verify="none")
        argv = [sys.executable, "-m", "corpgrid", "agent", "run", "--config", str(folder / "one.toml")]
        second = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
        assert second.returncode not in {0, 70}
        assert "in use by process" in second.stderr
        assert "agent.folder" in second.stderr
        assert "Traceback" not in second.stderr
        assert job.results() == [x * x for x in range(20)]


def test_an_agent_goes_within_seconds_also_when_no_scheduler_is_there(folder: Path):
    with Company(folder) as company, company.connect() as grid:
        grid.map(hold_memory, [60.0], verify="none")
        wait_until(lambda: company.jobs_of("one"), "it works")
        company.kill(SCHEDULER)
        company.signal("one", signal.SIGTERM)
        assert company.ended("one") == 0
        assert not company.scratch()


@pytest.mark.parametrize("probe", ["idle", "power/AC/online"])
def test_an_agent_whose_probe_hangs_stops_work_and_goes_within_seconds(folder: Path, probe: str):
    with Company(folder) as company, company.connect() as grid:
        job = grid.map(hold_memory, [60.0], verify="none")
        wait_until(lambda: job.status().counts.leased == 1, "it works")
        hang(folder / "one" / probe)
        wait_until(lambda: grid.devices()[0].blockers == ("probes_silent",), "nobody can tell whether work is allowed")
        check_goes_at_once(company)


def test_an_agent_whose_sensor_hangs_from_the_start_lends_nothing_and_goes_within_seconds(folder: Path):
    sensors = folder / "one" / "sensors"
    temperature = sensors / "thermal" / "thermal_zone0" / "temp"
    temperature.parent.mkdir(parents=True)
    hang(temperature)
    with Company(folder, computers={"one": {"thermal_root": str(sensors)}}) as company, company.connect() as grid:
        assert grid.devices()[0].blockers == ("probes_silent",)
        check_goes_at_once(company)


def check_goes_at_once(company: Company) -> None:
    company.signal("one", signal.SIGTERM)
    started = time.monotonic()
    assert company.ended("one") == 0
    assert time.monotonic() - started < 2.0
    assert "Traceback" not in company.log("one")


def hang(path: Path) -> None:
    """Whoever reads a file waits from now on: it is a pipe that nobody ever writes to."""
    pipe = path.with_name(f".{path.name}.pipe")
    os.mkfifo(pipe)
    pipe.replace(path)


def test_what_a_killed_agent_left_is_swept_when_it_comes_back(folder: Path):
    with Company(folder, computers={"one": {"spare_runners": 0}}) as company, company.connect() as grid:
        job = grid.map(hold_memory, [60.0], verify="none")
        wait_until(lambda: company.jobs_of("one"), "it works")
        company.kill("one")
        left = company.scratch()
        assert left
        job.cancel()
        company.start("one")
        assert grid.map(square, range(3), verify="none").results() == [0, 1, 4]
        assert not [path for path in left if path.exists()]


def test_hundreds_of_jobs_of_one_task_all_end(folder: Path):
    with Company(folder, computers={"one": {"capacity": 2}}) as company, company.connect() as grid:
        jobs = [grid.submit(square, number, verify="none") for number in range(150)]
        assert [job.result() for job in jobs] == [number * number for number in range(150)]
        assert "cannot run here" not in company.log("one")


def test_an_agent_of_up_that_is_killed_is_started_again(folder: Path):
    with up(folder) as (process, address, key), connect(address, key=key, config=ClientConfig()) as grid:
        assert grid.map(square, range(3), verify="none").results() == [0, 1, 4]
        (agent,) = psutil.Process(process.pid).children()
        agent.kill()
        assert grid.map(square, range(3), verify="none").results() == [0, 1, 4]
    wait_until(lambda: not left_of(folder), "nothing is left", seconds=10)


def test_nothing_outlives_an_up_that_is_killed(folder: Path):
    with up(folder, agents=2) as (process, address, key), connect(address, key=key, config=ClientConfig()) as grid:
        grid.map(hold_memory, [60.0, 60.0], verify="none")
        wait_until(lambda: len(psutil.Process(process.pid).children(recursive=True)) > 4, "both agents work")
        process.kill()
        wait_until(lambda: not left_of(folder), "nothing is left", seconds=15)
