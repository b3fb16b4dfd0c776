"""A slot, its pool and its jobs, with real runners: whatever goes wrong, every task comes back with a reason."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import cloudpickle
import psutil
import pytest

from corpgrid.agent import slot as slot_module
from corpgrid.agent.runtime import lay_out
from corpgrid.domain.ids import JobId
from corpgrid.domain.messages import Outcome
from corpgrid.errors import DigestError, LimitError, UnavailableError
from corpgrid.ports.sandbox import SandboxProcess, SandboxSpec
from corpgrid.wire import data
from tests.unit.agent.grid_stand_in import Device
from tests.unit.runner.plain_sandbox import PlainSandbox

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def double(x):
    return 2 * x


def nap(seconds):
    time.sleep(seconds)
    return seconds


def large(count):
    return bytes(count)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("runtime"))


@pytest.fixture
async def device(runtime: Path, tmp_path: Path):
    async with Device(tmp_path, runtime).running() as made:
        yield made


def values(items):
    return [data.decode(item.payload) for item in items]


async def test_tasks_of_jobs_that_share_their_code_share_a_runner(device: Device):
    first, second = device.job(double, [1, 2, 3]), device.job(double, [4, 5])
    await device.grant(first, 0, 1, 2)
    assert values(await device.ended(first, 3)) == [2, 4, 6]
    worker = device.slot.worker
    await device.grant(second, 0, 1)
    assert values(await device.ended(second, 2)) == [8, 10]
    assert device.slot.worker is worker
    # It is ended with the job whose tasks it has now, not with the one it was started for.
    device.pool.kill(frozenset({first}))
    assert worker.alive
    device.pool.kill(frozenset({second}))
    assert not worker.alive


async def test_arguments_that_cannot_be_had_end_their_tasks_and_the_slot_goes_on(device: Device):
    bad, good = device.job(double, [1, 2], drop_pages=True), device.job(double, [7])
    await device.grant(bad, 0, 1)
    for item in await device.ended(bad, 2):
        assert (item.outcome, item.reason) == (Outcome.REFUSED, "not_found")
        assert "no blob" in item.detail
    assert device.session.queue.unfinished == 0
    await device.grant(good, 0)
    assert values(await device.ended(good, 1)) == [14]


async def test_a_task_does_not_wait_for_all_tasks_of_another_job(device: Device, monkeypatch):
    monkeypatch.setattr(slot_module, "_TURN_SECONDS", 0.1)
    slow, quick = device.job(nap, [0.05] * 40), device.job(double, [7])
    await device.grant(slow, *range(40))
    await device.ended(slow, 1)
    await device.grant(quick, 0)
    assert values(await device.ended(quick, 1)) == [14]
    assert slow in device.session.queue.jobs()
    assert values(await device.ended(slow, 40)) == [0.05] * 40


async def test_a_job_without_its_specification_is_refused(device: Device):
    job = JobId("job_unknown")
    await device.grant(job, 0)
    (item,) = await device.ended(job, 1)
    assert (item.outcome, item.reason) == (Outcome.REFUSED, "signature")


async def test_a_bug_costs_one_job_its_tasks_and_not_the_agent(device: Device, monkeypatch, caplog):
    async def prepare(job: JobId):
        raise ZeroDivisionError("a bug")

    bad, good = device.job(double, [1]), device.job(nap, [0.0])
    with monkeypatch.context() as patched:
        patched.setattr(device.pool, "prepare", prepare)
        await device.grant(bad, 0)
        (item,) = await device.ended(bad, 1)
    assert (item.outcome, item.reason) == (Outcome.REFUSED, "agent_fault")
    assert "ZeroDivisionError" in item.detail
    assert "a bug" in caplog.text
    await device.grant(good, 0)
    assert values(await device.ended(good, 1)) == [0.0]


async def test_a_full_disk_refuses_the_job_and_the_device_rests(device: Device, monkeypatch):
    def no_room(*_args, **_more):
        raise OSError(28, "No space left on device")

    job = device.job(double, [1])
    monkeypatch.setattr("corpgrid.agent.jobs.Path.write_bytes", no_room)
    await device.grant(job, 0)
    (item,) = await device.ended(job, 1)
    assert (item.outcome, item.reason) == (Outcome.REFUSED, "store")
    assert "No space left" in item.detail
    assert device.session._rests == 1


async def test_a_large_result_waits_for_a_scheduler_that_is_away(device: Device, monkeypatch):
    monkeypatch.setattr(slot_module, "_AGAIN_SECONDS", 0.01)
    device.blobs.fails = [UnavailableError("away"), UnavailableError("still away")]
    job = device.job(large, [1 << 20])
    await device.grant(job, 0)
    (item,) = await device.ended(job, 1)
    assert item.outcome is Outcome.RESULT
    assert data.decode(device.blobs.blobs[item.blob]) == bytes(1 << 20)
    assert not device.blobs.fails


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (LimitError("blob_bytes", limit=1, got=2), Outcome.FAILED, "limit"),
        (DigestError("the stored blob is another"), Outcome.CRASHED, "digest"),
        (OSError(28, "No space left on device"), Outcome.CRASHED, "store"),
    ],
)
async def test_a_result_that_cannot_be_stored_says_why(device: Device, error: Exception, outcome: Outcome, reason: str):
    device.blobs.fails = [error]
    job = device.job(large, [1 << 20, 1])
    await device.grant(job, 0, 1)
    bad, good = await device.ended(job, 2)
    assert (bad.outcome, bad.reason, bad.payload, bad.blob) == (outcome, reason, b"", b"")
    assert bad.detail
    assert values([good]) == [b"\0"]


class SlowSandbox(PlainSandbox):
    """Its runners come up only when they are let."""

    def __init__(self) -> None:
        self.started: list[SandboxProcess] = []

    async def start(self, spec: SandboxSpec) -> SandboxProcess:
        self.started.append(await super().start(spec))
        self.started[-1].freeze()
        return self.started[-1]


@pytest.fixture
async def slow(runtime: Path, tmp_path: Path):
    async with Device(tmp_path, runtime, sandbox=SlowSandbox()).running() as made:
        yield made


async def test_a_runner_on_its_way_up_is_ended_at_once_and_its_tasks_wait_for_the_next(slow: Device):
    job = slow.job(double, [4])
    await slow.grant(job, 0)
    started = slow.pool._sandbox.started
    await slow.until(lambda: started)
    slow.pool.kill(None)
    ended = await asyncio.wait_for(started[0].wait(), 1.0)
    assert ended.reason == "signal"
    await slow.until(lambda: len(started) == 2)
    started[1].thaw()
    assert values(await slow.ended(job, 1)) == [8]


async def test_a_runner_on_its_way_up_is_frozen_with_the_others(device: Device):
    job = device.job(nap, [0.0])
    device.pool.freeze()
    await device.grant(job, 0)
    await device.until(lambda: device.pool._workers)
    await asyncio.sleep(0.3)
    (worker,) = device.pool._workers
    assert psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED
    assert not device.finished
    device.pool.thaw()
    assert values(await device.ended(job, 1)) == [0.0]


async def test_tasks_of_a_killed_runner_that_are_still_held_run_again(device: Device):
    job = device.job(nap, [60.0, 0.0])
    lost = await device.grant(job, 0)
    await device.grant(job, 1)
    await device.until(lambda: device.session.queue.is_running(job, 0, 0))
    device.session.queue.drop([lost])
    device.pool.kill(frozenset({job}))
    (item,) = await device.ended(job, 1)
    assert (item.index, item.outcome) == (1, Outcome.RESULT)


async def test_code_that_a_runner_sees_outlives_a_hundred_other_jobs(device: Device, monkeypatch):
    monkeypatch.setattr("corpgrid.agent.jobs._KEPT_JOBS", 2)
    first = device.job(double, [1, 2])
    await device.grant(first, 0)
    await device.ended(first, 1)
    seen = (await device.jobs.prepare(first)).code.folder
    for number in range(6):
        other = device.job(eval(f"lambda x: {number}"), [number])
        folder = (await device.pool.prepare(other)).code.folder
    assert seen.is_dir()
    assert folder.is_dir()
    assert len(list((device.folder / "jobs").iterdir())) <= 4
    await device.grant(first, 1)
    assert values(await device.ended(first, 2)) == [2, 4]


async def test_a_spare_that_cannot_be_filled_is_let_go(runtime: Path, tmp_path: Path, monkeypatch):
    async with Device(tmp_path, runtime, spares=1).running() as device:
        keeping = asyncio.create_task(device.pool.keep_spares(lambda: True))
        await device.until(lambda: device.pool._spares)
        (spare,) = device.pool._spares
        job = device.job(double, [1])
        prepared = await device.jobs.prepare(job)

        def no_room(*_args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("corpgrid.agent.runners.write_files", no_room)
        with pytest.raises(OSError, match="No space"):
            await device.pool.start(prepared)
        assert not spare.alive
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
