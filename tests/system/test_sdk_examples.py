"""Every example runs, and prints what it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.house.tree import ROOT
from tests.system.own_grid import Shell, grid_beside

pytestmark = [pytest.mark.system, pytest.mark.sandbox]
EXAMPLES = ROOT / "examples"

PRINTED = {
    "01_hello.py": [f"hello from task {number}" for number in range(10)],
    "02_map.py": [
        "3.141588 is off by 5.0e-06",
        "2.0",
        "task 1 failed (raised): ValueError: -1 has no real square root",
    ],
    "03_verify.py": ["none     1.00 executions a task: 1,000 of 1,000 results are final"],
    "04_outputs_and_logs.py": ["'by' stands in 2 of 4 lines", "grid.txt: 'One grid for all,'"],
    "06_executor.py": ["871 takes 178 steps"],
}


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with grid_beside() as shell:
        yield shell


@pytest.mark.parametrize("name", PRINTED)
def test_a_program(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], cwd="/", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    for line in PRINTED[name]:
        assert line in done.stdout
    assert done.stderr == ""


def test_a_job_file_with_a_command(shell: Shell) -> None:
    job = shell.json("job", "submit", str(EXAMPLES / "05_command" / "job.toml"), "--watch")
    assert (job["state"], job["tasks"]) == ("done", 6)
    lines = [json.loads(line) for line in shell.text("job", "results", job["id"]).splitlines()]
    assert {line["value"]["text"].strip() for line in lines} >= {"grid", "task task task"}


def test_every_example_is_run() -> None:
    here = {path.name for path in EXAMPLES.iterdir() if not path.name.startswith((".", "__"))}
    assert here == {*PRINTED, "05_command", "digits"}
