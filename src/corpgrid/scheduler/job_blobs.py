"""Blobs as everybody sees them who asks this scheduler: those that are stored, and the small ones in jobs' rows.

A small job's page list and pages are its alone.  They come with its submission and are committed with it, in its rows:
that is one write in place of three, and no object in a store for each handful of bytes.  Whoever asks for a blob need
not know where it stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from corpgrid.domain.ids import Digest
from corpgrid.domain.job import JobSpec
from corpgrid.errors import NotFoundError, StaleError
from corpgrid.ports.blobs import Blobs
from corpgrid.ports.store import Store
from corpgrid.scheduler.counters import Counters
from corpgrid.trust.digest import require
from corpgrid.trust.jobspec import check_page_list

ATTACHED_BYTES = 64 << 10


def split(spec: JobSpec, given: Mapping[Digest, bytes]) -> tuple[dict[Digest, bytes], list[bytes]]:
    """What came with a job: what goes into its rows, and what is to be stored.

    Raises:
        DigestError: its page list is not the one that it binds.
    """
    page_list = given.get(spec.arguments.pages)
    own = [] if page_list is None else [spec.arguments.pages, *check_page_list(spec.arguments, page_list)]
    attached: dict[Digest, bytes] = {}
    room = ATTACHED_BYTES
    for name in own:
        content = given.get(name)
        if content is not None and name not in attached and len(content) <= room:
            attached[name] = content
            room -= len(content)
    return attached, [content for name, content in given.items() if name not in attached]


class JobBlobs:
    """``Blobs`` over a blob store and the rows of a store.

    Args:
        blobs: where blobs are put, and looked for first.
        store: where jobs have theirs.
        counters: what is counted.
    """

    def __init__(self, blobs: Blobs, store: Store, counters: Counters | None = None) -> None:
        self._blobs = blobs
        self._store = store
        self._counters = counters if counters is not None else Counters()

    async def put(self, content: bytes) -> Digest:
        """Store bytes."""
        return await self._blobs.put(content)

    async def put_file(self, path: Path) -> Digest:
        """Store a file."""
        return await self._blobs.put_file(path)

    async def put_stream(self, chunks: AsyncIterator[bytes], *, expected: Digest | None = None) -> Digest:
        """Store a stream."""
        return await self._blobs.put_stream(self._counted(chunks), expected=expected)

    async def get(self, digest: Digest) -> bytes:
        """All bytes."""
        try:
            return await self._blobs.get(digest)
        except NotFoundError as error:
            return await self._attached(digest, error)

    async def open(self, digest: Digest, *, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes from ``offset`` in chunks."""
        try:
            async for chunk in self._blobs.open(digest, offset=offset):
                self._counters.blob_bytes_out += len(chunk)
                yield chunk
        except NotFoundError as error:
            content = await self._attached(digest, error)
            if content[offset:]:
                yield content[offset:]

    async def fetch(self, digest: Digest, target: Path) -> None:
        """Write the bytes to a new file."""
        try:
            await self._blobs.fetch(digest, target)
        except NotFoundError as error:
            content = await self._attached(digest, error)
            await asyncio.to_thread(target.write_bytes, content)

    async def missing(self, digests: Sequence[Digest]) -> list[Digest]:
        """Those that are not stored; what stands in another job's rows is not stored, for it goes with that job."""
        return await self._blobs.missing(digests)

    async def size(self, digest: Digest) -> int | None:
        """Bytes, or None if it is nowhere."""
        size_bytes = await self._blobs.size(digest)
        if size_bytes is None:
            content = await self._store.attached(digest)
            size_bytes = len(content) if content is not None else None
        return size_bytes

    async def download_url(self, digest: Digest, *, ttl_seconds: float) -> str | None:
        """An address of a stored blob; one in a job's rows is not found there, and is then asked for here."""
        url = await self._blobs.download_url(digest, ttl_seconds=ttl_seconds)
        self._counters.blobs_located += url is not None
        return url

    async def upload_url(self, digest: Digest, *, ttl_seconds: float) -> str | None:
        """An address to which a blob can be written."""
        url = await self._blobs.upload_url(digest, ttl_seconds=ttl_seconds)
        self._counters.blobs_located += url is not None
        return url

    async def collect(self, referenced: AsyncIterator[Digest], *, older_than_seconds: float) -> int:
        """Delete stored blobs that nothing references; only for the scheduler that leads."""
        return await self._blobs.collect(self._led(referenced), older_than_seconds=older_than_seconds)

    async def _led(self, referenced: AsyncIterator[Digest]) -> AsyncIterator[Digest]:
        """What is referenced; whoever slept over the reading of it deletes nothing.

        Raises:
            StaleError: another scheduler leads by now.
        """
        async for digest in referenced:
            yield digest
        if not await self._store.lead():
            raise StaleError("another scheduler leads now", remedy="Nothing is amiss: it goes on with this.")

    async def _counted(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            self._counters.blob_bytes_in += len(chunk)
            yield chunk

    async def _attached(self, digest: Digest, nowhere: NotFoundError) -> bytes:
        content = await self._store.attached(digest)
        if content is None:
            raise nowhere
        require(digest, content, what="the blob in a job's rows")
        return content
