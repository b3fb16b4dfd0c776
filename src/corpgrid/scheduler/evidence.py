"""Batches of results: checked when they arrive, checked again when they are read, each only once while it is at hand.

* A batch counts for its device alone, and only if that device signed it; every blob that it names must be stored, for
  what is acknowledged must be readable.
* What was verified is kept, the least lately used go first: by its bytes, and once it is committed by its number.  A
  stored batch that equals a verified one is that one; any other is verified before anything of it is shown.
* What was committed is at hand for a while only: then the store is asked whether it still has it.
* A batch that is not there was thrown away because its job ended long ago, and then the audit log says so; or it is
  lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence

from corpgrid.domain.effects import StoredBatch
from corpgrid.domain.ids import DeviceId, Digest, JobId, digest_text
from corpgrid.domain.messages import AgentStatus, Batch
from corpgrid.errors import CollectedError, ConflictError, CorpGridError, DigestError, RefusedError
from corpgrid.ports.blobs import Blobs
from corpgrid.ports.store import COLLECTED, Store
from corpgrid.scheduler.counters import Counters
from corpgrid.scheduler.recent import Recent
from corpgrid.trust.keys import PublicKey
from corpgrid.trust.results import verify_batch
from corpgrid.wire.convert import decode_batch

log = logging.getLogger(__name__)

_THREAD_BYTES = 256 << 10
"""Above this, hashing is worth a hop to a thread, which it runs in without holding up the loop."""
_ITEM_BYTES = 512
"""What a decoded item takes in memory beside its content, which is there twice; of a short result it is nearly all."""
_AT_HAND_SECONDS = 60.0
"""A reader who follows a job asks for what was committed just now."""


class Evidence:
    """Verifies batches.

    Args:
        store: where they are kept.
        blobs: where what they name is kept.
        counters: what is counted.
        keep_bytes: memory for verified batches that are kept at hand.
    """

    def __init__(self, store: Store, blobs: Blobs, counters: Counters, *, keep_bytes: int) -> None:
        self._store = store
        self._blobs = blobs
        self._counters = counters
        self._recent: Recent[bytes, Batch] = Recent(keep_bytes)
        self._committed: Recent[int, tuple[Batch, float]] = Recent(keep_bytes)

    def note(self, stored: StoredBatch) -> None:
        """A batch was committed under its number: whoever reads it next need not ask the store."""
        batch = self._recent.get(stored.content)
        if batch is not None:
            until = asyncio.get_running_loop().time() + _AT_HAND_SECONDS
            self._committed.put(stored.number, (batch, until), size_bytes=_memory_bytes(batch))

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

    async def read(self, job: JobId, numbers: Iterable[int]) -> Mapping[int, Batch]:
        """Stored batches of a job by number, verified.

        Raises:
            CollectedError: they were thrown away, because the job ended long ago.
            TrustError: what is stored is not what its device signed, or it is lost.
        """
        wanted, now = set(numbers), asyncio.get_running_loop().time()
        at_hand = {number: known for number in wanted if (known := self._committed.get(number)) is not None}
        found = {number: batch for number, (batch, until) in at_hand.items() if now < until}
        beyond = sorted(wanted - found.keys())
        stored = await self._store.batches(beyond) if beyond else {}
        if len(stored) < len(beyond):
            raise await self._gone(job, [number for number in beyond if number not in stored])
        return found | {number: await self._from_store(number, content) for number, content in stored.items()}

    async def _gone(self, job: JobId, numbers: Collection[int]) -> CorpGridError:
        """Why batches are not there."""
        if any(line.kind == COLLECTED for _, line in await self._store.audit_log(subject=job)):
            return CollectedError(f"the results of job {job} are kept no more: it ended too long ago")
        return DigestError(
            f"the store has lost {len(numbers)} batches of job {job}, first {min(numbers)}",
            remedy="The store is damaged: restore it from a backup.",
        )

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
        self._recent.put(batch.content, verified, size_bytes=_memory_bytes(verified))
        return verified

    async def _require_stored(self, batches: Sequence[Batch]) -> None:
        named = list(dict.fromkeys(digest for batch in batches for digest in _blobs_of(batch)))
        missing = await self._blobs.missing(named) if named else []
        if missing:
            raise ConflictError(
                f"the results name {len(missing)} blobs that are not stored, first {digest_text(missing[0])}",
                remedy="Store the blobs, then send the results again.",
            )


def _memory_bytes(batch: Batch) -> int:
    return 2 * len(batch.content) + _ITEM_BYTES * len(batch.items)


def _blobs_of(batch: Batch) -> Iterable[Digest]:
    for item in batch.items:
        if item.blob:
            yield item.blob
        for file in item.outputs:
            yield file.digest
