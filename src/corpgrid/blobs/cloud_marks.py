"""What a folder does by touching and renaming files, done with small objects beside the blobs.

An object's time is when it was last written, and cannot be set; nor can an object be deleted on condition that nobody
wrote it meanwhile.  Two kinds of marks, each an empty object, make up for that:

* ``touched/ab/<digest>/<who and when>``: the blob counts as put when the mark was written.  A name is written for a
  quarter of an hour at most and never again, so that an old mark can be swept without taking a new one along.
* ``condemned/ab/<digest>/<which>``: a collection, or whoever found it damaged, is about to delete the blob.

The two meet in one order.  Who puts a blob, or says that it is here, first touches it, and then waits until it is not
condemned.  Who deletes it first condemns it, and then looks for touches.  The stores answer what was written last, so
at least one of the two sees the other, and no promise is broken, however many put and collect at a time.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from corpgrid.blobs.cloud_bucket import Bucket
from corpgrid.domain.ids import Digest, digest_text
from corpgrid.errors import UnavailableError

_PERIOD_SECONDS = 900.0
_SWEEP_SECONDS = 3_600.0
"""A mark that is not so old may still be written; four times what it may be written for."""
_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.05
_DEAD_SECONDS = 600.0
"""Far longer than any request of a collection may take: one that old has died."""
_CLOCK = "clock"
_TOUCHED, _CONDEMNED = "touched", "condemned"


def sharded(kind: str, digest: Digest) -> str:
    """The key of something about a blob."""
    name = digest.hex()
    return f"{kind}/{name[:2]}/{name}"


class Marks:
    """The marks in a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._process = secrets.token_hex(4)

    async def now(self) -> float:
        """The time by the store's clock: what is old is decided by that alone."""
        await self._bucket.put(_CLOCK, b"")
        entry = await self._bucket.head(_CLOCK)
        assert entry is not None, "it was just written"
        return entry.modified

    async def hold(self, digest: Digest) -> None:
        """From now on the blob counts as put now; when this returns no collection deletes it, whoever began.

        Raises:
            UnavailableError: a collection does not come to an end with it.
        """
        period = int(asyncio.get_running_loop().time() // _PERIOD_SECONDS)
        await self._bucket.put(f"{sharded(_TOUCHED, digest)}/{self._process}-{period}", b"")
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while await self._is_condemned(digest):  # noqa: ASYNC110 - another process's mark sets no event
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            raise UnavailableError(
                f"the blob {digest_text(digest)} is being deleted, and that does not end",
                remedy="Try again in some minutes: what a collection that died left is then removed.",
            ) from None

    async def touched_since(self, digest: Digest, moment: float) -> bool:
        """Whether the blob counts as put at that time or later."""
        async for page in self._bucket.list(sharded(_TOUCHED, digest) + "/"):
            if any(entry.modified >= moment for entry in page):
                return True
        return False

    @asynccontextmanager
    async def condemned(self, digest: Digest) -> AsyncIterator[None]:
        """The blob may be deleted within the block, unless it was touched."""
        key = f"{sharded(_CONDEMNED, digest)}/{secrets.token_hex(8)}"
        await self._bucket.put(key, b"")
        try:
            yield
        finally:
            await self._bucket.delete([key])

    async def sweep(self, *, put_before: float) -> None:
        """Delete touches that are too old to mean anything."""
        limit = min(put_before, await self.now() - _SWEEP_SECONDS)
        async for page in self._bucket.list(_TOUCHED + "/"):
            if old := [entry.key for entry in page if entry.modified < limit]:
                await self._bucket.delete(old)

    async def _is_condemned(self, digest: Digest) -> bool:
        found = [entry async for page in self._bucket.list(sharded(_CONDEMNED, digest) + "/") for entry in page]
        if not found:
            return False
        limit = await self.now() - _DEAD_SECONDS
        await self._bucket.delete([entry.key for entry in found if entry.modified < limit])
        return any(entry.modified >= limit for entry in found)
