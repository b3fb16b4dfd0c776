"""Frames: what the agent and a runner say to each other over a pipe.

A frame is four bytes of length, most significant first, and a msgpack list whose first entry is its kind.  Nothing in a
frame is an extension type; what a task returned travels inside as bytes that nobody opens on the way.

    agent -> runner   load {engine, entry, limits, log_nonce}
                      run [[index, attempt, item], ...]
                      stop
    runner -> agent   ready {python, version}                                            once
                      loaded | load_failed reason detail
                      done [[index, attempt, ok, payload, reason, detail, seconds, has_outputs], ...]

``FrameReader`` takes bytes as they come and gives frames; it believes nothing: a runner is a stranger.

>>> reader = FrameReader()
>>> frame = encode_frame("run", [[0, 1, b"item"]])
>>> reader.feed(frame[:3]), reader.feed(frame[3:] + encode_frame("stop"))
([], [['run', [[0, 1, b'item']]], ['stop']])
"""

from __future__ import annotations

import math
import re
import struct
from typing import Any, NamedTuple

import msgpack

from corpgrid.errors import LimitError, MalformedDataError
from corpgrid.wire.strict import Budget, unpack

MAX_FRAME_BYTES = (64 << 20) + (64 << 10)
"""The largest item or result, and what stands around it."""
MAX_DETAIL_BYTES = 32 << 10
Frame = list[Any]

_LENGTH = struct.Struct(">I")
_REASON = re.compile(r"[a-z_]{1,64}")


class Done(NamedTuple):
    """How one task ended, as its runner tells it.

    Attributes:
        payload: the encoded result if ``ok``, else empty.
        reason: why there is none, a short name; ``detail`` is the story.
        seconds: how long it ran.
        has_outputs: whether it left files, now in ``task-<index>-<attempt>`` beside its working folder.
    """

    index: int  # type: ignore[assignment]  # a field, in place of tuple.index
    attempt: int
    ok: bool
    payload: bytes = b""
    reason: str = ""
    detail: str = ""
    seconds: float = 0.0
    has_outputs: bool = False


def encode_frame(kind: str, *fields: Any) -> bytes:
    """One frame.

    Raises:
        LimitError: it has more than ``MAX_FRAME_BYTES``.
    """
    body: bytes = msgpack.packb([kind, *fields])
    if len(body) > MAX_FRAME_BYTES:
        raise LimitError("MAX_FRAME_BYTES", limit=MAX_FRAME_BYTES, got=len(body), what=f"a {kind} frame")
    return _LENGTH.pack(len(body)) + body


def read_done(frame: Frame) -> list[Done]:
    """The records of a ``done`` frame.

    Raises:
        MalformedDataError: it holds anything else.
    """
    if len(frame) != 2 or type(frame[1]) is not list:
        raise MalformedDataError("a done frame is its kind and a list")
    records: list[Any] = frame[1]
    if _are_plain(records):
        return list(map(Done._make, records))
    return [_read_record(record) for record in records]


class FrameReader:
    """Bytes in, whole frames out.  After an error the stream has lost its beat and is of no more use."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes; the frames that are now complete, in order.

        Raises:
            MalformedDataError: the bytes are no frames, or one is too large.
        """
        self._buffer += data
        frames: list[Frame] = []
        start = 0
        with memoryview(self._buffer) as view:
            while (end := self._end_of_frame(start)) is not None:
                frames.append(_read(view[start + _LENGTH.size : end]))
                start = end
        del self._buffer[:start]
        return frames

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that is not complete."""
        return len(self._buffer)

    def _end_of_frame(self, start: int) -> int | None:
        """Where the frame at ``start`` ends, or None if its end has not come yet."""
        if len(self._buffer) - start < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer, start)
        if length > MAX_FRAME_BYTES:
            raise MalformedDataError(f"a frame of {length:,} bytes where MAX_FRAME_BYTES allows {MAX_FRAME_BYTES:,}")
        end = start + _LENGTH.size + length
        return end if end <= len(self._buffer) else None


def _read(body: memoryview) -> Frame:
    frame = unpack(body, Budget())
    if type(frame) is not list or not frame or type(frame[0]) is not str:
        raise MalformedDataError("a frame is a list that starts with its kind")
    return frame


def _are_plain(records: list[Any]) -> bool:
    """Whether all of them are results and nothing else, as nearly all are: looked at by the column, which is faster."""
    if set(map(type, records)) != {list} or set(map(len, records)) != {len(_TYPES)}:
        return False
    columns = list(zip(*records, strict=True))
    if any(set(map(type, column)) != {kind} for column, kind in zip(columns, _TYPES, strict=True)):
        return False
    _, _, ok, _, reasons, details, seconds, _ = columns
    return all(ok) and not any(reasons) and not any(details) and min(seconds) >= 0 and math.isfinite(sum(seconds))


def _read_record(record: Any) -> Done:
    if type(record) is not list or len(record) != len(_TYPES) or not all(map(isinstance, record, _TYPES)):
        raise MalformedDataError("a record of a done frame has not the fields of one")
    done = Done(*record)
    if done.ok != (done.reason == "") or not (done.ok or (_REASON.fullmatch(done.reason) and not done.payload)):
        raise MalformedDataError("a record is either a result or a reason")
    if len(done.detail) > MAX_DETAIL_BYTES or not (math.isfinite(done.seconds) and done.seconds >= 0):
        raise MalformedDataError("a record's detail or time is out of range")
    return done


_TYPES = (int, int, bool, bytes, str, str, float, bool)
