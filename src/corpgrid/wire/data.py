"""Values as bytes and back: the only form in which a result ever travels.

What goes in comes out, equal and of the same type, or is refused with its type and place:

* None, bool, int of any size, float (NaN and the infinities too), complex, str, bytes, list, tuple, dict with any
  hashable data as keys, NumPy arrays and scalars (``wire.arrays``).  ``bytearray`` and ``memoryview`` come back as
  ``bytes``, NumPy's ``str_`` and ``bytes_`` as ``str`` and ``bytes``.
* Nothing else: no sets (they have no order), no subclasses (their meaning would be lost), no objects, never pickle.
* The form is msgpack.  Five extension types carry what msgpack lacks; a tuple is a list whose first entry is a mark.
* Limits hold in both directions: depth, bytes, containers (``wire.strict``), bytes of an integer.

NumPy is imported only when an array is met.

>>> decode(encode({"loss": 0.25, "shape": (3, 4), "seed": 2**80})) == {"loss": 0.25, "shape": (3, 4), "seed": 2**80}
True
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from typing import Any

import msgpack
from msgpack import ExtType, Timestamp

from corpgrid.errors import LimitError, MalformedDataError, NotDataError
from corpgrid.wire.strict import MAX_CONTAINERS, Budget, unpack

MAX_DEPTH = 64
MAX_DATA_BYTES = 64 << 20
MAX_INT_BYTES = 1 << 20

_TUPLE, _INT, _COMPLEX, _ARRAY, _SCALAR = 1, 2, 3, 4, 5
_TUPLE_MARK = ExtType(_TUPLE, b"")
_CONTAINERS = frozenset({list, tuple, dict})
_MSGPACK_TYPES = frozenset({ExtType, Timestamp})
_LOOK_INTO = _CONTAINERS | _MSGPACK_TYPES
_SINGLE = frozenset(
    [*range(0x80), *range(0xA0, 0xC1), *range(0xC2, 0xC7), *range(0xCA, 0xD4), *range(0xD9, 0xDC), *range(0xE0, 0x100)]
)
"""First bytes of numbers, texts and the like.  They hold nothing else, so there is nothing to count in them."""
_LEAST_INT_BYTES = 9  # less is msgpack's own
_PACK_ERRORS = (NotDataError, TypeError, ValueError, OverflowError, BufferError, RecursionError)


def encode(value: Any, *, max_depth: int = MAX_DEPTH, max_bytes: int = MAX_DATA_BYTES) -> bytes:
    """The bytes of a value.

    Raises:
        NotDataError: something in it is not data; the message names its type and place.
        LimitError: it has more bytes than ``max_bytes``.
    """
    try:
        if type(value) in _CONTAINERS or type(value) in _MSGPACK_TYPES:
            _require_shape(value, max_depth)
        content = _pack(value)
    except _PACK_ERRORS as cause:
        raise _offence(value, max_depth) or NotDataError(str(cause)) from None
    if len(content) > max_bytes:
        raise LimitError("max_bytes", limit=max_bytes, got=len(content), what="the encoded value")
    return content


def decode(content: bytes | memoryview, *, max_depth: int = MAX_DEPTH, max_bytes: int = MAX_DATA_BYTES) -> Any:
    """Read what ``encode`` wrote, or anybody else.

    Raises:
        MalformedDataError: the bytes are not data, or are beyond a limit; the message says why.
    """
    if len(content) > max_bytes:
        raise MalformedDataError(f"{len(content):,} bytes where max_bytes allows {max_bytes:,}")
    if content and content[0] in _SINGLE:
        try:
            return msgpack.unpackb(content)
        except (ValueError, msgpack.UnpackException) as cause:
            raise MalformedDataError(f"the bytes are not one value: {cause}") from None
    reader = _Reader()
    value = unpack(content, reader, on_ext=reader.on_ext)
    if reader.open_marks:
        raise MalformedDataError("a tuple's mark stands where no tuple starts")
    if reader.containers > max_depth:  # fewer cannot be nested too deeply
        try:
            _require_shape(value, max_depth)
        except NotDataError as cause:
            raise MalformedDataError(str(cause)) from None
    return value


class _Reader(Budget):
    """Gives the extension types their meaning."""

    __slots__ = ("open_marks",)

    def __init__(self) -> None:
        super().__init__()
        self.open_marks = 0

    def on_list(self, entries: list[Any]) -> Any:
        self.spend(1)
        if entries and entries[0] is _TUPLE_MARK:
            self.open_marks -= 1
            return tuple(entries[1:])
        return entries

    def on_ext(self, code: int, body: bytes) -> Any:
        if code == _TUPLE and not body:
            self.open_marks += 1
            return _TUPLE_MARK
        if code == _INT and _LEAST_INT_BYTES <= len(body) <= MAX_INT_BYTES:
            return int.from_bytes(body, "big", signed=True)
        if code == _COMPLEX and len(body) == struct.calcsize(">dd"):
            return complex(*struct.unpack(">dd", body))
        if code in (_ARRAY, _SCALAR):
            return _read_array(code, body)
        raise MalformedDataError(f"extension type {code} of {len(body):,} bytes is no data")


def _read_array(code: int, body: bytes) -> Any:
    try:
        from corpgrid.wire import arrays  # noqa: PLC0415 - NumPy is imported only when an array is met
    except ImportError:
        raise MalformedDataError(
            "there is an array in it, and no NumPy here", remedy="Name numpy in the job's packages."
        ) from None
    return arrays.decode_array(body) if code == _ARRAY else arrays.decode_scalar(body)


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.Packer(strict_types=True, default=_extend, buf_size=1024).pack(value)
    return packed


def _extend(value: Any) -> Any:
    """What msgpack lacks, in terms of what it has."""
    kind = type(value)
    if kind is tuple:
        return [_TUPLE_MARK, *value]
    if kind is int:
        return _extend_int(value)
    if kind is complex:
        return ExtType(_COMPLEX, struct.pack(">dd", value.real, value.imag))
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return _extend_numpy(value, numpy)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    raise NotDataError(f"{module}{kind.__qualname__} is not data")


def _extend_int(value: int) -> ExtType:
    size_bytes = value.bit_length() // 8 + 1
    if size_bytes > MAX_INT_BYTES:
        raise NotDataError(f"an int of {size_bytes:,} bytes where MAX_INT_BYTES allows {MAX_INT_BYTES:,}")
    return ExtType(_INT, value.to_bytes(size_bytes, "big", signed=True))


def _extend_numpy(value: Any, numpy: Any) -> Any:
    from corpgrid.wire import arrays  # noqa: PLC0415 - NumPy is there already

    if type(value) is numpy.str_:
        return str(value)
    if type(value) is numpy.bytes_:
        return bytes(value)
    if isinstance(value, numpy.ndarray):
        return ExtType(_ARRAY, arrays.encode_array(value))
    return ExtType(_SCALAR, arrays.encode_scalar(value))


def _require_shape(value: Any, max_depth: int) -> None:
    """Check depth and the number of containers, and that nothing is msgpack's own.

    Raises:
        NotDataError: too deep, too many, or a value that only msgpack knows.
    """
    count = 0
    level = [value]
    for _ in range(max_depth):
        below: list[Any] = []
        for container in level:
            if type(container) in _MSGPACK_TYPES:
                raise NotDataError(f"msgpack.{type(container).__name__} is not data")
            count += 1 + (len(container) if type(container) is dict else 0)
            below += _containers_in(container)
        if count > MAX_CONTAINERS:
            raise NotDataError(f"more than MAX_CONTAINERS, {MAX_CONTAINERS:,}, lists, maps and map entries")
        if not below:
            return
        level = below
    raise NotDataError(f"it is nested deeper than max_depth, {max_depth}")


def _containers_in(container: Any) -> list[Any]:
    """Looks at the types of all entries first, at the speed of C: most containers hold none."""
    found: list[Any] = []
    parts = (container.keys(), container.values()) if type(container) is dict else (container,)
    for part in parts:
        if not _LOOK_INTO.isdisjoint(map(type, part)):
            found += [entry for entry in part if type(entry) in _LOOK_INTO]
    return found


def _offence(value: Any, max_depth: int) -> NotDataError | None:
    """The first thing in ``value`` that is not data, named with its place."""
    stack: list[tuple[str, Any, int]] = [("value", value, 0)]
    while stack:
        place, here, depth = stack.pop()
        if type(here) in _CONTAINERS:
            if depth == max_depth:
                return NotDataError(f"{place[:200]}... is nested deeper than max_depth, {max_depth}")
            stack.extend(reversed([(place + step, entry, depth + 1) for step, entry in _entries(here)]))
            continue
        try:
            _require_leaf(here)
        except _PACK_ERRORS as cause:
            return NotDataError(f"{place[:200]} cannot travel: {cause}")
    return None


def _entries(container: Any) -> Iterator[tuple[str, Any]]:
    if type(container) is not dict:
        yield from ((f"[{position}]", entry) for position, entry in enumerate(container))
        return
    for key, entry in container.items():
        yield " key", key
        yield f"[{key!r:.40}]" if type(key) is str else f"[{key}]" if _is_short(key) else "[...]", entry


def _is_short(key: Any) -> bool:
    return type(key) is int and key.bit_length() < 64


def _require_leaf(value: Any) -> None:
    if type(value) in _MSGPACK_TYPES:
        raise NotDataError(f"msgpack.{type(value).__name__} is not data")
    _pack(value)
