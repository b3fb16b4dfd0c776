"""Every limit that the operator sets on jobs refuses one more than it allows, by its name, and nothing is stored."""

from __future__ import annotations

from dataclasses import fields

import pytest

from corpgrid.config import LimitsConfig
from corpgrid.domain.ids import Digest
from corpgrid.domain.job import Limits
from corpgrid.errors import LimitError
from corpgrid.scheduler.admission import OF_TASKS
from corpgrid.scheduler.limits import SchedulerLimits
from corpgrid.transport.limits import TransportLimits
from corpgrid.trust.jobspec import verify_job
from corpgrid.trust.limits import MAX_BUNDLE_BYTES
from tests.unit.scheduler.world import World

ASKED = {"job_tasks": 3, "task_attempts": Limits().max_attempts, **{name: getattr(Limits(), name) for name in OF_TASKS}}


@pytest.mark.parametrize("name", ASKED)
async def test_one_more_than_the_limit_is_refused_by_its_name(name: str) -> None:
    async with World(**{name: ASKED[name]}).running() as world:
        assert (await world.scheduler.grid.submit_job(await world.job(3))).tasks == 3
    async with World(**{name: ASKED[name] - 1}).running() as world:
        with pytest.raises(LimitError, match=rf"limits\.{name} allows") as refused:
            await world.scheduler.grid.submit_job(await world.job(3))
        assert f"limits.{name}" in refused.value.remedy
        assert await world.store.jobs() == []


async def test_a_bundle_of_one_byte_more_than_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World().running() as world:
        spec = verify_job(await world.job(1), keyring=world.keyring, now=world.clock.now()).spec
        size = await world.blobs.size(spec.bundle)
    assert size is not None
    async with World(bundle_bytes=size).running() as world:
        await world.scheduler.grid.submit_job(await world.job(1))
    async with World(bundle_bytes=size - 1).running() as world:
        envelope = await world.job(1)
        read: list[object] = []
        get = world.blobs.get

        async def noted(digest: Digest) -> bytes:
            read.append(digest)
            return await get(digest)

        monkeypatch.setattr(world.blobs, "get", noted)
        with pytest.raises(LimitError, match=r"limits\.bundle_bytes allows") as refused:
            await world.scheduler.grid.submit_job(envelope)
        assert "input of the job" in refused.value.remedy
        assert spec.bundle not in read
        assert await world.store.jobs() == []


def test_the_limits_are_those_of_the_configuration() -> None:
    config = LimitsConfig()
    assert {name: getattr(config, name) for name in ASKED} == {name: getattr(SchedulerLimits(), name) for name in ASKED}
    assert config.bundle_bytes == SchedulerLimits().bundle_bytes == MAX_BUNDLE_BYTES
    assert config.connections == TransportLimits().connections
    of_jobs = {item.name for item in fields(Limits)} - {"max_attempts"}
    assert of_jobs == set(OF_TASKS), "what a job may ask for, the operator may limit"
