"""Nothing of a grid is left on its machine: no process, mount, control group or temporary file, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from corpgrid.config import ClientConfig
from corpgrid.host.cgroup_detect import find_cgroups
from corpgrid.sdk.client import connect
from tests.system.company import Company, open_folder, wait_until
from tests.system.jobs import hold_memory, slow_square, square
from tests.system.leftovers import groups_of, left_of, temporary_folder

pytestmark = [pytest.mark.system, pytest.mark.sandbox]

Tell = Callable[[str], None]


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Say something among the lines of the test run, also when all goes well."""

    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")  # noqa: T201 - what a test could not check must be heard of

    return say


def check_groups(agents: Collection[int], tell: Tell) -> None:
    """While they work: agents have control groups of their runners', so that there is something to be left behind."""
    if find_cgroups() is not None:
        assert groups_of(agents)
        return
    tell("no control group can be written here; checked instead: no runner is in another group than its agent")
    assert groups_of(agents) == []
    for agent in agents:
        for runner in psutil.Process(agent).children(recursive=True):
            with suppress(FileNotFoundError, ProcessLookupError):
                assert membership(runner.pid) == membership(agent)


def membership(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


def test_an_ordinary_run(folder: Path, tell: Tell) -> None:
    with Company(folder, computers={"one": {}, "two": {}}) as company, company.connect() as grid:
        job = grid.map(slow_square, range(20), verify="quorum")
        wait_until(lambda: company.jobs_of("one") and company.jobs_of("two"), "both work")
        check_groups(company.agents, tell)
        assert job.results() == [x * x for x in range(20)]
    assert company.left() == []
    assert company.scratch() == []
    for temporary in ("run", "scheduler/blobs/tmp"):
        assert list((folder / temporary).iterdir()) == []
    assert not list((folder / "scheduler").glob("grid.db-*")), "the store was closed"


def test_an_agent_that_was_killed(folder: Path, tell: Tell) -> None:
    """Its runners go with it; its control groups and files go with the next agent's start."""
    with Company(folder) as company, company.connect() as grid:
        job = grid.map(hold_memory, [60.0], verify="none")
        wait_until(lambda: company.jobs_of("one"), "it works")
        check_groups(company.agents, tell)
        killed, runners = set(company.agents), company.runners("one")
        company.kill("one")
        wait_until(lambda: not any(map(alive, runners)), "its runners are gone", seconds=5)
        wait_until(lambda: not left_of(folder / "one"), "nothing of it is left", seconds=5)
        job.cancel()
        company.start("one")
        assert grid.map(square, range(3), verify="none").results() == [0, 1, 4]
        assert groups_of(killed) == []
    assert company.left() == []
    assert company.scratch() == []


def alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_that_is_ended_at_work(folder: Path, number: signal.Signals, tell: Tell) -> None:
    temporary = temporary_folder(folder)
    argv = [sys.executable, "-m", "corpgrid", "up", "--temporary", "--agents", "2", "--json"]
    environ = {**os.environ, "TMPDIR": str(temporary)}
    with (
        (folder / "up.log").open("wb") as log,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environ) as process,
    ):
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        with connect(told["address"], key=Path(told["key"]), config=ClientConfig()) as grid:
            job = grid.map(hold_memory, [60.0] * 2, verify="none")
            wait_until(lambda: job.status().counts.leased == 2, "both work")
            agents = {agent.pid for agent in psutil.Process(process.pid).children()}
            wait_until(lambda: all(psutil.Process(agent).children() for agent in agents), "their runners are up")
            check_groups(agents, tell)
        process.send_signal(number)
        assert process.wait(20) == 0, (folder / "up.log").read_text()
    # A sandbox that was just being started dies with its agent: at once, but not before it.
    wait_until(lambda: not left_of(folder) and not groups_of(agents), "nothing of it is left", seconds=5)
    assert list(temporary.iterdir()) == []
