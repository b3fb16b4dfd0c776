"""Past the scheduler: large bytes go between this program and the grid's object store, where it has one.

* The scheduler gives an address for one blob and one deed, which expires; this program holds no key to the store.
* What comes is believed by its digest alone, as everywhere.  What goes is read once more while it is sent: a file that
  changed meanwhile is not stored.
* Whatever goes wrong here only costs time: the caller takes the way through the scheduler instead.  After some failures
  in a row (a firewall, say) this way is left alone for a while.
* A grid without an object store is asked once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, BinaryIO

from corpgrid.domain.ids import Digest, digest_text
from corpgrid.errors import ConflictError, GridError, NotFoundError, UnavailableError
from corpgrid.trust.digest import Hasher, equal

if TYPE_CHECKING:
    from corpgrid.transport.store_http import StoreHttp

log = logging.getLogger(__name__)

Locate = Callable[[Digest, int | None], Awaitable[str | None]]
"""``BlobApi.locate_blob``: a blob, and its size if it is to be stored."""
WORTH_BYTES = 256 << 10
"""A smaller blob is stored sooner than its address is made."""
MOST_BYTES = 4 << 30
"""What every store takes in one request; larger blobs go through the scheduler, which sends them in parts."""
_CHUNK_BYTES = 1 << 20
_IDLE_SECONDS = 20.0
_TRIES = 3
_AT_ONCE = 4
_FAILURES = 3
_REST_SECONDS = 300.0


class Direct:
    """The way past one scheduler.

    Args:
        locate: asks it for an address.
    """

    def __init__(self, locate: Locate) -> None:
        self._locate = locate
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._no_store = False
        self._failures = 0
        self._rests_until = 0.0
        self._http: StoreHttp | None = None

    async def get(self, name: Digest, take: Callable[[bytes], None]) -> bool:
        """Whether the bytes came this way, and are the right ones; if not, what was taken is to be thrown away.

        Args:
            name: of the blob.
            take: is given all bytes, in another thread.
        """
        url = await self._address(name, None)
        if url is None:
            return False
        hasher = Hasher()
        try:
            async with self._gate, aclosing(self._chunks(url)) as chunks:
                async for chunk in chunks:
                    hasher.update(chunk)
                    await asyncio.to_thread(take, chunk)
        except NotFoundError:
            return False  # the scheduler knows better: it may stand in a job's rows
        except GridError as error:
            self._failed(error)
            return False
        self._failures = 0
        right = equal(name, hasher.digest())
        if not right:
            log.warning("the object store gave other bytes than were named blob=%s", digest_text(name))
        return right

    async def put(self, name: Digest, size_bytes: int, open_file: Callable[[], BinaryIO]) -> bool:
        """Whether a blob is stored now, by this way or before.

        Raises:
            LimitError: the grid takes none so large.
        """
        try:
            url = await self._address(name, size_bytes)
        except ConflictError:
            return True
        if url is None:
            return False
        try:
            async with self._gate:
                await self._send(url, name, size_bytes, open_file)
        except GridError as error:
            self._failed(error)
            return False
        self._failures = 0
        return True

    def takes(self, size_bytes: int) -> bool:
        """Whether ``put`` is worth a try with a blob of this size."""
        return self._is_open() and WORTH_BYTES <= size_bytes <= MOST_BYTES

    def _is_open(self) -> bool:
        return not self._no_store and asyncio.get_running_loop().time() >= self._rests_until

    async def _address(self, name: Digest, put_bytes: int | None) -> str | None:
        if not self._is_open():
            return None
        url = await self._locate(name, put_bytes)
        self._no_store = url is None
        return url

    async def _chunks(self, url: str) -> AsyncGenerator[bytes, None]:
        """All bytes at an address; a connection that breaks is made again, and goes on where it was."""
        offset, tries = 0, 0
        while True:
            try:
                async with aclosing(self._chunks_from(url, offset)) as chunks:
                    async for chunk in chunks:
                        offset += len(chunk)
                        yield chunk
            except UnavailableError:
                tries += 1
                if tries == _TRIES:
                    raise
            else:
                return

    async def _chunks_from(self, url: str, offset: int) -> AsyncGenerator[bytes, None]:
        http = await self._client()
        answer, left = await asyncio.to_thread(http.get, url, offset)
        try:
            while left:
                chunk = await asyncio.to_thread(http.read, url, answer, min(_CHUNK_BYTES, left))
                left -= len(chunk)
                yield chunk
        finally:
            # Another thread may be reading yet, and closing would wait for it.
            asyncio.get_running_loop().run_in_executor(None, answer.close)

    async def _send(self, url: str, name: Digest, size_bytes: int, open_file: Callable[[], BinaryIO]) -> None:
        http, stop = await self._client(), threading.Event()

        def send() -> None:
            with open_file() as file:
                http.put(url, _checked(file, name, size_bytes, stop), size_bytes)

        for last in (False, True):
            try:
                await asyncio.to_thread(send)
            except UnavailableError:
                if last:
                    raise
            except asyncio.CancelledError:
                stop.set()
                raise
            else:
                return

    async def _client(self) -> StoreHttp:
        if self._http is None:

            def load() -> StoreHttp:
                from corpgrid.transport.store_http import StoreHttp  # noqa: PLC0415 - slow, and rarely needed

                return StoreHttp(_IDLE_SECONDS)

            self._http = await asyncio.to_thread(load)
        return self._http

    def _failed(self, error: GridError) -> None:
        self._failures += 1
        log.warning("a blob takes the way through the scheduler, because %s", error)
        if self._failures >= _FAILURES:
            self._failures = 0
            self._rests_until = asyncio.get_running_loop().time() + _REST_SECONDS
            log.warning("the object store is left alone for %g s", _REST_SECONDS)


def _checked(file: BinaryIO, name: Digest, size_bytes: int, stop: threading.Event) -> Iterator[bytes]:
    """A file's bytes; the last are held back, and so nothing is stored, if they are not those that were named."""
    hasher, left = Hasher(), size_bytes
    while left:
        chunk = file.read(min(_CHUNK_BYTES, left))
        hasher.update(chunk)
        left -= len(chunk)
        if stop.is_set() or not chunk or (not left and not equal(name, hasher.digest())):
            raise UnavailableError("the file changed while it was stored, or is not wanted any more")
        yield chunk
