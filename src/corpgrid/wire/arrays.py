"""NumPy arrays and scalars as bytes, and back.

    length of dtype | dtype, such as <f8 | dimensions | each dimension, 8 bytes | elements in C order

Only element types that mean the same on every machine travel: booleans, integers, floats and complex numbers up to 64
bit a part, fixed-width text and bytes, dates and durations.  Objects, records, ``longdouble`` and subclasses of arrays
do not.  This module is imported only where an array was met, because it imports NumPy.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from corpgrid.errors import MalformedDataError, NotDataError

Array = npt.NDArray[Any]

_DTYPE = re.compile(
    r"[<>|](?:b1|[iu][1248]|f[248]|c8|c16|[SU][1-9][0-9]{0,8}"
    r"|[mM]8(?:\[[0-9]{0,9}(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)"
)
_MAX_DIMENSIONS = 64
_LAST_CODE_POINT = 0x10FFFF


def encode_array(array: Array) -> bytes:
    """The bytes of an array.

    Raises:
        NotDataError: its elements or its class cannot travel.
    """
    if type(array) not in (np.ndarray, np.memmap):
        raise NotDataError(f"a {type(array).__name__} is more than an array; numpy.asarray makes it a plain one")
    return _header(array.dtype, array.shape) + array.tobytes()


def encode_scalar(scalar: np.generic) -> bytes:
    """The bytes of a NumPy scalar.

    Raises:
        NotDataError: its type cannot travel.
    """
    return _header(scalar.dtype, ()) + scalar.tobytes()


def decode_array(body: bytes) -> Array:
    """Read ``encode_array``; the array owns its memory and can be written to.

    Raises:
        MalformedDataError: the bytes are no array.
    """
    try:
        dtype, shape, start = _read_header(body)
        if math.prod(shape) * dtype.itemsize != len(body) - start:
            raise MalformedDataError(f"an array of {dtype.str} and shape {shape} is not {len(body) - start:,} bytes")
        _require_elements(dtype, memoryview(body)[start:])
        return np.ndarray(shape, dtype, buffer=bytearray(memoryview(body)[start:]))
    except (struct.error, IndexError, TypeError, ValueError, OverflowError) as cause:
        raise MalformedDataError(f"the bytes are no array: {cause}") from None


def decode_scalar(body: bytes) -> Any:
    """Read ``encode_scalar``.

    Raises:
        MalformedDataError: the bytes are no scalar.
    """
    array = decode_array(body)
    if array.shape != ():
        raise MalformedDataError(f"a NumPy scalar has no shape, and this one has {array.shape}")
    return array[()]


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    name = dtype.str
    if dtype.hasobject or dtype.fields is not None or not _DTYPE.fullmatch(name):
        raise NotDataError(f"elements of type {dtype} do not mean the same on every machine")
    return struct.pack(f">B{len(name)}sB{len(shape)}Q", len(name), name.encode(), len(shape), *shape)


def _read_header(body: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Element type, shape, and where the elements start."""
    end = 1 + body[0]
    name = body[1:end].decode("ascii")
    dimensions = body[end]
    if not _DTYPE.fullmatch(name) or dimensions > _MAX_DIMENSIONS:
        raise MalformedDataError(f"no array has the element type {name!r} and {dimensions} dimensions")
    shape = struct.unpack_from(f">{dimensions}Q", body, end + 1)
    dtype = np.dtype(name)
    if dtype.str != name:
        raise MalformedDataError(f"{name!r} is not how an element type is written")
    return dtype, shape, end + 1 + 8 * dimensions


def _require_elements(dtype: np.dtype[Any], elements: memoryview) -> None:
    """NumPy trusts what it is given: a boolean of 7 or a character beyond Unicode breaks it later."""
    if dtype.kind == "b" and bytes(elements).translate(None, b"\x00\x01"):
        raise MalformedDataError("an array of booleans has an element that is neither")
    if dtype.kind == "U" and len(elements):
        points = np.frombuffer(elements, dtype=dtype.str[0] + "u4")
        if int(points.max()) > _LAST_CODE_POINT:
            raise MalformedDataError("an array of text has a character beyond Unicode")
