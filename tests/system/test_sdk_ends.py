"""How programs with a grid of their own end: whichever way it is, nothing of the grid is left."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import corpgrid
from tests.system.company import wait_until
from tests.system.leftovers import left_of

pytestmark = [pytest.mark.system, pytest.mark.sandbox]

BEGIN = """
import os, sys, time
import corpgrid

def slow(x):
    time.sleep(0.0 if x < 2 else 1000.0)
    return x

grid = corpgrid.connect()
print(grid._embedded.ready.folder, flush=True)
"""
ITERATES = "with grid:\n    for result in grid.map(slow, range(9)):\n        print(result, flush=True)\n"
GATHERS = (
    "with grid, grid.executor() as pool:\n"
    "    for future in [pool.submit(slow, x) for x in range(9)]:\n"
    "        print(future.result(), flush=True)\n"
)
GOES_ON = (
    "with grid:\n"
    "    try:\n        for result in grid.map(slow, range(3)):\n            print(result, flush=True)\n"
    "    except KeyboardInterrupt:\n        print(grid.submit(abs, -3).result(), flush=True)\n"
)
FORGETS = "print(grid.submit(abs, -3).result(), flush=True)\nsys.exit(7)\n"
FORKS = (
    "if os.fork() == 0:\n"
    "    try:\n        grid.submit(abs, -3)\n    except corpgrid.UsageError:\n        sys.exit(0)\n"
    "assert os.wait()[1] == 0\nprint(grid.submit(abs, -3).result(), flush=True)\ngrid.close()\ngrid.close()\n"
)


@pytest.mark.parametrize(
    ("program", "number", "status"),
    [
        pytest.param(ITERATES, signal.SIGINT, -signal.SIGINT, id="interrupted-in-an-iteration"),
        pytest.param(GATHERS, signal.SIGINT, -signal.SIGINT, id="interrupted-in-an-executor"),
        pytest.param(GOES_ON, signal.SIGINT, 0, id="goes-on-after-an-interrupt"),
        pytest.param(ITERATES, signal.SIGKILL, -signal.SIGKILL, id="killed"),
        pytest.param(FORGETS, None, 7, id="forgets-to-close"),
        pytest.param(FORKS, None, 0, id="forks"),
    ],
)
def test_nothing_is_left(program: str, number: signal.Signals | None, status: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN + program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.is_dir()
        assert process.stdout.readline().strip() in {"0", "3"}
        if number is not None:
            process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert program is not GOES_ON or out.splitlines()[-1] == "3"
    # One that was killed could not wait for its grid.
    wait_until(lambda: not folder.exists() and not left_of(folder), f"{left_of(folder)} of {folder}", seconds=20)


def test_files_that_lie_around_are_not_imported(tmp_path: Path) -> None:
    """Not by the grid: a folder of scripts often has one that is called like a module of Python's."""
    for name in ("queue", "signal", "corpgrid", "random"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module was imported')\n")
    program = "import corpgrid\nwith corpgrid.connect() as grid:\n    print(grid.submit(abs, -3).result())\n"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


def test_a_grid_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORPGRID_AGENT_HOURS", "whenever")
    with pytest.raises(corpgrid.ConfigError, match=r"agent\.hours is 'whenever'"):
        corpgrid.connect()


def test_a_grid_that_does_not_start_in_time_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hanging = tmp_path / "python"
    hanging.write_text("#!/bin/sh\nexec sleep 1000\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hanging))
    monkeypatch.setenv("CORPGRID_GRID_START_SECONDS", "1")
    with pytest.raises(corpgrid.UnavailableError, match=r"did not start within 1 s \(grid\.start_seconds\)"):
        corpgrid.connect()


def test_a_grid_that_dies_is_noticed_by_who_waits() -> None:
    def forever(_: int) -> None:
        import time

        time.sleep(1000.0)

    grid = corpgrid.connect()
    assert grid._embedded is not None
    job = grid.submit(forever, 1)
    grid._embedded._process.kill()
    with pytest.raises(corpgrid.UnavailableError, match=r"the embedded grid ended by itself \(exit status -9\)"):
        job.result()
    grid.close()
    assert not grid._embedded.ready.folder.exists()


def test_what_cannot_be_connected_to(tmp_path: Path) -> None:
    with pytest.raises(corpgrid.UnavailableError, match=r"no grid listens at unix:.*No such file or directory"):
        corpgrid.connect(f"unix:{tmp_path}/none.sock")
    with pytest.raises(corpgrid.UnavailableError, match=r"no grid listens at 127\.0\.0\.1:1 "):
        corpgrid.connect("127.0.0.1:1")
    with pytest.raises(corpgrid.ConfigError, match="'nonsense' is no address"):
        corpgrid.connect("nonsense")
    with pytest.raises(corpgrid.RefusedError, match="can be reached by other machines"):
        corpgrid.connect("10.0.0.1:7421")
    with pytest.raises(corpgrid.UsageError, match="agents is 0"):
        corpgrid.connect(agents=0)
    with pytest.raises(corpgrid.UsageError, match="agents is 2"):
        corpgrid.connect("127.0.0.1:1", agents=2)
    with pytest.raises(corpgrid.NotFoundError, match="there is no key file"):
        corpgrid.connect("127.0.0.1:1", key=tmp_path / "none.pem")
