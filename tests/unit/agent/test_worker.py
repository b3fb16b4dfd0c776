"""Workers over a sandbox without walls."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from corpgrid.agent.runner_spec import RunnerPlace
from corpgrid.agent.runtime import lay_out
from tests.contracts.worker import Bench, WorkerContract
from tests.unit.runner.plain_sandbox import PlainSandbox


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("runtime"))


@pytest.fixture
def bench(runtime: Path, tmp_path: Path) -> Bench:
    (tmp_path / "work").mkdir()
    (tmp_path / "job").mkdir()
    place = RunnerPlace(python=sys.executable, runtime=runtime, work=tmp_path / "work", job=tmp_path / "job")
    return Bench(PlainSandbox(), place)


class TestPlainWorker(WorkerContract):
    """Plain processes."""
