"""Who puts a blob, or is told that it is here, has it for the grace time, whatever order requests come in by chance.

The store of these tests does each request at one moment, as stores promise, and lets others go first as chance has it.
That is the one thing which a real server cannot be made to do; all else about servers is tested on real ones.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from corpgrid.blobs import cloud_marks
from corpgrid.blobs.cloud import CloudBlobs
from corpgrid.blobs.cloud_bucket import Bucket, Entry
from corpgrid.domain.ids import Digest
from corpgrid.trust.digest import digest
from tests.contracts.blobs import digests

GRACE_SECONDS = 3.0
CONTENTS = [b"one", b"two"]


class ChanceBucket(Bucket):
    """Requests that overtake each other."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.now = 1_000.0
        self.objects: dict[str, Entry] = {}

    async def put(self, key: str, content: bytes) -> None:
        await self._others()
        self.objects[key] = Entry(key, len(content), float(int(self.now)), str(content))
        await self._others()

    async def head(self, key: str) -> Entry | None:
        await self._others()
        found = self.objects.get(key)
        await self._others()
        return found

    async def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[list[Entry]]:
        await self._others()
        found = [entry for key, entry in sorted(self.objects.items()) if key.startswith(prefix)]
        await self._others()
        yield found

    async def delete(self, keys: Sequence[str]) -> None:
        await self._others()
        for key in keys:
            self.objects.pop(key, None)
        await self._others()

    async def _others(self) -> None:
        for _ in range(self._rng.choice((0, 0, 1, 2, 5, 15))):
            await asyncio.sleep(0)


class Story:
    """People who put and ask, and two collections that never rest."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.bucket = ChanceBucket(self.rng)
        self.collected = 0
        self.over = False

    async def run(self) -> None:
        background = [asyncio.ensure_future(work()) for work in (self.time_passes, self.collect, self.collect)]
        try:
            await asyncio.gather(*(self.person() for _ in range(3)))
        finally:
            self.over = True
            await asyncio.gather(*background)
        assert not [key for key in self.bucket.objects if key.startswith("condemned/")]

    async def time_passes(self) -> None:
        while not self.over:
            self.bucket.now += 0.02
            await asyncio.sleep(0)

    async def collect(self) -> None:
        blobs = CloudBlobs(self.bucket, Path())
        while not self.over:
            self.collected += await blobs.collect(digests(), older_than_seconds=GRACE_SECONDS)

    async def person(self) -> None:
        blobs = CloudBlobs(self.bucket, Path())
        for _ in range(12):
            content, asked_at = self.rng.choice(CONTENTS), self.bucket.now
            if self.rng.random() < 0.5:
                await blobs.put(content)
                await self.stays(digest(content), asked_at + GRACE_SECONDS)
            elif not await blobs.missing([digest(content)]):
                await self.stays(digest(content), asked_at + GRACE_SECONDS)
            leave = self.bucket.now + self.rng.uniform(0, 3 * GRACE_SECONDS)
            while self.bucket.now < leave:  # noqa: ASYNC110 - time of the story
                await asyncio.sleep(0)

    async def stays(self, name: Digest, until: float) -> None:
        place = cloud_marks.sharded("blobs", name)
        assert place in self.bucket.objects, f"it was not there when they said so, seed {self.seed}"
        while self.bucket.now < until:
            assert place in self.bucket.objects, f"it did not stay, seed {self.seed}"
            await asyncio.sleep(0)


@pytest.mark.parametrize("first", range(0, 60, 20))
async def test_no_promise_is_broken(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    monkeypatch.setattr(cloud_marks, "_LOOK_SECONDS", 0)
    stories = [Story(seed) for seed in range(first, first + 20)]
    for story in stories:
        await story.run()
    assert sum(story.collected for story in stories) > 20, "there was something to collect"
