"""What every blob store promises, written once.

To run it on a store of your own, give it a fixture ``blobs`` (open and empty) and a fixture ``age`` that makes one blob
appear to have been put so many seconds earlier:

    class TestMyBlobs(BlobsContract):
        @pytest.fixture
        async def blobs(self): ...

        @pytest.fixture
        def age(self, blobs): ...
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest

from corpgrid.domain.ids import Digest
from corpgrid.errors import DigestError, NotFoundError
from corpgrid.ports.blobs import Blobs
from corpgrid.trust.digest import digest

Age = Callable[[Digest, float], None]

SIZES = [0, 1, 1_000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 7]


def some_bytes(size: int, *, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


async def stream(items: Iterable[bytes]) -> AsyncIterator[bytes]:
    for item in items:
        yield item


async def digests(*items: Digest) -> AsyncIterator[Digest]:
    for item in items:
        yield item


class BlobsContract:
    """All promises."""

    @pytest.mark.parametrize("size", SIZES)
    async def test_what_was_put_is_read_back(self, blobs: Blobs, tmp_path: Path, size: int) -> None:
        content = some_bytes(size)
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(content)
        pieces = [content[start : start + 300_001] for start in range(0, size, 300_001)]
        assert await blobs.put(content) == digest(content)
        assert await blobs.put_file(source) == digest(content)
        assert await blobs.put_stream(stream(pieces), expected=digest(content)) == digest(content)
        assert await blobs.get(digest(content)) == content
        assert await blobs.size(digest(content)) == size
        await blobs.fetch(digest(content), target)
        assert target.read_bytes() == content
        assert source.read_bytes() == content

    @pytest.mark.parametrize("way", ["put", "put_file", "put_stream"])
    @pytest.mark.parametrize("size", [5, 2 << 20])
    async def test_each_way_stores_alone(self, blobs: Blobs, tmp_path: Path, way: str, size: int) -> None:
        content = some_bytes(size)
        (tmp_path / "source").write_bytes(content)
        given = {"put": content, "put_file": tmp_path / "source", "put_stream": stream([content])}
        name = await getattr(blobs, way)(given[way])
        assert await blobs.get(name) == content

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("offset", [0, 1, 1 << 20, (1 << 20) + 1])
    async def test_a_stream_starts_where_it_is_asked_to(self, blobs: Blobs, size: int, offset: int) -> None:
        content = some_bytes(size)
        name = await blobs.put(content)
        chunks = [chunk async for chunk in blobs.open(name, offset=offset)]
        assert b"".join(chunks) == content[offset:]
        assert all(chunks)

    async def test_what_is_not_here_is_not_found(self, blobs: Blobs, tmp_path: Path) -> None:
        name = digest(b"nothing")
        assert await blobs.size(name) is None
        for attempt in (blobs.get(name), blobs.fetch(name, tmp_path / "x"), anext(blobs.open(name))):
            with pytest.raises(NotFoundError):
                await attempt
        assert not (tmp_path / "x").exists()

    async def test_missing_names_those_that_are_not_here(self, blobs: Blobs) -> None:
        here = [await blobs.put(b"one"), await blobs.put(b"two")]
        away = [digest(b"three"), digest(b"four")]
        assert await blobs.missing([away[0], here[0], away[1], here[1]]) == away
        assert await blobs.missing([]) == []

    async def test_a_stream_of_other_bytes_is_refused_and_not_kept(self, blobs: Blobs) -> None:
        with pytest.raises(DigestError):
            await blobs.put_stream(stream([b"other", b"bytes"]), expected=digest(b"expected"))
        assert await blobs.missing([digest(b"otherbytes"), digest(b"expected")]) == [
            digest(b"otherbytes"),
            digest(b"expected"),
        ]

    async def test_a_stream_that_breaks_off_leaves_nothing(self, blobs: Blobs) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield some_bytes(2 << 20)
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await blobs.put_stream(broken())
        assert await blobs.size(digest(some_bytes(2 << 20))) is None

    @pytest.mark.parametrize("size", [100, 2 << 20])
    async def test_many_may_put_the_same_at_once(self, blobs: Blobs, tmp_path: Path, size: int) -> None:
        content = some_bytes(size)
        (tmp_path / "source").write_bytes(content)
        puts = [blobs.put(content) for _ in range(6)]
        puts += [blobs.put_stream(stream([content])) for _ in range(3)]
        puts += [blobs.put_file(tmp_path / "source") for _ in range(3)]
        assert set(await asyncio.gather(*puts)) == {digest(content)}
        assert await blobs.get(digest(content)) == content

    async def test_collection_keeps_what_is_referenced_and_what_is_young(self, blobs: Blobs, age: Age) -> None:
        names = [await blobs.put(f"{number}".encode()) for number in range(5)]
        for name in names[:4]:
            age(name, 100.0)
        assert await blobs.collect(digests(names[0], digest(b"elsewhere")), older_than_seconds=1_000.0) == 0
        assert await blobs.collect(digests(names[0], digest(b"elsewhere")), older_than_seconds=50.0) == 3
        assert await blobs.missing(names) == names[1:4]
        assert await blobs.collect(digests(), older_than_seconds=50.0) == 0, "missing() had made it young again"

    @pytest.mark.parametrize("way", ["put", "put_file", "put_stream", "missing"])
    @pytest.mark.parametrize("size", [5, 2 << 20])
    async def test_a_blob_that_is_put_again_is_young(
        self, blobs: Blobs, age: Age, tmp_path: Path, way: str, size: int
    ) -> None:
        content = some_bytes(size)
        (tmp_path / "source").write_bytes(content)
        name = await blobs.put(content)
        age(name, 100.0)
        given = {"put": content, "put_file": tmp_path / "source", "put_stream": stream([content]), "missing": [name]}
        await getattr(blobs, way)(given[way])
        assert await blobs.collect(digests(), older_than_seconds=50.0) == 0
        assert await blobs.get(name) == content

    async def test_a_blob_that_is_put_while_collection_looks_is_kept(self, blobs: Blobs, age: Age) -> None:
        name = await blobs.put(b"old")
        age(name, 100.0)

        async def referenced() -> AsyncIterator[Digest]:
            await blobs.put(b"old")
            yield digest(b"another")

        assert await blobs.collect(referenced(), older_than_seconds=50.0) == 0
        assert await blobs.get(name) == b"old"

    async def test_a_collected_blob_can_be_put_again(self, blobs: Blobs, age: Age) -> None:
        name = await blobs.put(b"again")
        age(name, 100.0)
        assert await blobs.collect(digests(), older_than_seconds=50.0) == 1
        assert await blobs.put(b"again") == name
        assert await blobs.get(name) == b"again"
