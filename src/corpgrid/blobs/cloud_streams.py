"""Streams of bytes on their way into a bucket: in pieces of known size, checked as they pass, never all in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import BinaryIO, TypeVar

from corpgrid.blobs.cloud_bucket import PART_BYTES
from corpgrid.domain.ids import Digest
from corpgrid.trust.digest import Hasher, require_digest

T = TypeVar("T")
R = TypeVar("R")
_AT_ONCE = 32


async def few_at_once(ask: Callable[[T], Awaitable[R]], about: Iterable[T]) -> dict[T, R]:
    """The answer to each, with no more than some questions under way."""
    answers: dict[T, R] = {}
    left = iter(about)

    async def work() -> None:
        for thing in left:
            answers[thing] = await ask(thing)

    workers = [asyncio.ensure_future(work()) for _ in range(_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
    return answers


async def begin(chunks: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """The first bytes of a stream, and what comes after them; None if that was all."""
    held: list[bytes] = []
    size_bytes = 0
    async for chunk in chunks:
        held.append(chunk)
        size_bytes += len(chunk)
        if size_bytes > PART_BYTES:
            return b"".join(held), chunks
    return b"".join(held), None


async def checked(begin: bytes, rest: AsyncIterator[bytes], expected: Digest) -> AsyncIterator[bytes]:
    """The same bytes; where the end should be, an error if they were not those that were named."""
    hasher = Hasher()
    hasher.update(begin)
    if begin:
        yield begin
    async for chunk in rest:
        hasher.update(chunk)
        yield chunk
    require_digest(expected, hasher.digest(), what="the stream")


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    """Bytes in parts."""
    view = memoryview(content)
    for start in range(0, len(content), PART_BYTES):
        yield bytes(view[start : start + PART_BYTES])


async def chunks_of(file: BinaryIO) -> AsyncIterator[bytes]:
    """The rest of a file, in parts."""
    while chunk := await asyncio.to_thread(file.read, PART_BYTES):
        yield chunk


def digest_of_file(file: BinaryIO) -> tuple[Digest, int]:
    """A file's digest and size; it stands at its beginning before and after."""
    hasher = Hasher()
    while chunk := file.read(PART_BYTES):
        hasher.update(chunk)
    size_bytes = file.tell()
    file.seek(0)
    return hasher.digest(), size_bytes


def take(file: BinaryIO, hasher: Hasher, window: bytes) -> None:
    """Write bytes, and let them count for a digest."""
    hasher.update(window)
    file.write(window)
