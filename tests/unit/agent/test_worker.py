"""Workers over a sandbox without walls."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from corpgrid.agent.engine_check import engine_faults
from corpgrid.agent.runner_spec import RunnerPlace
from corpgrid.agent.runtime import lay_out
from corpgrid.ports.sandbox import SandboxProcess, SandboxSpec
from tests.contracts.worker import Bench, WorkerContract, finish
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


async def test_an_engine_that_does_not_work_says_why(bench: Bench):
    assert await engine_faults(bench.sandbox, bench.place) == {"python": "", "command": ""}
    (bench.place.runtime / "cloudpickle").rename(bench.place.runtime / "hidden")
    try:
        faults = await engine_faults(bench.sandbox, bench.place)
    finally:
        (bench.place.runtime / "hidden").rename(bench.place.runtime / "cloudpickle")
    assert faults["command"] == ""
    assert "No module named 'cloudpickle'" in faults["python"]
    broken = replace(bench.place, python="/bin/false")
    assert all("exit status 1" in fault for fault in (await engine_faults(bench.sandbox, broken)).values())


async def test_a_start_that_is_given_up_leaves_no_process(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    started = []
    real = bench.sandbox.start

    async def start(spec: SandboxSpec) -> SandboxProcess:
        started.append(await real(replace(spec, argv=(bench.place.python, "-c", "import time; time.sleep(600)"))))
        return started[-1]

    monkeypatch.setattr(bench.sandbox, "start", start)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await bench.start()
    assert (await started[0].wait()).reason == "signal"


@pytest.mark.parametrize("turns", range(4))
async def test_a_close_that_is_given_up_can_be_done_again(bench: Bench, turns: int):
    worker = await bench.loaded(lambda x: x)
    worker.kill()
    closing = asyncio.create_task(worker.close())
    for _ in range(turns):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await worker.close()
    assert worker.not_started == []
    assert await worker.next_batch() == []


async def test_more_tasks_than_fit_in_one_frame(bench: Bench):
    worker = await bench.loaded(lambda x: x)
    found = await finish(worker, *range(25_000))
    assert [f.index for f in found] == list(range(25_000))


class TestPlainWorker(WorkerContract):
    """Plain processes."""
