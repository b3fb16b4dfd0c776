"""What a device signs: that it is there, and what it found.

* A **registration** is signed as a whole (everything but the signature), with the time on the device's clock, so that
  an old one cannot be played again for long.
* A **batch** carries one signature for many results, over a statement that binds the Merkle root of its items, the job,
  the device and the count.  A leaf binds everything that an item says, long parts (payload, log) by their digest; one
  leaf with its proof is evidence without the other items.
* An item says one thing: it has a result (inline or in a blob, not both) if and only if its outcome is ``result``, and
  each attempt stands in a batch once.

Signing and verifying 512 small items costs about a millisecond each: this is on the path of every result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import repeat

import msgpack

from corpgrid.domain.device import Facts, Gpu, PowerStatus
from corpgrid.domain.ids import DIGEST_BYTES, Digest, digest_text
from corpgrid.domain.messages import Batch, Item, Outcome, OutputFile, RegisterRequest
from corpgrid.errors import ExpiredError, LimitError, MalformedDataError, SignatureError
from corpgrid.trust import canonical, limits
from corpgrid.trust.digest import digest, digests, merkle_root
from corpgrid.trust.envelope import pae
from corpgrid.trust.fields import FLAG, Where, many, maybe, raw, real, record, text, whole
from corpgrid.trust.job_fields import PYTHON_MINOR
from corpgrid.trust.keys import RAW_BYTES, PrivateKey, PublicKey
from corpgrid.trust.paths import path_fault

REGISTRATION_TYPE = "application/vnd.corpgrid.registration.v1+json"
BATCH_TYPE = "application/vnd.corpgrid.batch.v1+json"
_NO_DIGEST = Digest(b"")


def registration_statement(request: RegisterRequest) -> bytes:
    """The bytes that a device signs to register: all of the request but ``proof``.

    Raises:
        MalformedDataError: a field is of the wrong type or out of range; the message names it and what is accepted.
    """
    return pae(REGISTRATION_TYPE, canonical.encode(_REGISTRATION.write(request, Where(MalformedDataError))))


def sign_registration(request: RegisterRequest, key: PrivateKey) -> RegisterRequest:
    """The request with its proof."""
    assert request.public_key == key.public.raw, "a device registers its own key"
    return replace(request, proof=key.sign(registration_statement(request)))


def verify_registration(
    request: RegisterRequest, *, now: float, skew_seconds: float = limits.REGISTRATION_SKEW_SECONDS
) -> PublicKey:
    """The device's key, which signed this registration a moment ago.

    Raises:
        MalformedDataError: a field is of the wrong type or out of range.
        TrustError: its public key cannot be believed.
        SignatureError: the device does not hold the private half, or the request was changed.
        ExpiredError: it was signed too long ago, or in the future.
    """
    statement = registration_statement(request)
    key = PublicKey.from_raw(request.public_key)
    key.verify(request.proof, statement)
    if abs(now - request.signed_at) > skew_seconds:
        raise ExpiredError(
            f"the device's clock and the scheduler's are {abs(now - request.signed_at):,.0f} s apart, "
            f"where {skew_seconds:,.0f} s are allowed",
            remedy="Set the device's clock by NTP, or the scheduler's if that is the wrong one; the agent tries again.",
        )
    return key


def sign_batch(batch: Batch, key: PrivateKey) -> Batch:
    """The batch with its signature.

    Raises:
        MalformedDataError: an item says what no item may say.
        LimitError: it has too many items.
    """
    assert batch.device == key.public.device_id, "a device signs its own results"
    return batch._replace(signature=key.sign(_statement(batch, _result_digests(batch.items))))


def verify_batch(batch: Batch, public_key: PublicKey) -> Batch:
    """The batch with the digest of each item's result, all of it as its device signed it.

    Raises:
        MalformedDataError: an item says what no item may say.
        LimitError: it has too many items.
        SignatureError: the key is not this device's, or it did not sign this.
    """
    if batch.device != public_key.device_id:
        raise SignatureError(f"the batch says that it is of {batch.device}, and the key is {public_key.device_id}'s")
    digests = _result_digests(batch.items)
    public_key.verify(batch.signature, _statement(batch, digests))
    return batch._replace(digests=digests)


def batch_leaves(batch: Batch, digests: Sequence[Digest]) -> list[bytes]:
    """The leaves of the batch's Merkle tree, one an item, in order; ``digests`` as ``verify_batch`` fills them."""
    context = digest(canonical.encode([BATCH_TYPE, batch.job, batch.device]))
    pack = msgpack.Packer(unicode_errors="surrogatepass").pack
    return [context + leaf for leaf in map(pack, _leaf_fields(batch.items, digests))]


def _statement(batch: Batch, digests: Sequence[Digest]) -> bytes:
    root = merkle_root(batch_leaves(batch, digests))
    fields = {"count": len(batch.items), "device": batch.device, "job": batch.job, "root": digest_text(root)}
    return pae(BATCH_TYPE, canonical.encode(fields))


