"""Limits and refusals of the data codec, one by one."""

from __future__ import annotations

import math
import pickle
import struct
import subprocess
import sys
from collections import Counter
from typing import Any, NamedTuple

import msgpack
import numpy as np
import pytest

from corpgrid.errors import LimitError, MalformedDataError, NotDataError
from corpgrid.wire import strict
from corpgrid.wire.data import MAX_DEPTH, MAX_INT_BYTES, decode, encode

MARK = msgpack.ExtType(1, b"")


def nested(depth: int, wrap: Any = lambda inner: [inner]) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = wrap(value)
    return value


def packed(value: Any) -> bytes:
    return msgpack.packb(value)


def test_nan_and_infinities_pass():
    nan, plus, minus = decode(encode([math.nan, math.inf, -math.inf]))
    assert math.isnan(nan)
    assert (plus, minus) == (math.inf, -math.inf)


@pytest.mark.parametrize("value", [2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 1 << 50_000], ids=hex)
def test_integers_of_any_size_pass(value: int):
    assert decode(encode(value)) == value


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}])
def test_every_container_counts_as_depth(wrap: Any):
    assert decode(encode(nested(MAX_DEPTH, wrap))) == nested(MAX_DEPTH, wrap)
    with pytest.raises(NotDataError, match="deeper than max_depth, 64"):
        encode(nested(MAX_DEPTH + 1, wrap))
    with pytest.raises(MalformedDataError, match="deeper than max_depth, 64"):
        decode(encode(nested(MAX_DEPTH + 1, wrap), max_depth=100))


def test_keys_count_as_depth():
    key = nested(MAX_DEPTH, lambda inner: (inner,))
    assert decode(encode({key[0]: 1})) == {key[0]: 1}
    with pytest.raises(NotDataError, match="deeper"):
        encode({key: 1})
    with pytest.raises(MalformedDataError, match="deeper"):
        decode(encode({key: 1}, max_depth=100))


@pytest.mark.parametrize("depth", [1_000, 1_100, 1_000_000])
@pytest.mark.parametrize("header", [b"\x91", b"\x81", b"\x92\xc7\x00\x01"])
def test_absurd_depth_is_refused(header: bytes, depth: int):
    with pytest.raises(MalformedDataError):
        decode(header * depth + b"\x00" * depth)


def test_a_value_that_holds_itself_is_refused():
    loop: list[Any] = []
    loop += [loop, loop]
    with pytest.raises(NotDataError):
        encode(loop)


def test_small_containers_are_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(strict, "MAX_CONTAINERS", 100)
    monkeypatch.setattr("corpgrid.wire.data.MAX_CONTAINERS", 100)
    assert decode(encode([[]] * 99)) == [[]] * 99
    for value in ([[]] * 100, [()] * 100, dict.fromkeys(range(100))):
        with pytest.raises(NotDataError, match="MAX_CONTAINERS"):
            encode(value)
    for content in (packed([[]] * 100), packed(dict.fromkeys(range(100)))):
        with pytest.raises(MalformedDataError):
            decode(content)


def test_empty_lists_by_the_million_are_refused_before_they_fill_memory():
    with pytest.raises(MalformedDataError, match="MAX_CONTAINERS"):
        decode(b"\xdd" + struct.pack(">I", 3_000_000) + b"\x90" * 3_000_000)


def test_bytes_are_limited_in_both_directions():
    content = encode(b"x" * 100)
    with pytest.raises(LimitError, match="102 where max_bytes allows 101"):
        encode(b"x" * 100, max_bytes=101)
    with pytest.raises(MalformedDataError, match="max_bytes"):
        decode(content, max_bytes=101)
    assert decode(content, max_bytes=102) == b"x" * 100


def test_an_integer_has_a_limit():
    with pytest.raises(NotDataError, match="MAX_INT_BYTES"):
        encode(1 << (8 * MAX_INT_BYTES))
    with pytest.raises(MalformedDataError):
        decode(packed(msgpack.ExtType(2, b"\x01" * (MAX_INT_BYTES + 1))))


@pytest.mark.parametrize(
    "content",
    [
        packed({"a": 1})[:1].replace(b"\x81", b"\x82") + b"\xa1a\x01\xa1a\x02",  # one text twice
        b"\x82\x01\x01\x01\x02",
        b"\x82\x01\x01\xc3\x02",  # 1 and True are one key
        b"\x82\x01\x01\xcb" + struct.pack(">d", 1.0) + b"\x02",  # and so are 1 and 1.0
    ],
)
def test_a_key_that_stands_twice_is_refused(content: bytes):
    with pytest.raises(MalformedDataError, match="twice"):
        decode(content)


def test_an_offence_is_named_whatever_its_key_is():
    for key, place in ((1 << 50_000, r"\[\.\.\.\]"), (7, r"\[7\]"), ((1, 2), r"\[\.\.\.\]")):
        with pytest.raises(NotDataError, match=f"value{place} cannot travel"):
            encode({key: {1}})


def test_keys_that_all_share_a_hash_are_refused():
    colliding = [i * (2**61 - 1) for i in range(2, 2000)]
    assert len(set(map(hash, colliding))) == 1
    with pytest.raises(MalformedDataError, match="MAX_SAME_HASH"):
        decode(encode(dict.fromkeys(colliding)))


