"""Blobs in a bucket of an object store: S3 and what speaks like it, Google Cloud Storage, Azure.

* A blob stands at ``blobs/ab/<digest>``.  Its name is its content, so writing it again does no harm, and nothing hangs
  on conditional writes, which not every store keeps.
* What is read is read in windows of ``PART_BYTES``, each a request that can be tried again; of a large blob no more
  than a few windows are in memory.  Only ``get`` holds all of one, because that is what it is asked for.
* A stream whose digest is known goes straight to its place, and is aborted if it was another.  One whose digest is not
  known is spooled to a local file first: in the bucket nothing ever stands under a name that is not its own.
* Damage is looked at twice, because bytes break on the way, too; then the object is moved to ``damaged/``.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import BinaryIO

from corpgrid.blobs.cloud_bucket import PART_BYTES, Bucket, Entry
from corpgrid.blobs.cloud_marks import Marks, sharded
from corpgrid.blobs.cloud_streams import begin, checked, chunks_of, digest_of_file, few_at_once, pieces, take
from corpgrid.blobs.cloud_url import CloudPlace
from corpgrid.blobs.lost import damaged, gone
from corpgrid.domain.ids import DIGEST_BYTES, Digest, digest_text
from corpgrid.errors import (
    ConfigError,
    ConflictError,
    CorpGridError,
    StoreError,
    UnavailableError,
)
from corpgrid.trust.digest import Hasher, equal, require_digest
from corpgrid.trust.digest import digest as digest_of

log = logging.getLogger(__name__)

_LOOK_FIRST_BYTES = 1 << 20
"""Above this it is cheaper to ask whether a blob is here than to send it."""
_CANDIDATES = 1_000_000
"""Old blobs that one collection looks at; the next goes on where it ended."""
_DELETE_WITHIN_SECONDS = 30.0
_CLOCK_GRAIN_SECONDS = 1.0
_FORMAT = "format"
_FORMAT_CONTENT = b"corpgrid.blobs/1\n"
_OWNER = "grid"
_BLOBS = "blobs"


def _key(digest: Digest) -> str:
    assert len(digest) == DIGEST_BYTES, digest
    return sharded(_BLOBS, digest)


class CloudBlobs:
    """``Blobs`` in a bucket; made by ``at``.

    Args:
        bucket: where they stand.
        spool: a folder on a local disk, for streams whose digest is not known before their end.
        grid: the id of the grid whose blobs they are; empty for any.
    """

    def __init__(self, bucket: Bucket, spool: Path, *, grid: str = "") -> None:
        self._bucket = bucket
        self._grid = grid
        self._marks = Marks(bucket)
        self._spool = spool
        self._collected_to: str | None = None

    @classmethod
    async def at(cls, place: CloudPlace, spool: Path, *, grid: str = "") -> CloudBlobs:
        """The blobs in a bucket, which must be there; that it can be written, read and listed is tried at once.

        Raises:
            ConfigError: the library for object stores is not installed, or what stands there is another grid's or was
                written by a later version.
            StoreError: the bucket cannot be used, and this is why.
            UnavailableError: nobody answers.
        """
        bucket = Bucket(place)
        await _require_known(bucket)
        await _require_own(bucket, grid, take=True)
        await bucket.put(_FORMAT, _FORMAT_CONTENT)
        await anext(bucket.list(_BLOBS + "/"), None)
        await asyncio.to_thread(spool.mkdir, mode=0o700, parents=True, exist_ok=True)
        return cls(bucket, spool, grid=grid)

    @classmethod
    async def check(cls, place: CloudPlace, *, grid: str = "") -> float:
        """Raise what ``at`` would, but take no bucket that is nobody's; what the store's clock shows."""
        bucket = Bucket(place)
        await _require_known(bucket)
        await _require_own(bucket, grid)
        await anext(bucket.list(_BLOBS + "/"), None)
        return await Marks(bucket).now()

    async def put(self, content: bytes) -> Digest:
        """Store bytes; storing many of them again sends nothing."""
        digest = digest_of(content) if len(content) <= PART_BYTES else await asyncio.to_thread(digest_of, content)
        await self._marks.hold(digest)
        if await self._is_here(digest, len(content)):
            return digest
        if len(content) <= PART_BYTES:
            await self._bucket.put(_key(digest), content)
        else:
            await self._bucket.put_parts(_key(digest), pieces(content), size_bytes=len(content))
        return digest

    async def put_file(self, path: Path) -> Digest:
        """Store a file's bytes without reading it whole into memory."""
        try:
            file = await asyncio.to_thread(path.open, "rb")
        except OSError as error:
            raise StoreError(
                f"{path} cannot be stored: {error.strerror or error}", remedy="Name a file that this user may read."
            ) from error
        try:
            return await self._put_open(file)
        finally:
            await asyncio.to_thread(file.close)

    async def put_stream(self, chunks: AsyncIterator[bytes], *, expected: Digest | None = None) -> Digest:
        """Store a stream."""
        start, rest = await begin(chunks)
        if rest is None:
            if expected is not None:
                require_digest(expected, digest_of(start), what="the stream")
            return await self.put(start)
        if expected is None:
            return await self._put_spooled(start, rest)
        await self._marks.hold(expected)
        await self._bucket.put_parts(_key(expected), checked(start, rest, expected))
        return expected

    async def get(self, digest: Digest) -> bytes:
        """All bytes, verified."""
        parts = [part async for part in self._windows(digest)]
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        got = digest_of(content) if len(content) <= PART_BYTES else await asyncio.to_thread(digest_of, content)
        await self._require(digest, got)
        return content

    async def open(self, digest: Digest, *, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes from ``offset`` in chunks; from 0, the last chunk is only given once the whole was verified."""
        hasher, held = Hasher(), b""
        async with aclosing(self._windows(digest, offset)) as windows:
            async for window in windows:
                if not offset:
                    await asyncio.to_thread(hasher.update, window)
                if held:
                    yield held
                held = window
        if not offset:
            await self._require(digest, hasher.digest())
        if held:
            yield held

    async def fetch(self, digest: Digest, target: Path) -> None:
        """Write the verified bytes to a new file; an old one of that name is replaced."""
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        hasher = Hasher()
        try:
            with await asyncio.to_thread(part.open, "xb") as file:
                async for window in self._windows(digest):
                    await asyncio.to_thread(take, file, hasher, window)
            await self._require(digest, hasher.digest())
            await asyncio.to_thread(part.replace, target)
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)

    async def missing(self, digests: Sequence[Digest]) -> list[Digest]:
        """Those of ``digests`` that are not here; the others count as put now."""

        async def here(digest: Digest) -> bool:
            if await self._bucket.head(_key(digest)) is None:
                return False
            await self._marks.hold(digest)
            return await self._bucket.head(_key(digest)) is not None

        found = await few_at_once(here, set(digests))
        return [digest for digest in digests if not found[digest]]

    async def size(self, digest: Digest) -> int | None:
        """Bytes, or None if it is not here."""
        entry = await self._bucket.head(_key(digest))
        return entry.size_bytes if entry is not None else None

    async def download_url(self, digest: Digest, *, ttl_seconds: float) -> str | None:
        """An address from which this one blob can be read, without asking whether it is here."""
        return await self._bucket.sign("GET", _key(digest), ttl_seconds=ttl_seconds)

    async def upload_url(self, digest: Digest, *, ttl_seconds: float) -> str | None:
        """An address to which this one blob can be written; it counts as put now."""
        await self._marks.hold(digest)
        if await self._bucket.head(_key(digest)) is not None:
            raise ConflictError(f"the blob {digest_text(digest)} is stored already", remedy="There is nothing to send.")
        return await self._bucket.sign("PUT", _key(digest), ttl_seconds=ttl_seconds)

    async def collect(self, referenced: AsyncIterator[Digest], *, older_than_seconds: float) -> int:
        """Delete blobs that nothing references and that are older than the grace time; how many.

        Raises:
            ConfigError: another grid took this place meanwhile: what it needs is not known here.
        """
        await _require_own(self._bucket, self._grid, take=True)
        limit = await self._marks.now() - older_than_seconds - _CLOCK_GRAIN_SECONDS
        old = await self._old(limit)
        async for digest in referenced:
            old.discard(digest)

        async def discard(digest: Digest) -> bool:
            return await self._discard(digest, limit)

        gone = await few_at_once(discard, old)
        await self._marks.sweep(put_before=limit)
        return sum(gone.values())

    # -- putting

    async def _is_here(self, digest: Digest, size_bytes: int) -> bool:
        return size_bytes >= _LOOK_FIRST_BYTES and await self.size(digest) == size_bytes

    async def _put_open(self, file: BinaryIO) -> Digest:
        digest, size_bytes = await asyncio.to_thread(digest_of_file, file)
        if size_bytes <= PART_BYTES:
            return await self.put(await asyncio.to_thread(file.read))
        await self._marks.hold(digest)
        if not await self._is_here(digest, size_bytes):
            chunks = checked(b"", chunks_of(file), digest)
            await self._bucket.put_parts(_key(digest), chunks, size_bytes=size_bytes)
        return digest

    async def _put_spooled(self, start: bytes, rest: AsyncIterator[bytes]) -> Digest:
        with await asyncio.to_thread(lambda: tempfile.TemporaryFile(dir=self._spool)) as file:
            await asyncio.to_thread(file.write, start)
            async for chunk in rest:
                await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(file.seek, 0)
            return await self._put_open(file)

    # -- reading

    async def _windows(self, digest: Digest, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes from ``offset``; while one window is used the next is on its way."""
        key = _key(digest)
        ahead = asyncio.ensure_future(self._bucket.read(key, offset))
        try:
            while True:
                window, size_bytes = await ahead
                offset += len(window)
                if window and offset < size_bytes:
                    ahead = asyncio.ensure_future(self._bucket.read(key, offset))
                if window:
                    yield window
                if not window or offset >= size_bytes:
                    return
        except FileNotFoundError:
            raise gone(digest, self._bucket.place.name) from None
        finally:
            ahead.cancel()
            if ahead.done() and not ahead.cancelled():
                ahead.exception()

    async def _require(self, digest: Digest, got: Digest) -> None:
        if equal(digest, got):
            return
        found, hasher = await self._bucket.head(_key(digest)), Hasher()
        async for window in self._windows(digest):
            await asyncio.to_thread(hasher.update, window)
        if equal(digest, hasher.digest()):
            raise UnavailableError(
                f"the blob {digest_text(digest)} broke on its way from {self._bucket.place.name}",
                remedy="Read it again; look at the network if it happens twice.",
            )
        assert found is not None, "it was just read"
        aside = await self._set_aside(digest, found)
        raise damaged(digest, aside)

    async def _set_aside(self, digest: Digest, found: Entry) -> str:
        """Take a damaged blob out of its place, unless it was put anew; where it is now."""
        key, aside = _key(digest), f"damaged/{digest.hex()}"
        async with self._marks.condemned(digest):
            if await self._bucket.head(key) == found:
                try:
                    await self._bucket.copy(key, aside)
                except CorpGridError as error:
                    # Too large for the store to copy, or no room: that it can be put anew is worth more.
                    log.warning("damaged blob not kept blob=%s error=%s", digest_text(digest), error)
                await self._bucket.delete([key])
        log.error("damaged blob set aside blob=%s in=%s", digest_text(digest), self._bucket.place.name)
        return f"{self._bucket.place.name}/{aside}"

    # -- collection

    async def _old(self, limit: float) -> set[Digest]:
        """Blobs that were put before ``limit``, some at a time."""
        found: set[Digest] = set()
        after, self._collected_to = self._collected_to, None
        async for page in self._bucket.list(_BLOBS + "/", after=after):
            for entry in page:
                digest = _digest_in(entry.key)
                if digest and entry.modified < limit:
                    found.add(digest)
            if len(found) >= _CANDIDATES:
                self._collected_to = page[-1].key
                break
        return found

    async def _discard(self, digest: Digest, limit: float) -> bool:
        """Delete a blob unless it was put at ``limit`` or later; whether it is gone."""
        clock = asyncio.get_running_loop().time
        started = clock()
        async with self._marks.condemned(digest):
            entry = await self._bucket.head(_key(digest))
            if entry is None or entry.modified >= limit or await self._marks.touched_since(digest, limit):
                return False
            if clock() - started > _DELETE_WITHIN_SECONDS:
                return False  # the store is slow: the next collection looks again
            await self._bucket.delete([_key(digest)])
        return True


async def _require_known(bucket: Bucket) -> None:
    """Check that this version knows how a place is laid out.

    Raises:
        ConfigError: it does not.
    """
    with suppress(FileNotFoundError):
        if (await bucket.read(_FORMAT))[0] != _FORMAT_CONTENT:
            raise ConfigError(
                f"{bucket.place.name} is laid out in a way that this version does not know",
                remedy="Use the version of CorpGrid that wrote it, or name another prefix in scheduler.blobs.",
            )


async def _require_own(bucket: Bucket, grid: str, *, take: bool = False) -> None:
    """Check that a place is this grid's, for a collection of one grid would delete the blobs of all others.

    Args:
        bucket: the place.
        grid: the id of this grid; empty for one that does not care.
        take: let a place that is nobody's be this grid's from now on.

    Raises:
        ConfigError: it is another grid's.
    """
    if not grid:
        return
    try:
        found = (await bucket.read(_OWNER))[0].decode(errors="replace").strip()
    except FileNotFoundError:
        if take:
            await bucket.put(_OWNER, f"{grid}\n".encode())
        return
    if found != grid:
        raise ConfigError(
            f"{bucket.place.name} holds the blobs of the grid {found}, and this scheduler belongs to the grid {grid}",
            remedy="Name a bucket or a prefix of this grid's own in scheduler.blobs (s3://bucket/its-name).  If the "
            f"other grid is gone for good, delete the object `{_OWNER}` there.",
        )


def _digest_in(key: str) -> Digest | None:
    """The blob that a key names, or None: not everything there need be ours."""
    try:
        digest = Digest(bytes.fromhex(key.rpartition("/")[2]))
    except ValueError:
        return None
    return digest if len(digest) == DIGEST_BYTES else None
