"""Batches of results: checked when they arrive, checked again when they are read, each only once while it is at hand.

* A batch counts for its device alone, and only if that device signed it; every blob that it names must be stored, for
  what is acknowledged must be readable.
* What was verified is kept, the least lately used go first: by its bytes, and once it is committed by its number.  A
  stored batch that equals a verified one is that one; any other is verified before anything of it is shown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from corpgrid.domain.effects import StoredBatch
from corpgrid.domain.ids import DeviceId, Digest, digest_text
from corpgrid.domain.messages import AgentStatus, Batch
from corpgrid.errors import ConflictError, CorpGridError, DigestError, RefusedError
from corpgrid.ports.blobs import Blobs
from corpgrid.ports.store import Store
from corpgrid.scheduler.counters import Counters
from corpgrid.scheduler.recent import Recent
from corpgrid.trust.keys import PublicKey
from corpgrid.trust.results import verify_batch
from corpgrid.wire.convert import decode_batch

log = logging.getLogger(__name__)

_THREAD_BYTES = 256 << 10
"""Above this, hashing is worth a hop to a thread, which it runs in without holding up the loop."""


class Evidence:
    """Verifies batches.

    Args:
        store: where they are kept.
        blobs: where what they name is kept.
        counters: what is counted.
        keep_bytes: verified batches kept at hand.
    """

    def __init__(self, store: Store, blobs: Blobs, counters: Counters, *, keep_bytes: int) -> None:
        self._store = store
        self._blobs = blobs
        self._counters = counters
        self._recent: Recent[bytes, Batch] = Recent(keep_bytes)
        self._committed: Recent[int, Batch] = Recent(keep_bytes)

    def note(self, stored: StoredBatch) -> None:
        """A batch was committed under its number: whoever reads it next need not ask the store."""
        batch = self._recent.get(stored.content)
        if batch is not None:
            self._committed.put(stored.number, batch, size_bytes=len(stored.content))

    async def admit(self, status: AgentStatus, batches: Sequence[Batch], key: PublicKey) -> tuple[Batch, ...]:
        """The batches of a request, verified.

        Raises:
            RefusedError: a batch is another device's.
            SignatureError: a signature does not hold.
            MalformedDataError: an item says what no item may say.
            ConflictError: a blob that a batch names is not stored.
        """
        try:
            for batch in batches:
                if batch.device != status.device:
                    raise RefusedError(f"device {status.device} brings results of device {batch.device}")
            verified = tuple([await self._verified(batch, key) for batch in batches])
            await self._require_stored(verified)
        except CorpGridError as error:
            self._counters.batches_refused += len(batches)
            log.warning("results refused device=%s code=%s error=%s", status.device, error.code, error)
            raise
        self._counters.items_verified += sum(len(batch.items) for batch in verified)
        return verified

    async def read(self, numbers: Iterable[int]) -> Mapping[int, Batch]:
        """Stored batches by number, verified.

        Raises:
            TrustError: what is stored is not what its device signed.
        """
        wanted = set(numbers)
        found = {number: batch for number in wanted if (batch := self._committed.get(number)) is not None}
        beyond = sorted(wanted - found.keys())
        stored = await self._store.batches(beyond) if beyond else {}
        return found | {number: await self._from_store(number, content) for number, content in stored.items()}

    async def _from_store(self, number: int, content: bytes) -> Batch:
        batch = self._recent.get(content)
        if batch is None:
            batch = decode_batch(content)
            batch = await self._verified(batch, await self._key(number, batch.device))
        return batch

    async def _key(self, number: int, device: DeviceId) -> PublicKey:
        row = await self._store.device(device)
        if row is None:
            raise DigestError(f"stored batch {number} says that it is of {device}, and there is no such device")
        return PublicKey.from_raw(row.public_key)

    async def _verified(self, batch: Batch, key: PublicKey) -> Batch:
        found = self._recent.get(batch.content)
        if found is not None:
            return found
        if len(batch.content) > _THREAD_BYTES:
            verified = await asyncio.to_thread(verify_batch, batch, key)
        else:
            verified = verify_batch(batch, key)
        self._recent.put(batch.content, verified, size_bytes=len(batch.content))
        return verified

    async def _require_stored(self, batches: Sequence[Batch]) -> None:
        named = list(dict.fromkeys(digest for batch in batches for digest in _blobs_of(batch)))
        missing = await self._blobs.missing(named) if named else []
        if missing:
            raise ConflictError(
                f"the results name {len(missing)} blobs that are not stored, first {digest_text(missing[0])}",
                remedy="Store the blobs, then send the results again.",
            )


def _blobs_of(batch: Batch) -> Iterable[Digest]:
    for item in batch.items:
        if item.blob:
            yield item.blob
        for file in item.outputs:
            yield file.digest
