"""Programs of two versions talk: what the other says beyond one's knowledge is passed over, or clearly refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, assume, given, settings

from corpgrid.domain.messages import Batch
from corpgrid.errors import GridError, MalformedDataError
from corpgrid.wire import methods
from corpgrid.wire.convert import batch_blobs, decode_batch, item_payload
from corpgrid.wire.convert_errors import error_from_wire
from corpgrid.wire.methods import BLOB_METHODS, GRID_METHODS, SCHEDULER_METHODS, Codec
from corpgrid.wire.v1 import scheduler_pb2 as pb
from tests.unit.wire.convert_values import values
from tests.unit.wire.test_convert import _types

FUTURE = 15_000
UNKNOWN_ENUM = 99


def varint(number: int) -> bytes:
    content = b""
    while number > 0x7F:
        content += bytes([number & 0x7F | 0x80])
        number >>= 7
    return content + bytes([number])


BODIES = {0: varint(7), 1: b"8 bytes!", 2: varint(4) + b"text", 5: b"four"}
UNKNOWN = b"".join(varint(FUTURE + kind << 3 | kind) + body for kind, body in BODIES.items())
"""A field of each kind, none of which this program knows."""


def parts(message: Message) -> Iterator[Message]:
    """A message and all that are in it, but for the entries of maps."""
    yield message
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE or field.message_type.GetOptions().map_entry:
            continue
        for part in [value] if isinstance(value, Message) else value:
            yield from parts(part)


def from_the_future(message: Message) -> bytes:
    """The bytes of a message, with fields that nobody knows in each of its parts."""
    for part in parts(message):
        part.MergeFromString(UNKNOWN)
    content = message.SerializeToString()
    assert UNKNOWN in content
    return content


def with_unknown_words(message: Message) -> int:
    """Give each enum a value that this program does not know; how many there were."""
    count = 0
    for part in parts(message):
        for field, value in part.ListFields():
            if field.type == FieldDescriptor.TYPE_ENUM:
                count += 1
                if isinstance(value, int):
                    setattr(part, field.name, UNKNOWN_ENUM)
                else:
                    value[:] = [UNKNOWN_ENUM] * len(value)
    return count


def codecs(*, replies_alone: bool = False) -> list[Any]:
    made = []
    for method in [*SCHEDULER_METHODS, *GRID_METHODS, *BLOB_METHODS]:
        request, reply = _types(method)
        made.append(pytest.param(method.reply, reply, id=f"{method.name} reply"))
        if not replies_alone:
            made.append(pytest.param(method.request, request, id=f"{method.name} request"))
    return made


def words_of(kind: Any, seen: frozenset[str] = frozenset()) -> bool:
    """Whether a message, or one in it, has an enum."""
    return any(
        field.type == FieldDescriptor.TYPE_ENUM
        or (
            field.type == FieldDescriptor.TYPE_MESSAGE
            and field.message_type.full_name not in seen
            and words_of(field.message_type, seen | {field.message_type.full_name})
        )
        for field in kind.fields
    )


@pytest.mark.parametrize(("codec", "kind"), codecs())
def test_fields_that_nobody_here_knows_are_passed_over(codec: Codec[Any, Any], kind: Any) -> None:
    @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(values(kind))
    def check(value: Any) -> None:
        assert codec.decode(from_the_future(codec.to_wire(value))) == value

    check()


@pytest.mark.parametrize(
    "codec",
    [methods.PUT_PART, methods.PUT_REPLY, methods.GET_REQUEST, methods.GET_CHUNK],
    ids=lambda c: c.kind.__name__,
)
def test_so_they_are_in_the_parts_of_a_blob(codec: Codec[Any, Any]) -> None:
    known = codec.kind()
    for field in ("digest", "expected"):
        if field in codec.kind.DESCRIPTOR.fields_by_name:
            setattr(known, field, bytes(32))
    assert codec.decode(from_the_future(known)) == codec.decode(known.SerializeToString())


WITH_WORDS = [param for param in codecs(replies_alone=True) if words_of(param.values[0].kind.DESCRIPTOR)]


@pytest.mark.parametrize(("codec", "kind"), WITH_WORDS)
def test_a_word_in_a_reply_that_nobody_here_knows_is_a_clear_error(codec: Codec[Any, Any], kind: Any) -> None:
    @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
    @given(values(kind))
    def check(value: Any) -> None:
        message = codec.to_wire(value)
        assume(with_unknown_words(message))
        with pytest.raises(MalformedDataError, match=f"{UNKNOWN_ENUM} is no") as caught:
            codec.decode(message.SerializeToString())
        assert "versions of CorpGrid" in caught.value.remedy

    check()


def test_some_replies_have_words() -> None:
    assert len(WITH_WORDS) >= 8


@settings(max_examples=20, deadline=None)
@given(values(Batch).filter(lambda batch: batch.job))
def test_a_batch_of_a_newer_agent_is_kept_as_it_came_and_read_as_far_as_it_is_known(batch: Batch) -> None:
    """Its signature is over the digests of its items: what is new in it is not signed away, and not lost."""
    content = from_the_future(pb.ResultBatch.FromString(batch.content))
    again = decode_batch(content)
    assert again.content == content
    assert again._replace(content=b"") == batch._replace(content=b"")
    assert list(batch_blobs(content)) == list(batch_blobs(batch.content))
    for position, item in enumerate(batch.items):
        assert item_payload(content, position) == item.payload


def test_an_error_of_a_newer_scheduler_keeps_its_words() -> None:
    detail = pb.ErrorDetail(code="from_the_future", message="no, because", remedy="Do this.", attributes='{"new": 1}')
    error = error_from_wire(from_the_future(detail))
    assert type(error) is GridError
    assert (str(error), error.remedy) == ("no, because", "Do this.")
