"""What blobs in a bucket promise beyond ``BlobsContract``, on whatever server: large ones, broken ones, addresses."""

from __future__ import annotations

import asyncio
import random
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from corpgrid.blobs import cloud_marks, cloud_url
from corpgrid.blobs.cloud import CloudBlobs
from corpgrid.blobs.cloud_bucket import PART_BYTES
from corpgrid.blobs.cloud_marks import Marks, sharded
from corpgrid.domain.ids import Digest
from corpgrid.errors import ConfigError, ConflictError, DigestError, NotFoundError, StoreError, UnavailableError
from corpgrid.trust.digest import digest
from tests.contracts.blobs import Age, BlobsContract, digests, some_bytes, stream
from tests.contracts.s3 import AgingBucket, S3Server, aging_blobs, credentials

LARGE = 2 * PART_BYTES + 12_345
Made = tuple[CloudBlobs, AgingBucket]


class CloudContract(BlobsContract):
    """The suite; a subclass provides the fixture ``s3``."""

    @pytest.fixture
    async def made(self, s3: S3Server, tmp_path: Path) -> Made:
        return await aging_blobs(s3, tmp_path / "spool")

    @pytest.fixture
    def blobs(self, made: Made) -> CloudBlobs:
        return made[0]

    @pytest.fixture
    def bucket(self, made: Made) -> AgingBucket:
        return made[1]

    @pytest.fixture
    def age(self, made: Made) -> Age:
        return made[1].age

    # -- large ones

    @pytest.mark.parametrize("way", ["put", "put_file", "put_stream", "named stream"])
    async def test_a_large_blob_goes_in_parts(self, blobs: CloudBlobs, tmp_path: Path, way: str) -> None:
        content = some_bytes(LARGE)
        (tmp_path / "source").write_bytes(content)
        pieces = [content[start : start + (1 << 20)] for start in range(0, LARGE, 1 << 20)]
        name = {
            "put": lambda: blobs.put(content),
            "put_file": lambda: blobs.put_file(tmp_path / "source"),
            "put_stream": lambda: blobs.put_stream(stream(pieces)),
            "named stream": lambda: blobs.put_stream(stream(pieces), expected=digest(content)),
        }[way]
        assert await name() == digest(content)
        assert await blobs.get(digest(content)) == content
        await blobs.fetch(digest(content), tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == content
        for offset in (1, PART_BYTES, PART_BYTES + 1, LARGE - 1, LARGE, LARGE + 1):
            chunks = [chunk async for chunk in blobs.open(digest(content), offset=offset)]
            assert b"".join(chunks) == content[offset:]
        assert not list((tmp_path / "spool").iterdir())

    @pytest.mark.parametrize("size", [100, LARGE])
    async def test_a_large_stream_of_other_bytes_leaves_nothing(
        self, blobs: CloudBlobs, bucket: AgingBucket, s3: S3Server, size: int
    ) -> None:
        with pytest.raises(DigestError):
            await blobs.put_stream(stream([some_bytes(size)]), expected=digest(b"expected"))
        assert await keys(bucket, "blobs/") == []
        assert s3.unfinished(bucket) == []

    async def test_a_large_stream_that_is_cancelled_leaves_nothing(
        self, blobs: CloudBlobs, bucket: AgingBucket, s3: S3Server
    ) -> None:
        sent = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(4):
                yield bytes(PART_BYTES)
            sent.set()
            await asyncio.Event().wait()
            yield b""

        putting = asyncio.create_task(blobs.put_stream(endless(), expected=digest(b"expected")))
        await sent.wait()
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        assert await keys(bucket, "blobs/") == []
        assert s3.unfinished(bucket) == []

    async def test_many_are_looked_for_at_once(self, blobs: CloudBlobs) -> None:
        here = [await blobs.put(f"{number}".encode()) for number in range(20)]
        away = [digest(f"{number}".encode()) for number in range(20, 120)]
        asked = [*here, *away]
        random.Random(1).shuffle(asked)
        assert await blobs.missing(asked) == [name for name in asked if name in set(away)]

    # -- damage

    @pytest.mark.parametrize("size", [1_000, LARGE])
    async def test_a_damaged_blob_is_set_aside_and_can_be_put_again(
        self, blobs: CloudBlobs, bucket: AgingBucket, tmp_path: Path, size: int
    ) -> None:
        content = some_bytes(size)
        name = await blobs.put(content)

        async def damage() -> None:
            other = b"x" + content[1:]
            await bucket.put_parts(sharded("blobs", name), stream([other]))

        async def opened() -> None:
            async for chunk in blobs.open(name):
                assert chunk != content[-len(chunk) :] or size > PART_BYTES, "the last chunk is held back"

        for read in (lambda: blobs.get(name), lambda: blobs.fetch(name, tmp_path / "target"), opened):
            await damage()
            with pytest.raises(DigestError, match="damaged/"):
                await read()
            assert await blobs.size(name) is None
            assert await keys(bucket, "damaged/") == [f"damaged/{name.hex()}"]
            assert await blobs.put(content) == name
            assert await blobs.get(name) == content
        assert not (tmp_path / "target").exists()

    async def test_what_only_broke_on_the_way_stays(
        self, blobs: CloudBlobs, bucket: AgingBucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = await blobs.put(b"content")
        whole, broken = bucket.read, [b"c0ntent"]

        async def read(key: str, start: int = 0, **more: Any) -> tuple[bytes, int]:
            content, size_bytes = await whole(key, start, **more)
            return (broken.pop(), size_bytes) if broken else (content, size_bytes)

        monkeypatch.setattr(bucket, "read", read)
        with pytest.raises(UnavailableError, match="on its way"):
            await blobs.get(name)
        assert await blobs.get(name) == b"content"

    # -- collection against those who put

    async def test_who_is_told_that_a_blob_is_here_finds_it_whatever_a_collection_does(
        self, blobs: CloudBlobs, bucket: AgingBucket, age: Age, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the collection's last look and its deletion: who comes then waits, and is told that it is gone."""
        name = await blobs.put(b"old")
        age(name, 100.0)
        told: list[asyncio.Task[list[Digest]]] = []
        delete = bucket.delete

        async def slow(gone: list[str]) -> None:
            if gone == [sharded("blobs", name)]:
                told.append(asyncio.create_task(blobs.missing([name])))
                while not await keys(bucket, sharded("touched", name) + "/"):  # noqa: ASYNC110 - in the store
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)
                assert not told[0].done()
            await delete(gone)

        await clear_touches(bucket)
        monkeypatch.setattr(bucket, "delete", slow)
        assert await blobs.collect(digests(), older_than_seconds=50.0) == 1
        assert await told[0] == [name]

    async def test_who_touches_before_the_collection_looks_keeps_it(
        self, blobs: CloudBlobs, bucket: AgingBucket, age: Age, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = await blobs.put(b"old")
        age(name, 100.0)
        put = bucket.put

        async def late(key: str, content: bytes) -> None:
            if key.startswith("condemned/"):
                assert await blobs.missing([name]) == []
            await put(key, content)

        monkeypatch.setattr(bucket, "put", late)
        assert await blobs.collect(digests(), older_than_seconds=50.0) == 0
        assert await blobs.get(name) == b"old"

    async def test_what_a_dead_collection_left_does_not_hold_anybody_up_for_ever(
        self, blobs: CloudBlobs, bucket: AgingBucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = digest(b"content")
        await bucket.put(sharded("condemned", name) + "/dead", b"")
        monkeypatch.setattr(cloud_marks, "_PATIENCE_SECONDS", 0.2)
        with pytest.raises(UnavailableError, match="being deleted"):
            await blobs.put(b"content")
        bucket.age(name, 1_000.0)
        assert await blobs.put(b"content") == name
        assert await keys(bucket, "condemned/") == []

    async def test_old_touches_are_swept(self, blobs: CloudBlobs, bucket: AgingBucket, age: Age) -> None:
        names = [await blobs.put(b"one"), await blobs.put(b"two")]
        age(names[0], 10_000.0)
        await Marks(bucket).sweep(put_before=await Marks(bucket).now())
        (left,) = await keys(bucket, "touched/")
        assert names[1].hex() in left

    async def test_a_collection_goes_on_where_the_last_one_ended(
        self, blobs: CloudBlobs, age: Age, bucket: AgingBucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [await blobs.put(f"{number}".encode()) for number in range(7)]
        for name in names:
            age(name, 100.0)
        monkeypatch.setattr("corpgrid.blobs.cloud._CANDIDATES", 1)
        monkeypatch.setattr("corpgrid.blobs.cloud_bucket._PAGE_KEYS", 3)
        counts = [await blobs.collect(digests(), older_than_seconds=50.0) for _ in range(4)]
        assert sum(counts) == 7
        assert max(counts) == 3
        assert await keys(bucket, "blobs/") == []

    # -- addresses

    async def test_a_blob_can_be_read_and_written_at_its_address_by_whoever_holds_it(self, blobs: CloudBlobs) -> None:
        name = digest(b"content")
        upload = await blobs.upload_url(name, ttl_seconds=60)
        await asyncio.to_thread(send, upload, b"content")
        assert await blobs.get(name) == b"content"
        download = await blobs.download_url(name, ttl_seconds=60)
        assert await asyncio.to_thread(load, download) == b"content"
        with pytest.raises(ConflictError, match="already"):
            await blobs.upload_url(name, ttl_seconds=60)

    async def test_a_blob_whose_address_was_asked_for_counts_as_put(self, blobs: CloudBlobs, age: Age) -> None:
        name = await blobs.put(b"old")
        age(name, 100.0)
        with pytest.raises(ConflictError):
            await blobs.upload_url(name, ttl_seconds=60)
        assert await blobs.collect(digests(), older_than_seconds=50.0) == 0

    # -- what is wrong with the place

    async def test_a_bucket_that_is_not_there_is_named_at_the_start(self, s3: S3Server, tmp_path: Path) -> None:
        place = cloud_url.parse(f"s3://nobodys-bucket?endpoint={s3.endpoint}&allow_http=true")
        with credentials(s3), pytest.raises(StoreError, match="s3://nobodys-bucket does not exist") as failed:
            await CloudBlobs.at(place, tmp_path / "spool")
        assert "Create the bucket" in failed.value.remedy

    async def test_a_bucket_that_vanishes_is_no_missing_blob(
        self, blobs: CloudBlobs, bucket: AgingBucket, s3: S3Server
    ) -> None:
        name = await blobs.put(b"content")
        s3.remove(bucket)
        for attempt in (blobs.get(name), blobs.put(b"other"), blobs.collect(digests(), older_than_seconds=1.0)):
            with pytest.raises(StoreError, match="does not exist"):
                await attempt

    async def test_a_good_place_is_opened_and_holds_what_was_put(self, s3: S3Server, tmp_path: Path) -> None:
        url = s3.new_bucket()
        with credentials(s3):
            one, two = [await CloudBlobs.at(cloud_url.parse(url), tmp_path / "spool") for _ in range(2)]
        assert await two.get(await one.put(b"content")) == b"content"
        other = url.replace("some/where", "else/where")
        with credentials(s3):
            elsewhere = await CloudBlobs.at(cloud_url.parse(other), tmp_path / "spool")
        with pytest.raises(NotFoundError):
            await elsewhere.get(digest(b"content"))

    async def test_what_a_later_version_wrote_is_left_alone(
        self, s3: S3Server, bucket: AgingBucket, tmp_path: Path
    ) -> None:
        await bucket.put("format", b"corpgrid.blobs/2\n")
        with credentials(s3), pytest.raises(ConfigError, match="does not know"):
            await CloudBlobs.at(bucket.place, tmp_path / "spool")
        assert (await bucket.read("format"))[0] == b"corpgrid.blobs/2\n"


async def keys(bucket: AgingBucket, prefix: str) -> list[str]:
    return sorted([entry.key async for page in bucket.list(prefix) for entry in page])


async def clear_touches(bucket: AgingBucket) -> None:
    await bucket.delete(await keys(bucket, "touched/"))


def send(url: str, content: bytes) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    with urllib.request.urlopen(urllib.request.Request(url, data=content, headers=headers, method="PUT"), timeout=10):
        pass


def load(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        content: bytes = answer.read()
    return content
