"""Batches of results, between values and the bytes that travel and are stored as evidence.

Rules:
* ``encode_batch`` gives a batch its ``content``; those bytes are sent, stored and read again as they are.  A batch that
  was decoded keeps the bytes that it came from, so nothing is ever encoded twice.
* This is the hottest path of the wire: columns, no object an item but the value itself.  512 plain results decode in
  less than a millisecond.
* What is wrong with bytes from outside is a ``MalformedDataError`` (``convert_checks``).  Bytes say nothing about who
  signed them: ``trust.results.verify_batch`` does.

>>> batch = encode_batch(Batch(job=JobId("job_a"), device=DeviceId("dev_a"), items=()))
>>> decode_batch(batch.content) == batch
True
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import repeat

from corpgrid.domain.ids import DeviceId, Digest, JobId
from corpgrid.domain.messages import Batch, Item, Outcome, OutputFile
from corpgrid.wire import convert_checks as check
from corpgrid.wire.v1 import scheduler_pb2 as pb

OUTCOMES = check.Words(Outcome, pb.Outcome, "OUTCOME")
_PLAIN = ("", "", b"", b"", 0, ())


def encode_batch(batch: Batch) -> Batch:
    """The batch with its ``content``; one that has it is given back as it is."""
    return batch if batch.content else batch._replace(content=_batch_bytes(batch))


def decode_batch(content: bytes) -> Batch:
    """Read a batch; its signature is not checked here.

    Raises:
        MalformedDataError: the bytes are not a batch.
    """
    message = check.parse(pb.ResultBatch, content)
    return Batch(
        job=JobId(check.text(message.job, "job")),
        device=DeviceId(check.text(message.device, "device")),
        items=_items(message),
        signature=message.signature,
        content=content,
    )


def item_payloads(content: bytes) -> Sequence[bytes]:
    """The inline payload of every item of a stored batch, by position; empty where there is none.

    Raises:
        MalformedDataError: the bytes are not a batch.
    """
    return check.parse(pb.ResultBatch, content).payloads


def item_payload(content: bytes, position: int) -> bytes:
    """The inline payload of one item of a stored batch; asking for many of one batch in turn costs little.

    Raises:
        MalformedDataError: the bytes are not a batch, or have no such item.
    """
    payloads = _last_payloads(content)
    return payloads[check.place(position, len(payloads))]


def batch_blobs(content: bytes) -> tuple[Digest, ...]:
    """Every blob that a stored batch names: results that were too large to travel inline, and files.

    Raises:
        MalformedDataError: the bytes are not a batch.
    """
    rare = check.parse(pb.ResultBatch, content).rare
    results = (check.digest(row.blob, "blob") for row in rare if row.blob)
    files = (check.digest(file.digest, "output digest") for row in rare for file in row.outputs)
    return (*results, *files)


_last_payloads = lru_cache(maxsize=1)(item_payloads)


def outputs_to_wire(files: Iterable[OutputFile]) -> list[pb.OutputFile]:
    """Names, digests and sizes of files."""
    return [pb.OutputFile(name=file.name, digest=file.digest, size_bytes=file.size_bytes) for file in files]


def outputs_from_wire(files: Iterable[pb.OutputFile]) -> tuple[OutputFile, ...]:
    """Names, digests and sizes of files.

    Raises:
        MalformedDataError: a name is too long, or a digest is none.
    """
    return tuple(
        OutputFile(check.text(file.name, "output name"), check.digest(file.digest, "output digest"), file.size_bytes)
        for file in files
    )


def wire_text(value: str) -> str:
    """Text from a job, made fit for people: what UTF-8 cannot say is escaped."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def _batch_bytes(batch: Batch) -> bytes:
    items = batch.items
    message = pb.ResultBatch(job=batch.job, device=batch.device, signature=batch.signature)
    number = OUTCOMES.number
    message.indexes.extend([item.index for item in items])
    message.attempts.extend([item.attempt for item in items])
    message.epochs.extend([item.epoch for item in items])
    message.outcomes.extend([number[item.outcome] for item in items])
    message.seconds.extend([item.seconds for item in items])
    message.payloads.extend([item.payload for item in items])
    for position, item in enumerate(items):
        rare = (item.reason, item.detail, item.blob, item.log, item.log_dropped, item.outputs)
        if rare != _PLAIN:
            message.rare.append(_rare_item(position, item))
    return message.SerializeToString()


def _rare_item(position: int, item: Item) -> pb.RareItem:
    return pb.RareItem(
        position=position,
        blob=item.blob,
        reason=item.reason,
        detail=item.detail.encode("utf-8", "surrogatepass"),
        log=item.log,
        log_dropped=item.log_dropped,
        outputs=outputs_to_wire(item.outputs),
    )


def _items(message: pb.ResultBatch) -> tuple[Item, ...]:
    indexes, seconds = message.indexes, list(message.seconds)
    check.same_length(
        "result batch",
        len(indexes),
        attempts=len(message.attempts),
        epochs=len(message.epochs),
        outcomes=len(message.outcomes),
        seconds=len(seconds),
        payloads=len(message.payloads),
    )
    check.all_finite(seconds, "seconds")
    columns = zip(
        indexes,
        message.attempts,
        message.epochs,
        OUTCOMES.words(message.outcomes),
        message.payloads,
        repeat(b""),  # blob
        repeat(""),  # reason
        repeat(""),  # detail
        seconds,
        repeat(b""),  # log
        repeat(0),  # log_dropped
        repeat(()),  # outputs
        strict=False,
    )
    items = list(map(Item._make, columns))
    for rare in message.rare:
        position = check.place(rare.position, len(items))
        items[position] = _with_rare(items[position], rare)
    return tuple(items)


def _with_rare(item: Item, rare: pb.RareItem) -> Item:
    return item._replace(
        blob=check.maybe_digest(rare.blob, "blob"),
        reason=check.text(rare.reason, "reason"),
        detail=_detail(rare.detail),
        log=rare.log,
        log_dropped=rare.log_dropped,
        outputs=outputs_from_wire(rare.outputs),
    )


def _detail(content: bytes) -> str:
    try:
        return content.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise check.malformed("detail is no text") from None
