"""Blobs in a dictionary: the simulator's, and the reference."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from corpgrid.blobs.lost import gone
from corpgrid.domain.ids import Digest
from corpgrid.ports.host import Clock
from corpgrid.trust.digest import digest as digest_of
from corpgrid.trust.digest import require_digest

_CHUNK_BYTES = 1 << 20


class MemoryBlobs:
    """``Blobs`` in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._contents: dict[Digest, bytes] = {}
        self._put_at: dict[Digest, float] = {}

    async def put(self, content: bytes) -> Digest:
        """Store bytes."""
        digest = digest_of(content)
        self._contents[digest] = bytes(content)
        self._put_at[digest] = self._clock.now()
        return digest

    async def put_file(self, path: Path) -> Digest:
        """Store a file's bytes."""
        return await self.put(await asyncio.to_thread(path.read_bytes))

    async def put_stream(self, chunks: AsyncIterator[bytes], *, expected: Digest | None = None) -> Digest:
        """Store a stream."""
        content = b"".join([chunk async for chunk in chunks])
        if expected is not None:
            require_digest(expected, digest_of(content), what="the stream")
        return await self.put(content)

    async def get(self, digest: Digest) -> bytes:
        """All bytes."""
        content = self._contents.get(digest)
        if content is None:
            raise gone(digest, "memory")
        return content

    async def open(self, digest: Digest, *, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes from ``offset`` in chunks."""
        content = await self.get(digest)
        for start in range(offset, len(content), _CHUNK_BYTES):
            yield content[start : start + _CHUNK_BYTES]

    async def fetch(self, digest: Digest, target: Path) -> None:
        """Write the bytes to a new file; an old one of that name is replaced."""
        await asyncio.to_thread(target.write_bytes, await self.get(digest))

    async def missing(self, digests: Sequence[Digest]) -> list[Digest]:
        """Those of ``digests`` that are not here; the others count as put now."""
        now = self._clock.now()
        self._put_at.update((digest, now) for digest in digests if digest in self._contents)
        return [digest for digest in digests if digest not in self._contents]

    async def size(self, digest: Digest) -> int | None:
        """Bytes, or None if it is not here."""
        content = self._contents.get(digest)
        return None if content is None else len(content)

    async def download_url(self, digest: Digest, *, ttl_seconds: float) -> str | None:  # noqa: ARG002 - the port's
        """None: only this process sees them."""
        return None

    async def upload_url(self, digest: Digest, *, ttl_seconds: float) -> str | None:  # noqa: ARG002 - the port's
        """None, likewise."""
        return None

    async def collect(self, referenced: AsyncIterator[Digest], *, older_than_seconds: float) -> int:
        """Delete blobs that nothing references and that are older than the grace time; how many."""
        limit = self._clock.now() - older_than_seconds
        kept = {digest async for digest in referenced}
        gone = [digest for digest, at in self._put_at.items() if at < limit and digest not in kept]
        for digest in gone:
            del self._contents[digest], self._put_at[digest]
        return len(gone)
