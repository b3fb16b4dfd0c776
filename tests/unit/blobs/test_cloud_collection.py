"""The scheduler's collection by reference, over blobs in a bucket."""

from __future__ import annotations

from pathlib import Path

from corpgrid.domain.ids import Digest
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import verify_job
from tests.contracts.cloud import keys
from tests.contracts.s3 import S3Server, aging_blobs
from tests.unit.scheduler.test_reaper import reaper
from tests.unit.scheduler.world import World

LONG_AGO_SECONDS = 1e6


async def test_a_running_job_keeps_its_blobs_and_an_ended_one_lets_them_go(s3: S3Server, tmp_path: Path) -> None:
    blobs, bucket = await aging_blobs(s3, tmp_path / "spool")
    world = World()
    world.blobs = blobs  # type: ignore[assignment]
    world.scheduler = world.make()
    async with world.running():
        envelope = await world.job(250, inputs={"data.bin": await blobs.put(b"input")})
        spec = verify_job(envelope, keyring=world.keyring, now=world.clock.now()).spec
        page_list = await blobs.get(spec.arguments.pages)
        job = await world.scheduler.grid.submit_job(envelope)
        young, old = await blobs.put(b"young garbage"), await blobs.put(b"garbage")
        needed = {spec.bundle, spec.arguments.pages, digest(b"input"), digest(b"a wheel")}
        needed |= {Digest(page_list[start : start + 32]) for start in range(0, len(page_list), 32)}
        for name in (*needed, old):
            bucket.age(name, LONG_AGO_SECONDS)
        await reaper(world).collect()
        left = {key.rpartition("/")[2] for key in await keys(bucket, "blobs/")}
        assert left == {name.hex() for name in (*needed, young)}
        assert not [key for key in await keys(bucket, "touched/") if key.split("/")[2] != young.hex()]
        await world.scheduler.grid.cancel_job(job.id)
        await reaper(world).collect()
        assert await blobs.missing([digest(b"a wheel")]) == [digest(b"a wheel")]
        assert await blobs.missing([young]) == []
