"""``.ci/run``: every phase runs, any failure fails it, and the last line is the tests' own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it is a shell script")

FAKE = """#!/bin/sh
echo "dev $*"
[ "$1" != test ] || echo "===== 7 passed, 1 skipped in 3.21s ====="
case " $FAILING " in *" $1 "*) exit 3;; esac
"""


def ci(folder: Path, failing: str = "") -> subprocess.CompletedProcess[str]:
    """Run it beside a ``./dev`` whose verbs do nothing, or fail."""
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    fake = folder / "dev"
    fake.write_text(FAKE)
    fake.chmod(0o755)
    env = {"PATH": "/usr/bin:/bin", "FAILING": failing}
    argv = ["bash", str(folder / ".ci" / "run")]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_all_phases_run_and_the_tests_have_the_last_word(tmp_path: Path) -> None:
    done = ci(tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("dev ")] == ["dev check", "dev demo --json", "dev test"]
    assert lines[-1] == "===== 7 passed, 1 skipped in 3.21s ====="


@pytest.mark.parametrize("phase", ["check", "demo", "test"])
def test_a_failure_in_any_phase_fails_it_and_is_named(tmp_path: Path, phase: str) -> None:
    done = ci(tmp_path, failing=phase)
    assert done.returncode == 1
    assert "dev test" in done.stdout, "the phases after it run all the same"
    failed = [line.split()[0] for line in done.stdout.splitlines() if "FAILED (exit 3)" in line]
    assert failed == [phase]
