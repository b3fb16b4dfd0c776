"""Where bytes stand by their digest: what every blob store promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from corpgrid.domain.ids import Digest


class Blobs(Protocol):
    """Bytes by digest.  What is read has been verified; what is put is durable when the call returns."""

    async def put(self, content: bytes) -> Digest:
        """Store bytes; storing them again costs nothing.

        Raises:
            StoreError: no space, or no permission.
        """

    async def put_file(self, path: Path) -> Digest:
        """Store a file's bytes without reading it whole into memory."""

    async def put_stream(self, chunks: AsyncIterator[bytes], *, expected: Digest | None = None) -> Digest:
        """Store a stream.

        Raises:
            DigestError: the bytes are not those of ``expected``; nothing is kept.
        """

    async def get(self, digest: Digest) -> bytes:
        """All bytes.

        Raises:
            NotFoundError: no such blob.
            DigestError: the stored bytes are damaged; they are set aside, never returned.
        """

    def open(self, digest: Digest, *, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes from ``offset`` in chunks; the last chunk is only given once the whole was verified (offset 0)."""

    async def fetch(self, digest: Digest, target: Path) -> None:
        """Write the verified bytes to a new file."""

    async def missing(self, digests: Sequence[Digest]) -> list[Digest]:
        """Those of ``digests`` that are not here."""

    async def size(self, digest: Digest) -> int | None:
        """Bytes, or None if it is not here."""

    async def download_url(self, digest: Digest, *, ttl_seconds: float) -> str | None:
        """An address from which whoever holds it can read this blob by HTTP, until it expires; it need not be here.

        None where blobs have no addresses.  Who reads there verifies the bytes.
        """

    async def upload_url(self, digest: Digest, *, ttl_seconds: float) -> str | None:
        """An address to which whoever holds it can write this blob by HTTP PUT; it counts as put now.

        None where blobs have no addresses.

        Raises:
            ConflictError: it is here already; that, too, counts as put now.
        """

    async def collect(self, referenced: AsyncIterator[Digest], *, older_than_seconds: float) -> int:
        """Delete blobs that nothing references and that are older than the grace time; how many."""
