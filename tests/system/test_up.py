"""``corpgrid up`` at a terminal: Ctrl-C ends it in order, and an agent that cannot work says why in its own words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from corpgrid.config import ClientConfig
from corpgrid.domain.attempt import AttemptState
from corpgrid.sdk.client import connect
from corpgrid.stores.lockfile import LockFile
from tests.system.company import open_folder, wait_until
from tests.system.jobs import nap, square
from tests.system.leftovers import left_of
from tests.system.own_grid import Shell, up

pytestmark = [pytest.mark.system, pytest.mark.sandbox]

IN_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
CTRL_C = b"\x03"


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


def test_ctrl_c_reaches_it_alone_and_its_agents_end_in_order(folder: Path) -> None:
    argv = [sys.executable, "-m", "corpgrid", "up", "--folder", str(folder), "--agents", "2", "--json"]
    with subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as terminal:
        assert terminal.stdin is not None
        assert terminal.stdout is not None
        told = json.loads(next(line for line in terminal.stdout if line.startswith(b"{")))
        address, key = told["address"], Path(told["key"])
        with connect(address, key=key, config=ClientConfig()) as grid:
            assert grid.map(square, range(3), verify="none").results() == [0, 1, 4]
            job = grid.map(nap, [60.0, 60.0], verify="none")
            wait_until(lambda: job.status().counts.leased == 2, "it works")
            (parent,) = psutil.Process(terminal.pid).children()
            agents = [agent.pid for agent in parent.children()]
            assert len(agents) == 2
            assert {os.getsid(agent) for agent in agents} == set(agents), "Ctrl-C does not reach them"
        terminal.stdin.write(CTRL_C)
        terminal.stdin.flush()
        said = terminal.stdout.read().decode()
        assert terminal.wait(20) == 0, said
    assert said.count("stopping: agents (2) deliver their results") == 1, said
    assert not set(filter(psutil.pid_exists, agents))
    wait_until(lambda: not left_of(folder), "nothing is left", seconds=5)
    with up(folder) as (_, address, key), connect(address, key=key, config=ClientConfig()) as grid:
        # Both agents had the time to say goodbye to a scheduler that was still there.
        for index in range(2):
            first, *_ = grid.call(grid.api.attempts(job.id, index))
            assert (first.state, first.reason) == (AttemptState.STOPPED, "agent_stopping")
        grid.job(job.id).cancel()
    wait_until(lambda: not left_of(folder), "nothing is left", seconds=10)


def test_what_an_agent_cannot_do_is_told_in_its_own_words(folder: Path) -> None:
    place = folder / "agents" / "1"
    place.mkdir(parents=True)
    lock = LockFile(place / "agent.lock", what="the folder", remedy="")
    try:
        arguments = ("up", "--folder", str(folder))
        plain = Shell(folder, {}).run(*arguments)
        as_json = Shell(folder, {}).run(*arguments, "--json")
    finally:
        lock.release()
    story = f"agent 1 ended by itself (exit status 1): the agent's folder {place} is in use by process {os.getpid()}"
    remedy = "Stop the other agent, or give this one a folder of its own with agent.folder."
    assert plain.returncode == as_json.returncode == 1
    *before, error, advice = plain.stderr.splitlines()
    assert (error, advice) == (f"error: {story}", f"  -> {remedy}")
    assert not [line for line in before if place.name in line and "in use" in line], "it is told once"
    told = json.loads(as_json.stderr.splitlines()[-1])
    assert told == {"error": "store", "message": story, "remedy": remedy, "exit": 1}
