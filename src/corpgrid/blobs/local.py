"""Blobs in a folder of this machine (``folder`` says how it is laid out).

Files are worked on in threads; the event loop never waits for a disk.  While the disk takes a large blob its digest is
made on another core, so that storing costs what writing costs.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from corpgrid.blobs.folder import BlobFolder, file_digest
from corpgrid.blobs.lost import damaged
from corpgrid.blobs.temporary import Temporary
from corpgrid.domain.ids import Digest
from corpgrid.errors import StoreError
from corpgrid.trust.digest import Hasher, equal, require_digest
from corpgrid.trust.digest import digest as digest_of

_CHUNK_BYTES = 1 << 20
_LARGE_BYTES = 1 << 20
_DELETE_AT_ONCE = 1_000


class LocalBlobs:
    """``Blobs`` in a folder; made by ``at``."""

    def __init__(self, folder: BlobFolder) -> None:
        self._folder = folder

    @classmethod
    async def at(cls, root: Path) -> LocalBlobs:
        """The blobs in a folder, which is made if it is not there; what a process that died left half written is swept.

        Raises:
            StoreError: the folder cannot be written.
        """

        def prepare() -> BlobFolder:
            folder = BlobFolder(root)
            with folder.translated():
                folder.sweep()
            return folder

        return cls(await asyncio.to_thread(prepare))

    async def put(self, content: bytes) -> Digest:
        """Store bytes; storing them again writes nothing."""
        put = self._put_small if len(content) < _LARGE_BYTES else self._put_large
        return await asyncio.to_thread(put, content)

    async def put_file(self, path: Path) -> Digest:
        """Store a file's bytes without reading it whole into memory."""
        return await asyncio.to_thread(self._put_file, path)

    async def put_stream(self, chunks: AsyncIterator[bytes], *, expected: Digest | None = None) -> Digest:
        """Store a stream."""
        hasher = Hasher()
        temporary = await asyncio.to_thread(self._temporary)
        try:
            async for chunk in _gathered(chunks):
                await asyncio.to_thread(self._take, temporary, hasher, chunk)
            digest = hasher.digest()
            if expected is not None:
                require_digest(expected, digest, what="the stream")
            await asyncio.to_thread(self._place, temporary, digest)
        finally:
            await asyncio.to_thread(temporary.close)
        return digest

    async def get(self, digest: Digest) -> bytes:
        """All bytes, verified."""
        return await asyncio.to_thread(self._get, digest)

    async def open(self, digest: Digest, *, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes from ``offset`` in chunks; the last chunk is only given once the whole was verified."""
        hasher, held, place = Hasher(), b"", 0
        file = await asyncio.to_thread(self._open, digest)
        try:
            while chunk := await asyncio.to_thread(_read, file, hasher):
                place += len(chunk)
                wanted = chunk[max(0, len(chunk) - (place - offset)) :] if place > offset else b""
                if wanted and held:
                    yield held
                held = wanted
        finally:
            await asyncio.to_thread(file.close)
        await asyncio.to_thread(self._verify, digest, hasher.digest())
        if held:
            yield held

    async def fetch(self, digest: Digest, target: Path) -> None:
        """Write the verified bytes to a new file; an old one of that name is replaced."""
        await asyncio.to_thread(self._fetch, digest, target)

    async def missing(self, digests: Sequence[Digest]) -> list[Digest]:
        """Those of ``digests`` that are not here; the others count as put now."""
        return await asyncio.to_thread(self._missing, digests)

    async def size(self, digest: Digest) -> int | None:
        """Bytes, or None if it is not here."""
        return await asyncio.to_thread(self._size, digest)

    async def download_url(self, digest: Digest, *, ttl_seconds: float) -> str | None:  # noqa: ARG002 - the port's
        """None: only this machine sees them."""
        return None

    async def upload_url(self, digest: Digest, *, ttl_seconds: float) -> str | None:  # noqa: ARG002 - the port's
        """None, likewise."""
        return None

    async def collect(self, referenced: AsyncIterator[Digest], *, older_than_seconds: float) -> int:
        """Delete blobs that nothing references and that are older than the grace time; how many."""
        old, limit = await asyncio.to_thread(self._old, older_than_seconds)
        async for digest in referenced:
            old.discard(digest)
        gone, left = 0, list(old)
        for start in range(0, len(left), _DELETE_AT_ONCE):
            gone += await asyncio.to_thread(self._discard, left[start : start + _DELETE_AT_ONCE], limit)
        return gone

    # -- in a thread

    def _put_small(self, content: bytes) -> Digest:
        return self._settle(digest_of(content), content)

    def _put_large(self, content: bytes) -> Digest:
        with self._folder.translated(), self._folder.temporary() as temporary, ThreadPoolExecutor(1) as beside:
            writing = beside.submit(_write, temporary, content)
            try:
                digest = digest_of(content)
                if not self._folder.touch(digest):
                    self._folder.make_room(digest)
                    writing.result()
                    self._folder.commit(temporary, digest)
                    return digest
            finally:
                temporary.wanted = False
        return self._settle(digest, content)

    def _settle(self, digest: Digest, content: bytes) -> Digest:
        with self._folder.translated():
            if not self._folder.put_again(digest, len(content)):
                with self._folder.temporary() as temporary:
                    _write(temporary, content)
                    self._folder.commit(temporary, digest)
        return digest

    def _put_file(self, path: Path) -> Digest:
        _require_readable(path)
        with self._folder.translated(), self._folder.temporary() as temporary, ThreadPoolExecutor(1) as beside:
            shutil.copyfile(path, temporary.path)
            # From here on it is the copy that counts: nobody else can change it.
            syncing = beside.submit(temporary.sync)
            digest = file_digest(temporary.path)
            if not self._folder.put_again(digest, temporary.path.stat().st_size):
                self._folder.make_room(digest)
                syncing.result()
                self._folder.commit(temporary, digest)
            return digest

    def _temporary(self) -> Temporary:
        with self._folder.translated():
            return self._folder.temporary()

    def _take(self, temporary: Temporary, hasher: Hasher, chunk: bytes) -> None:
        hasher.update(chunk)
        with self._folder.translated():
            temporary.write(chunk)

    def _place(self, temporary: Temporary, digest: Digest) -> None:
        with self._folder.translated():
            if not self._folder.put_again(digest, temporary.path.stat().st_size):
                temporary.sync()
                self._folder.commit(temporary, digest)

    def _size(self, digest: Digest) -> int | None:
        with self._folder.translated():
            return self._folder.size(digest)

    def _get(self, digest: Digest) -> bytes:
        with self._open(digest) as file:
            content = file.read()
        self._verify(digest, digest_of(content))
        return content

    def _open(self, digest: Digest) -> BinaryIO:
        with self._folder.translated():
            return self._folder.require(digest).open("rb")

    def _fetch(self, digest: Digest, target: Path) -> None:
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        with self._folder.translated():
            try:
                shutil.copyfile(self._folder.require(digest), part)
                self._verify(digest, file_digest(part))
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)

    def _verify(self, digest: Digest, got: Digest) -> None:
        if not equal(digest, got):
            aside = self._folder.set_aside(digest)
            raise damaged(digest, aside)

    def _missing(self, digests: Sequence[Digest]) -> list[Digest]:
        with self._folder.translated():
            return [digest for digest in digests if not self._folder.touch(digest)]

    def _old(self, older_than_seconds: float) -> tuple[set[Digest], float]:
        with self._folder.translated():
            return self._folder.old(older_than_seconds)

    def _discard(self, digests: Sequence[Digest], put_before: float) -> int:
        with self._folder.translated():
            return sum(self._folder.discard(digest, put_before=put_before) for digest in digests)


def _require_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise StoreError(
            f"{path} cannot be stored: {error.strerror or error}", remedy="Name a file that this user may read."
        ) from error


def _write(temporary: Temporary, content: bytes) -> None:
    temporary.write(content)
    temporary.sync()


def _read(file: BinaryIO, hasher: Hasher) -> bytes:
    chunk = file.read(_CHUNK_BYTES)
    hasher.update(chunk)
    return chunk


async def _gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in chunks that are worth a hop to a thread."""
    held: list[bytes] = []
    held_bytes = 0
    async for chunk in chunks:
        held.append(chunk)
        held_bytes += len(chunk)
        if held_bytes >= _CHUNK_BYTES:
            yield b"".join(held)
            held, held_bytes = [], 0
    if held:
        yield b"".join(held)