def test_honest_keys_pass_the_hash_check():
    grid = {(x, y): x * y for x in range(-30, 30) for y in range(-30, 30)}
    assert decode(encode(grid)) == grid


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xc1",
        packed([[], {}])[:-1],
        b"\x81\x90\x00",  # a list as a key
        b"\x81\x81\x00\x00\x00",  # a map as a key
        b"\xa2\xff\xfe",  # text that is no text
        packed(MARK),  # a mark and no tuple
        packed([1, MARK]),
        packed({"a": MARK}),
        packed([[MARK], MARK]),
        packed(msgpack.ExtType(1, b"x")),
        packed(msgpack.ExtType(2, b"\x01")),
        packed(msgpack.ExtType(3, b"\x01" * 15)),
        packed(msgpack.ExtType(6, b"")),
        packed(msgpack.ExtType(127, b"anything")),
    ],
)
def test_what_encode_never_writes_is_refused(content: bytes):
    with pytest.raises(MalformedDataError):
        decode(content)


def array_body(dtype: bytes, dims: tuple[int, ...], elements: bytes) -> bytes:
    return bytes([len(dtype)]) + dtype + bytes([len(dims)]) + b"".join(struct.pack(">Q", n) for n in dims) + elements


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff<f8",
        array_body(b"|O", (1,), b"\0" * 8),
        array_body(b"<f8,<i4", (1,), b"\0" * 12),
        array_body(b"(2,)<f8", (1,), b"\0" * 16),
        array_body(b"|V8", (1,), b"\0" * 8),
        array_body(b"<f16", (1,), b"\0" * 16),
        array_body(b"=f8", (1,), b"\0" * 8),
        array_body(b"float64", (1,), b"\0" * 8),
        array_body(b"<f8", (2,), b"\0" * 8),
        array_body(b"<f8", (2**63, 2), b""),
        array_body(b"<f8", (2**61,), b""),
        array_body(b"<f8", (0, 2**63), b""),
        array_body(b"|S999999999", (1,), b"\0"),
        array_body(b"<f8", tuple([1] * 65), b"\0" * 8),
        array_body(b"|b1", (1,), b"\x02"),
        array_body(b"<U1", (1,), b"\xff\xff\xff\x00"),
        array_body(b">U1", (1,), b"\x00\xff\xff\xff"),
        array_body(b"<M8[parsec]", (1,), b"\0" * 8),
        array_body("<µ8".encode(), (1,), b"\0" * 8),
    ],
)
def test_arrays_that_are_none_are_refused(body: bytes):
    for code in (4, 5):
        with pytest.raises(MalformedDataError):
            decode(packed(msgpack.ExtType(code, body)))


def test_a_scalar_with_a_shape_is_refused():
    with pytest.raises(MalformedDataError, match="no shape"):
        decode(packed(msgpack.ExtType(5, array_body(b"<f8", (1,), b"\0" * 8))))


class Loud(int):
    pass


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({1, 2}, "set"),
        (object(), "object"),
        (Loud(3), "Loud"),
        (Point(1, 2), "Point"),
        (Counter("aab"), "Counter"),
        (print, "builtin_function_or_method"),
        (np.array([object()]), "object"),
        (np.zeros(1, "f8,i4"), "f0"),
        (np.longdouble(1), "longdouble|float128|float64"),
        (np.ma.array([1]), "MaskedArray"),
        (np.array(["a"], dtype=np.dtypes.StringDType()), "StringDType"),
        (np.void(b"x"), "|V1"),
        ("\ud800", "surrogates"),
        (memoryview(b"abcd")[::2], "contiguous"),
        (msgpack.ExtType(1, b""), "ExtType"),
        (msgpack.Timestamp(1, 2), "Timestamp"),
    ],
)
def test_what_is_not_data_is_named_with_its_place(value: Any, told: str):
    for wrapped, place in ((value, "value"), ([0, {"k": value}], r"value\[1\]\['k'\]"), ((value,), r"value\[0\]")):
        with pytest.raises(NotDataError, match=rf"{place} cannot travel: .*({told})"):
            encode(wrapped)
    assert "write anything else to a file" in NotDataError("").remedy


def test_a_pickle_is_only_bytes():
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("somebody opened it",))

    content = pickle.dumps(Bomb())
    assert decode(encode(content)) == content
    with pytest.raises(MalformedDataError):
        decode(content)


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (None, "c0"),
        ([1, -1, 2**63], "9301ffcf8000000000000000"),
        ({"a": 1.5}, "81a161cb3ff8000000000000"),
        ((1, "b"), "93c7000101a162"),
        (2**64, "c70902010000000000000000"),
        (1j, "d80300000000000000003ff0000000000000"),
        (b"x", "c40178"),
        (np.array([[1, 2]], "<i2"), "c71904033c6932020000000000000001000000000000000201000200"),
        (np.float32(0.5), "c70905033c6634000000003f"),
    ],
    ids=repr,
)
def test_the_bytes_are_those_of_every_release(value: Any, content: str):
    """Results are compared and signed by their bytes, so these may never change."""
    assert encode(value).hex() == content


def test_numpy_is_imported_for_arrays_alone():
    code = """
import sys
from corpgrid.wire.data import decode, encode
import corpgrid.wire.frames
assert decode(encode({"a": [1, (2.0, 3j), 2**70]})) == {"a": [1, (2.0, 3j), 2**70]}
assert "numpy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
