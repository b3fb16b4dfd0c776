"""Jobs on this device: made once for all who ask at the same time, and asked for again after a failure."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import cloudpickle
import pytest

from corpgrid.domain.ids import Digest
from corpgrid.errors import UnavailableError
from tests.unit.agent.grid_stand_in import Device

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def double(x):
    return 2 * x


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path, tmp_path)


@pytest.fixture
def asked(device: Device, monkeypatch) -> list[Digest]:
    """Every blob that the scheduler is asked for, each after a while."""
    seen: list[Digest] = []
    get_blob = device.blobs.get_blob

    async def slow(name: Digest) -> bytes:
        seen.append(name)
        await asyncio.sleep(0)
        return await get_blob(name)

    monkeypatch.setattr(device.blobs, "get_blob", slow)
    return seen


async def test_whoever_asks_at_the_same_time_shares_the_work(device: Device, asked: list[Digest]):
    job = device.job(double, [1, 2])
    first, *others = await asyncio.gather(*(device.jobs.prepare(job) for _ in range(4)))
    assert all(other is first for other in others)
    assert len(asked) == len(set(asked)) == 2, "the page list and the bundle"
    assert await device.jobs.prepare(job) is first
    assert len(asked) == 2


async def test_jobs_of_one_bundle_share_it_and_wait_for_nothing_else(device: Device, asked: list[Digest]):
    first, second = device.job(double, [1]), device.job(double, [2])
    codes = [prepared.code for prepared in await asyncio.gather(*map(device.jobs.prepare, (first, second)))]
    assert codes[0] is codes[1]
    assert len(asked) == 3


async def test_what_is_at_hand_is_prepared_without_a_turn_of_the_loop(device: Device, asked: list[Digest]):
    await device.jobs.prepare(device.job(double, [1]))
    known = len(asked)
    job = device.job(double, [2])
    device.jobs.learn_blobs(device.blobs.blobs.values())
    preparing = device.jobs.prepare(job)
    with pytest.raises(StopIteration) as ended:
        preparing.send(None)
    assert ended.value.value.job == job
    assert len(asked) == known


async def test_a_failure_is_everyones_and_nobodys_after(device: Device, monkeypatch):
    job = device.job(double, [1])
    with monkeypatch.context() as patched:

        async def away(_name: Digest) -> bytes:
            await asyncio.sleep(0)
            raise UnavailableError("away")

        patched.setattr(device.blobs, "get_blob", away)
        errors = await asyncio.gather(*(device.jobs.prepare(job) for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in errors] == [UnavailableError] * 3
    assert (await device.jobs.prepare(job)).job == job


async def test_one_who_stops_asking_stops_nobody_else(device: Device, asked: list[Digest]):
    job = device.job(double, [1])
    first, second = (asyncio.create_task(device.jobs.prepare(job)) for _ in range(2))
    while not asked:  # noqa: ASYNC110 - one turn of the loop at a time
        await asyncio.sleep(0)
    first.cancel()
    assert (await second).job == job
    assert first.cancelled()


async def test_a_task_that_is_none_of_the_jobs_has_no_arguments(device: Device):
    prepared = await device.jobs.prepare(device.job(double, list(range(250))))
    found = await prepared.items([249, 0, 100, 99])
    assert len(set(found)) == 4
    assert found[1] == b"d\x00"
    for index in (-1, 250):
        with pytest.raises(Exception, match="not one of the job's 250 tasks"):
            await prepared.items([0, index, 1])
