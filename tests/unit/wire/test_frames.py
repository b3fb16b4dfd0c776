"""Frames: what a runner may say, and what ends it."""

from __future__ import annotations

import math
import struct
from typing import Any

import msgpack
import pytest

from corpgrid.errors import LimitError, MalformedDataError
from corpgrid.wire.frames import MAX_DETAIL_BYTES, MAX_FRAME_BYTES, Done, FrameReader, encode_frame, read_done


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def test_a_frame_that_is_too_large_is_refused_by_its_length_alone():
    with pytest.raises(MalformedDataError, match="MAX_FRAME_BYTES"):
        FrameReader().feed(struct.pack(">I", MAX_FRAME_BYTES + 1))


def test_a_frame_that_is_too_large_is_never_written():
    with pytest.raises(LimitError, match="a run frame"):
        encode_frame("run", b"x" * MAX_FRAME_BYTES)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x90",
        msgpack.packb({"kind": 1}),
        msgpack.packb([1, 2]),
        msgpack.packb("done"),
        msgpack.packb([b"done"]),
        msgpack.packb(["done", msgpack.ExtType(4, b"x")]),
        msgpack.packb(["done"]) + b"\xc0",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 2000,
    ],
)
def test_what_is_no_frame_is_refused(body: bytes):
    with pytest.raises(MalformedDataError):
        FrameReader().feed(framed(body))


GOOD = Done(3, 1, ok=True, payload=b"x", seconds=0.5)


def test_records_come_out_as_they_went_in():
    bad = Done(4, 0, ok=False, reason="raised", detail="why", has_outputs=True)
    (frame,) = FrameReader().feed(encode_frame("done", [GOOD, bad]))
    assert read_done(frame) == [GOOD, bad]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [[], []],
        ["text"],
        [["text"]],
        [[[*GOOD, 1]]],
        [[list(GOOD._replace(index="3"))]],
        [[list(GOOD._replace(ok=1))]],
        [[list(GOOD._replace(payload="text"))]],
        [[list(GOOD._replace(seconds=1))]],
        [[list(GOOD._replace(seconds=math.nan))]],
        [[list(GOOD._replace(seconds=-1.0))]],
        [[list(GOOD._replace(reason="raised"))]],
        [[list(GOOD._replace(ok=False))]],
        [[list(GOOD._replace(ok=False, reason="raised"))]],  # with a payload
        [[list(GOOD._replace(ok=False, payload=b"", reason="Not A Name!"))]],
        [[list(GOOD._replace(ok=False, payload=b"", reason="\x1b[2J"))]],
        [[list(GOOD._replace(ok=False, payload=b"", reason="raised", detail="x" * (MAX_DETAIL_BYTES + 1)))]],
    ],
)
def test_records_that_are_none_are_refused(fields: list[Any]):
    (frame,) = FrameReader().feed(encode_frame("done", *fields))
    with pytest.raises(MalformedDataError):
        read_done(frame)


BAD_RECORDS = [
    GOOD._replace(index="3"),
    GOOD._replace(ok=1),
    GOOD._replace(seconds=1),
    GOOD._replace(seconds=math.nan),
    GOOD._replace(seconds=math.inf),
    GOOD._replace(seconds=-1.0),
    GOOD._replace(reason="raised"),
    GOOD._replace(ok=False),
    GOOD._replace(detail="x" * (MAX_DETAIL_BYTES + 1)),
    (*GOOD, 1),
    GOOD[:7],
]


@pytest.mark.parametrize("bad", BAD_RECORDS, ids=repr)
@pytest.mark.parametrize("place", [0, 5, 10])
def test_one_bad_record_among_good_ones_is_found(bad: tuple[Any, ...], place: int):
    records = [list(GOOD._replace(index=index)) for index in range(10)]
    records.insert(place, list(bad))
    (frame,) = FrameReader().feed(encode_frame("done", records))
    with pytest.raises(MalformedDataError):
        read_done(frame)
