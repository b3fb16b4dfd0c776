"""One bucket: the few things that every object store can do, with its errors translated.

* Every request has a deadline and few tries; no request carries more than one part of a large object.
* A stream becomes an object when all of it was sent, or not at all: one that breaks off, or whose sender is cancelled,
  is aborted at the store.  Only a process that dies leaves parts there, which no listing shows; a lifecycle rule of the
  bucket removes those (the stores' common interface has no way to list them).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple

from corpgrid.blobs.cloud_errors import translated
from corpgrid.blobs.cloud_url import CloudPlace
from corpgrid.errors import ConfigError

PART_BYTES = 8 << 20
_PARTS_AT_ONCE = 2
_MOST_PARTS = 9_000
"""Stores take 10,000 parts of one object."""
_PAGE_KEYS = 1_000
_CONNECT_SECONDS = 5
_REQUEST_SECONDS = 60
_RETRIES = 3
_RETRY_SECONDS = 60
_ABORT_SECONDS = 10.0
_FIRST_PAUSE = timedelta(milliseconds=100)
_LONGEST_PAUSE = timedelta(seconds=5)


class Entry(NamedTuple):
    """An object without its bytes.

    Attributes:
        modified: when it was written by the store's clock, seconds since the epoch; some stores say whole ones only.
        tag: what the store calls these bytes.
    """

    key: str
    size_bytes: int
    modified: float
    tag: str | None = None


class Bucket:
    """The objects below one prefix of one bucket.

    Raises:
        ConfigError: the library for object stores is not installed, or the place is none.
    """

    def __init__(self, place: CloudPlace) -> None:
        self.place = place
        self._obstore, self._store = _open(place)

    async def put(self, key: str, content: bytes) -> None:
        """Write a small object; what stood there is replaced."""
        with translated(self.place):
            await self._obstore.put_async(self._store, key, content, use_multipart=False)

    async def put_parts(self, key: str, chunks: AsyncIterator[bytes], *, size_bytes: int = 0) -> None:
        """Write an object from a stream, a part at a time; if the stream raises, nothing is written.

        Args:
            key: its name.
            chunks: its bytes.
            size_bytes: how many there are, if that is known: more than can be sent in common parts needs larger ones.
        """
        feed = _Feed()
        part_bytes = max(PART_BYTES, -(-size_bytes // _MOST_PARTS))
        sending = asyncio.ensure_future(
            self._obstore.put_async(
                self._store, key, feed, use_multipart=True, chunk_size=part_bytes, max_concurrency=_PARTS_AT_ONCE
            )
        )
        with translated(self.place):
            try:
                async for chunk in chunks:
                    await feed.give(chunk, sending)
                await feed.give(None, sending)
                await asyncio.shield(sending)
            except BaseException:
                await _aborted(feed, sending)
                raise

    async def read(self, key: str, start: int = 0, *, size_bytes: int = PART_BYTES) -> tuple[bytes, int]:
        """Bytes from ``start``, at most so many, and how many there are in all; from the end there are none.

        Raises:
            FileNotFoundError: no such object.
        """
        with translated(self.place):
            try:
                got = await self._obstore.get_async(self._store, key, options={"range": (start, start + size_bytes)})
                return bytes(await got.bytes_async()), got.meta["size"]
            except self._obstore.exceptions.GenericError as error:
                # The first byte of an empty object is beyond its end.
                if "416" not in str(error):
                    raise
        entry = await self.head(key)
        if entry is None:
            raise FileNotFoundError(key)
        return b"", entry.size_bytes

    async def head(self, key: str) -> Entry | None:
        """An object's size and time, or None."""
        with translated(self.place):
            try:
                return _entry(await self._obstore.head_async(self._store, key))
            except FileNotFoundError:
                return None

    async def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[list[Entry]]:
        """The objects below a prefix, in pages; only those whose keys come after ``after``."""
        pages = aiter(self._obstore.list(self._store, prefix, offset=after, chunk_size=_PAGE_KEYS))
        while True:
            with translated(self.place):
                page = await anext(pages, None)
            if page is None:
                return
            yield [_entry(meta) for meta in page]

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; one that is not there is none the less gone."""
        if not keys:
            return
        with translated(self.place), suppress(FileNotFoundError):
            await self._obstore.delete_async(self._store, list(keys))

    async def copy(self, source: str, target: str) -> None:
        """Copy an object within the store.

        Raises:
            FileNotFoundError: no such object.
        """
        with translated(self.place):
            await self._obstore.copy_async(self._store, source, target)

    async def sign(self, verb: str, key: str, *, ttl_seconds: float) -> str:
        """An address by which whoever holds it may do this one thing, until it expires."""
        with translated(self.place):
            url: str = await self._obstore.sign_async(self._store, verb, key, timedelta(seconds=ttl_seconds))
            return url


class _Feed:
    """Hands chunks from who has them to who sends them, one at a time; ``fail`` ends it with an error."""

    def __init__(self) -> None:
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._failed = asyncio.Event()

    def __aiter__(self) -> _Feed:
        return self

    async def __anext__(self) -> bytes:
        taking = asyncio.ensure_future(self._chunks.get())
        failing = asyncio.ensure_future(self._failed.wait())
        try:
            await asyncio.wait({taking, failing}, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.is_set():
                raise _BrokenOffError
            chunk = taking.result()
        finally:
            taking.cancel()
            failing.cancel()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def give(self, chunk: bytes | None, sending: asyncio.Future[Any]) -> None:
        """Hand over a chunk, or None after the last; if sending ended before its time, this raises why."""
        giving = asyncio.ensure_future(self._chunks.put(chunk))
        try:
            await asyncio.wait({giving, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            giving.cancel()
        if sending.done():
            sending.result()

    def fail(self) -> None:
        """There will be no more chunks, and what was sent is not wanted."""
        self._failed.set()


class _BrokenOffError(Exception):
    """A stream ended before its end."""


async def _aborted(feed: _Feed, sending: asyncio.Future[Any]) -> None:
    """Let the store forget what was sent of an object; who was cancelled waits for that, but not for long."""
    feed.fail()
    await asyncio.wait({sending}, timeout=_ABORT_SECONDS)
    if sending.done() and not sending.cancelled():
        sending.exception()
    sending.cancel()


def _entry(meta: Mapping[str, Any]) -> Entry:
    return Entry(meta["path"], meta["size"], meta["last_modified"].timestamp(), meta["e_tag"])


def _open(place: CloudPlace) -> tuple[Any, Any]:
    try:
        import obstore  # noqa: PLC0415 - installed only where a cloud is used
        from obstore import store as stores  # noqa: PLC0415 - as above
    except ImportError as error:
        raise ConfigError(
            f"scheduler.blobs is {place.name}, and the library for object stores is not installed",
            remedy="Install it: pip install 'corpgrid[s3]'; or leave scheduler.blobs empty for files in the folder.",
        ) from error
    kind = {"s3": stores.S3Store, "gs": stores.GCSStore, "az": stores.AzureStore}[place.scheme]
    try:
        opened = kind(
            place.bucket,
            prefix=place.prefix or None,
            client_options={
                "allow_http": place.allow_http,
                "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
                "timeout": timedelta(seconds=_REQUEST_SECONDS),
            },
            retry_config={
                "max_retries": _RETRIES,
                "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
                "backoff": {"init_backoff": _FIRST_PAUSE, "max_backoff": _LONGEST_PAUSE, "base": 2},
            },
            **place.options,
        )
    except obstore.exceptions.BaseError as error:
        first = str(error).splitlines()[0]
        raise ConfigError(
            f"{place.name} cannot be used: {first}", remedy=f"Correct scheduler.blobs, and {place.credentials}."
        ) from error
    return obstore, opened