def _leaf_fields(items: Sequence[Item], results: Sequence[Digest]) -> Iterable[tuple[object, ...]]:
    """All that an item says, by position; a payload and a log by their digests.  Column by column, as all here."""
    assert len(items) == len(results), "each item has its result's digest, or that of none"
    if not items:
        return ()
    indexes, attempts, epochs, outcomes, _, _, reasons, details, seconds, logs, dropped, outputs = zip(
        *items, strict=True
    )
    log_digests = [digest(log) if log else _NO_DIGEST for log in logs] if any(logs) else repeat(_NO_DIGEST)
    points = map(float, seconds)
    columns = indexes, attempts, epochs, outcomes, results, reasons, details, points, log_digests, dropped, outputs
    return zip(*columns, strict=False)


def _result_digests(items: Sequence[Item]) -> tuple[Digest, ...]:
    """The digest of each item's result, after a look at the whole batch."""
    if len(items) > limits.MAX_BATCH_ITEMS:
        raise LimitError(
            "MAX_BATCH_ITEMS",
            limit=limits.MAX_BATCH_ITEMS,
            got=len(items),
            what="the batch",
            remedy="Send it as several batches.",
        )
    if len({(item.index, item.attempt) for item in items}) != len(items):
        raise MalformedDataError("one attempt stands twice in a batch")
    if _are_plain(items):
        return tuple(digests([item.payload for item in items]))
    return tuple(map(_result_digest, items))


def _are_plain(items: Sequence[Item]) -> bool:
    """Whether all of them are inline results, every number in range: nearly all batches; looked at by the column."""
    if not items:
        return False
    indexes, attempts, epochs, outcomes, _, blobs, _, _, seconds, _, dropped, outputs = zip(*items, strict=True)
    if outcomes.count(Outcome.RESULT) < len(items) or any(blobs) or any(outputs):
        return False
    most = limits.MAX_WHOLE
    whole_numbers = (indexes, limits.MAX_TASKS - 1), (attempts, _MAX_COUNT), (epochs, most), (dropped, most)
    in_range = all(min(column) >= 0 and max(column) <= highest for column, highest in whole_numbers)
    return in_range and min(seconds) >= 0 and math.isfinite(sum(seconds))


def _result_digest(item: Item) -> Digest:
    """The digest of an item's result, or nothing where there is none.

    Raises:
        MalformedDataError: it says what no item may say.
    """
    index, attempt, epoch, outcome, payload, blob, _, _, seconds, _, dropped, outputs = item
    whole_numbers = 0 <= index < limits.MAX_TASKS and 0 <= attempt <= _MAX_COUNT and 0 <= epoch <= limits.MAX_WHOLE
    if not (whole_numbers and 0 <= seconds < math.inf and 0 <= dropped <= limits.MAX_WHOLE):
        raise MalformedDataError(f"the item of task {index} has a number out of range")
    if outputs:
        _check_outputs(index, outputs)
    if outcome is not Outcome.RESULT:
        if payload or blob:
            raise MalformedDataError(f"the item of task {index} is {outcome} and has a result")
        return _NO_DIGEST
    if not blob:
        return digest(payload)
    if payload or len(blob) != DIGEST_BYTES:
        raise MalformedDataError(f"the item of task {index} has a payload beside its blob, or a blob without a digest")
    return blob


def _check_outputs(index: int, outputs: Sequence[OutputFile]) -> None:
    for name, blob, size_bytes in outputs:
        if fault := path_fault(name):
            raise MalformedDataError(f"task {index} has an output with the name {name!r}: {fault}")
        if len(blob) != DIGEST_BYTES or not 0 <= size_bytes <= limits.MAX_WHOLE:
            raise MalformedDataError(f"the output {name!r} of task {index} has no digest or no size")


_MAX_COUNT = (1 << 31) - 1
_BYTES = whole(0, limits.MAX_WHOLE)
_WORD = text(256)
_WORDS = many(_WORD, limits.MAX_WORDS)
_GPU = record(
    Gpu, {"backend": _WORD, "name": _WORD, "uuid": _WORD, "vram_bytes": _BYTES, "driver": _WORD, "compute": _WORD}
)
_FACTS = record(
    Facts,
    {
        "hostname": _WORD,
        "operating_system": _WORD,
        "architecture": _WORD,
        "python": PYTHON_MINOR,
        "engines": _WORDS,
        "sandbox": _WORD,
        "cpus": whole(0, limits.MAX_CPUS),
        "memory_bytes": _BYTES,
        "disk_free_bytes": _BYTES,
        "gpus": many(_GPU, limits.MAX_GPUS),
        "labels": _WORDS,
        "thermal_headroom": real(0.0, 1.0),
        "agent_version": _WORD,
    },
)
_POWER = record(
    PowerStatus,
    {
        "on_ac_power": FLAG,
        "battery_percent": maybe(real(0.0, 100.0)),
    },
)
_REGISTRATION = record(
    RegisterRequest,
    {
        "public_key": raw(RAW_BYTES),
        "owner": text(128, least=1),
        "site": text(128, least=1),
        "name": _WORD,
        "facts": _FACTS,
        "power": _POWER,
        "boot": _WORD,
        "signed_at": real(0.0, limits.LAST_SECOND),
        "capacity": whole(0, _MAX_COUNT),
        "blockers": _WORDS,
        "held": many(_BYTES, limits.MAX_HELD_LEASES),
    },
    omitted=frozenset({"proof"}),
)
