"""A laid out runtime, and a runner for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corpgrid.agent.runtime import lay_out
from tests.unit.runner.driver import PlainRunner


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("runtime"))


@pytest.fixture
def runner(runtime: Path, tmp_path: Path) -> Iterator[PlainRunner]:
    with PlainRunner(runtime, tmp_path) as started:
        yield started
